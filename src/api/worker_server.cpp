// SPDX-License-Identifier: Apache-2.0
#include "api/worker_server.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "api/load_engine.h"
#include "api/memory_forecast.h"
#include "api/session_options.h"
#include "api/source_identity.h"
#include "api/worker_messages.h"
#include "core/check.h"
#include "core/current_work.h"
#include "core/process_memory.h"
#include "runtime/current_error.h"

namespace tenon {
namespace {

constexpr int kNoSession = 1;
constexpr int kDamagedMessage = 70;

/// Nothing that a destructor would do is worth the time: the system takes everything back.
[[noreturn]] void leave(int code) {
  std::fflush(stderr);
  std::_Exit(code);
}

/// Ends the process as soon as the program's end of the socket is closed, whatever else runs.
void leave_with(int socket) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::thread([socket] {
    pollfd watched{.fd = socket, .events = POLLRDHUP, .revents = 0};
    while (::poll(&watched, 1, -1) < 0 && errno == EINTR) {
    }
    leave(0);
  }).detach();
}

class Server {
 public:
  explicit Server(int socket) : channel_(socket) {}

  bool load(const std::function<std::unique_ptr<Session>(std::unique_ptr<Session>)>& wrap);
  [[noreturn]] void serve();

 private:
  /// A step that was sampled: its handle, or what it failed with before.
  struct Step {
    std::shared_ptr<StepHandle> handle;
    std::optional<Error> error;
  };

  std::unique_ptr<Session> load_session(const WorkerLoad& wanted);
  void handle(const WorkerPacket& packet);
  void run(const WorkerPacket& packet);
  void sample(const WorkerPacket& packet);
  void read(const WorkerPacket& packet);
  void answer_steps();
  void answer(Step& step);
  template <class Value>
  void send(WorkerMessage kind, const Value& value);
  WorkerFailure failure(const Error& error) const {
    return {error.code(), error.what(), session_ != nullptr && session_->device_lost()};
  }

  WorkerChannel channel_;
  std::mutex send_mutex_;
  std::unique_ptr<Session> session_;
  std::optional<Error> run_error_;  // of the step that was run last, before it was sampled
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Step> steps_;  // sampled, not answered
};

template <class Value>
void Server::send(WorkerMessage kind, const Value& value) {
  FieldWriter out;
  write(out, value);
  const std::lock_guard lock(send_mutex_);
  if (!channel_.send(static_cast<std::uint32_t>(kind), out.bytes())) leave(0);
}

std::unique_ptr<Session> Server::load_session(const WorkerLoad& wanted) {
  std::unique_ptr<Session> session;
  load_engine(wanted.path, wanted.options.use_cache_folder, [&](std::shared_ptr<Engine::Impl> it) {
    TENON_CHECK(source_identity(it->source) == wanted.identity, ErrorCode::kCorrupt,
                "{}: its files changed since it was opened; open it again", wanted.path);
    give_back_free_memory();
    session =
        tenon::load_session(*it, session_options(wanted.options, it->build, it->graphs.traits));
  });
  return session;
}

bool Server::load(const std::function<std::unique_ptr<Session>(std::unique_ptr<Session>)>& wrap) {
  WorkerPacket packet;
  if (channel_.receive(packet, WorkerChannel::Wait::kYes) != WorkerChannel::Received::kPacket)
    return false;
  try {
    TENON_CHECK(packet.kind == static_cast<std::uint32_t>(WorkerMessage::kLoad),
                ErrorCode::kCorrupt, "[worker] message {} came before a load", packet.kind);
    session_ = load_session(read_load(packet));
    if (wrap) session_ = wrap(std::move(session_));
    WorkerDescription told;
    told.options = session_->options();
    told.traits = session_->traits();
    told.groups = session_->cache_groups();
    told.ledger_device = session_->ledger().device();
    told.ledger_limit = session_->ledger().limit();
    told.ledger_rows = session_->ledger().rows();
    told.text = session_->describe();
    told.kernels = session_->kernels();
    told.keeps_last_tokens = session_->keeps_last_tokens();
    send(WorkerMessage::kLoaded, told);
    return true;
  } catch (...) {
    send(WorkerMessage::kFailed, failure(current_error()));
    return false;
  }
}

void Server::serve() {
  std::thread([this] { answer_steps(); }).detach();
  WorkerPacket packet;
  while (channel_.receive(packet, WorkerChannel::Wait::kYes) == WorkerChannel::Received::kPacket)
    handle(packet);
  leave(0);
}

void Server::handle(const WorkerPacket& packet) {
  switch (static_cast<WorkerMessage>(packet.kind)) {
    case WorkerMessage::kRun: return run(packet);
    case WorkerMessage::kSample: return sample(packet);
    case WorkerMessage::kRead: return read(packet);
    default: fail(ErrorCode::kCorrupt, "[worker] an unknown message came: {}", packet.kind);
  }
}

void Server::run(const WorkerPacket& packet) {
  const Batch batch = read_batch(packet);
  run_error_.reset();
  try {
    session_->prepare(batch);
    session_->forward();
  } catch (...) {
    run_error_ = current_error();
  }
}

void Server::sample(const WorkerPacket& packet) {
  const LateInputs late = read_late_inputs(packet);
  Step step;
  step.error = run_error_;
  if (!step.error) try {
      step.handle = session_->sample(late);
    } catch (...) {
      step.error = current_error();
    }
  {
    const std::lock_guard lock(mutex_);
    steps_.push_back(std::move(step));
  }
  wake_.notify_one();
}

void Server::read(const WorkerPacket& packet) {
  const std::string name(reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size());
  std::optional<Error> error = run_error_;
  Tensor output;
  if (!error) try {
      output = session_->read(name);
    } catch (...) {
      error = current_error();
    }
  if (error)
    send(WorkerMessage::kReadFailed, failure(*error));
  else
    send(WorkerMessage::kOutput, output);
}

/// In the order of the samples, while the next steps are taken in.
void Server::answer_steps() {
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !steps_.empty(); });
    Step step = std::move(steps_.front());
    steps_.pop_front();
    lock.unlock();
    answer(step);
  }
}

void Server::answer(Step& step) {
  const StepResult* result = nullptr;
  if (!step.error) try {
      result = &step.handle->wait();
    } catch (...) {
      step.error = current_error();
    }
  if (step.error)
    send(WorkerMessage::kFailed, failure(*step.error));
  else
    send(WorkerMessage::kResult, *result);
}

}  // namespace

[[noreturn]] void serve_worker(
    int socket, const std::function<std::unique_ptr<Session>(std::unique_ptr<Session>)>& wrap) {
  struct stat status {};
  TENON_CHECK(::fstat(socket, &status) == 0 && S_ISSOCK(status.st_mode),
              ErrorCode::kInvalidArgument,
              "`tenon worker` is started by a program that runs a session in it "
              "(--worker_process), not by hand");
  // Ctrl-C and the end of a service reach every process; when this one ends is the program's to
  // say.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  tell_current_work_in_crashes();
  leave_with(socket);
  Server server(socket);
  try {
    if (!server.load(wrap)) leave(kNoSession);
    server.serve();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tenon worker: %s\n", error.what());
    leave(kDamagedMessage);
  }
}

}  // namespace tenon
