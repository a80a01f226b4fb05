// SPDX-License-Identifier: Apache-2.0
#include "api/worker_process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "core/check.h"

extern char** environ;

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgram = "tenon";
constexpr std::chrono::seconds kALittle{5};
constexpr std::size_t kLastBytes = 2048;  // of standard error that are kept

bool can_run(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

/// The file that this code was loaded from: libtenon, or a program that has it inside.
fs::path own_file() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&find_worker_program), &info) == 0) return {};
  std::error_code error;
  return fs::canonical(info.dli_fname, error);
}

std::vector<fs::path> places() {
  std::vector<fs::path> found;
  if (const fs::path own = own_file(); !own.empty()) {
    const fs::path folder = own.parent_path();
    found.push_back(folder / kProgram);
    found.push_back(folder.parent_path() / "bin" / kProgram);
    found.push_back(folder.parent_path().parent_path() / "bin" / kProgram);  // lib/<architecture>
  }
  const char* variable = std::getenv("PATH");
  std::string rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) found.push_back(fs::path(rest.substr(0, end)) / kProgram);
    rest.erase(0, end + 1);
  }
  return found;
}

/// A pair of sockets that no other process of ours inherits, clear of standard streams.
std::pair<int, int> make_sockets() {
  std::array<int, 2> ends{};
  TENON_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0,
              ErrorCode::kIo, "no socket for the worker process: {}", std::strerror(errno));
  for (int& end : ends) {
    const int moved = ::fcntl(end, F_DUPFD_CLOEXEC, kWorkerSocket + 1);
    if (moved < 0) continue;
    ::close(end);
    end = moved;
  }
  return {ends[0], ends[1]};
}

int spawn(const std::string& program, int socket, int errors, pid_t& id) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, errors, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&files, socket, kWorkerSocket);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
  posix_spawn_file_actions_addclosefrom_np(&files, kWorkerSocket + 1);
#endif
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  std::string name = program;
  std::string verb = "worker";
  std::array<char*, 3> words = {name.data(), verb.data(), nullptr};
  const int error = posix_spawn(&id, program.c_str(), &files, &attributes, words.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

std::string describe_end(int status, bool killed) {
  if (killed) return "was killed";
  if (status < 0) return "ended (somebody else of this program asked how)";
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    const char* name = ::strsignal(signal);
    return fmt::format("was ended by signal {} ({}){}", signal, name == nullptr ? "?" : name,
                       signal == SIGKILL ? ", as the system does where memory runs out" : "");
  }
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

std::string find_worker_program(const std::string& wanted) {
  if (!wanted.empty()) {
    TENON_CHECK(can_run(wanted), ErrorCode::kNotFound,
                "worker_executable: {} is no program that can be run; name the program tenon",
                wanted);
    return fs::absolute(wanted).string();
  }
  std::error_code error;
  // By its link: the program may have been replaced since it was started.
  if (fs::read_symlink("/proc/self/exe", error).filename() == kProgram) return "/proc/self/exe";
  std::string looked;
  const std::vector<fs::path> all = places();
  for (const fs::path& place : all) {
    if (can_run(place)) return place.string();
    looked += (looked.empty() ? "" : ", ") + place.string();
  }
  fail(ErrorCode::kNotFound,
       "worker_process: the program tenon was not found (looked for {}); name it as "
       "worker_executable",
       looked);
}

WorkerProcess::WorkerProcess(const std::string& program) {
  const auto [ours, theirs] = make_sockets();
  socket_ = ours;
  std::pair<int, int> errors(-1, -1);
  try {
    errors = make_sockets();
    errors_ = errors.first;
    const auto started = std::make_shared<std::promise<void>>();
    // The kernel ends the worker with the thread that started it (worker_server.cpp asks for that):
    // this one, which goes when the worker has gone.
    thread_ = std::thread([&, started, theirs = theirs] {
      spawn_error_ = spawn(program, theirs, errors.second, id_);
      ::close(theirs);
      ::close(errors.second);
      const bool runs = spawn_error_ == 0;
      started->set_value();
      if (runs) relay();
    });
    started->get_future().wait();
  } catch (...) {
    for (const int end : {ours, theirs, errors.first, errors.second})
      if (end >= 0) ::close(end);
    throw;
  }
  if (spawn_error_ == 0) return;
  thread_.join();
  ::close(socket_);
  ::close(errors_);
  fail(ErrorCode::kIo, "the worker process cannot be started: {}: {}", program,
       std::strerror(spawn_error_));
}

WorkerProcess::~WorkerProcess() {
  end(Patience::kNone);
  if (socket_ >= 0) ::close(socket_);
  ::close(errors_);
}

int WorkerProcess::take_socket() { return std::exchange(socket_, -1); }

/// Until nobody writes any more, or end() shuts the socket.
void WorkerProcess::relay() {
  std::array<char, 4096> piece;
  while (true) {
    const ssize_t came = ::recv(errors_, piece.data(), piece.size(), 0);
    if (came < 0 && errno == EINTR) continue;
    if (came <= 0) return;
    const auto size = static_cast<std::size_t>(came);
    (void)!::write(STDERR_FILENO, piece.data(), size);
    const std::lock_guard lock(mutex_);
    last_words_.append(piece.data(), size);
    if (last_words_.size() > kLastBytes) last_words_.erase(0, last_words_.size() - kLastBytes);
  }
}

/// Its exit status; -1 where somebody else took it.
int WorkerProcess::wait_or_kill(Patience patience) {
  const auto deadline = std::chrono::steady_clock::now() +
                        (patience == Patience::kNone ? std::chrono::seconds{0} : kALittle);
  int status = 0;
  while (true) {
    const pid_t waited = ::waitpid(id_, &status, killed_ ? 0 : WNOHANG);
    if (waited == id_) return status;
    if (waited < 0 && errno != EINTR) return -1;
    if (killed_) continue;
    if (std::chrono::steady_clock::now() >= deadline) {
      ::kill(id_, SIGKILL);
      killed_ = true;
      continue;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string WorkerProcess::end(Patience patience) {
  if (!ended_.empty()) return ended_;
  const int status = wait_or_kill(patience);
  ::shutdown(errors_, SHUT_RD);  // what it wrote is still read
  thread_.join();
  ended_ = describe_end(status, killed_);
  const std::size_t last = last_words_.find_last_not_of("\n ");
  if (last != std::string::npos)
    ended_ += "; the last that it wrote: " + last_words_.substr(0, last + 1);
  return ended_;
}

}  // namespace tenon
