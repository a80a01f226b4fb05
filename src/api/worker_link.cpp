// SPDX-License-Identifier: Apache-2.0
#include "api/worker_link.h"

#include <utility>

#include "core/check.h"

namespace tenon {

/// A step of a worker: its answer comes when somebody receives.
class WorkerLink::Step : public StepHandle {
 public:
  Step(std::shared_ptr<WorkerLink> link, std::shared_ptr<Answer> answer)
      : link_(std::move(link)), answer_(std::move(answer)) {}

  bool ready() const override { return settle(WorkerChannel::Wait::kNo); }
  const StepResult& wait() override {
    settle(WorkerChannel::Wait::kYes);
    {
      const std::lock_guard lock(link_->mutex_);
      if (answer_->error) throw Error(*answer_->error);
      if (answer_->result) return *answer_->result;
    }
    link_->throw_loss();
  }

 private:
  /// Receives until the answer is there, or the worker is lost; with kNo, what has come.
  bool settle(WorkerChannel::Wait wait) const {
    while (true) {
      {
        const std::lock_guard lock(link_->mutex_);
        if (answer_->result || answer_->error || link_->loss_) return true;
      }
      const std::lock_guard one(link_->receive_mutex_);
      {
        const std::lock_guard lock(link_->mutex_);  // somebody else may have received it
        if (answer_->result || answer_->error || link_->loss_) return true;
      }
      WorkerPacket packet;
      if (link_->receive(packet, wait))
        link_->take_step_answer(packet);
      else if (wait == WorkerChannel::Wait::kNo)
        return link_->loss().has_value();
    }
  }

  std::shared_ptr<WorkerLink> link_;
  std::shared_ptr<Answer> answer_;
};

WorkerLink::WorkerLink(const std::string& program,
                       std::shared_ptr<std::atomic<std::uint64_t>> losses)
    : losses_(std::move(losses)),
      program_(program),
      process_(program),
      channel_(process_.take_socket()) {}

WorkerDescription WorkerLink::load(const WorkerLoad& wanted) {
  send(WorkerMessage::kLoad, wanted);
  const std::lock_guard one(receive_mutex_);
  WorkerPacket packet;
  if (!receive(packet, WorkerChannel::Wait::kYes))
    fail(ErrorCode::kInternal, "{}; it runs {} and had not loaded yet", loss()->what(), program_);
  const auto kind = static_cast<WorkerMessage>(packet.kind);
  if (kind == WorkerMessage::kLoaded) return understood(packet, read_description);
  if (kind != WorkerMessage::kFailed) refuse(packet);
  const WorkerFailure failure = understood(packet, read_failure);
  throw Error(failure.code, failure.message);
}

/// What `reader` makes of the packet; one that makes nothing of it costs the worker.
template <class Value>
Value WorkerLink::understood(const WorkerPacket& packet, Value (*reader)(const WorkerPacket&)) {
  try {
    return reader(packet);
  } catch (const Error& error) {
    lose(error.what());
    throw_loss();
  }
}

void WorkerLink::refuse(const WorkerPacket& packet) {
  lose(fmt::format("[worker] an answer came ({}) that nobody had asked for", packet.kind));
  throw_loss();
}

template <class Value>
void WorkerLink::send(WorkerMessage kind, const Value& value) {
  const std::lock_guard lock(send_mutex_);
  out_.clear();
  write(out_, value);
  send_bytes(kind, out_.bytes());
}

void WorkerLink::send_bytes(WorkerMessage kind, std::span<const std::byte> bytes) {
  if (loss()) return;
  // Where the worker is gone, whoever waits for an answer sees that too, and with the reason that
  // it may have sent before.
  (void)channel_.send(static_cast<std::uint32_t>(kind), bytes);
}

void WorkerLink::prepare(const Batch& batch) {
  prepared_.clear();
  write(prepared_, batch);
}

void WorkerLink::forward() {
  const std::lock_guard lock(send_mutex_);
  send_bytes(WorkerMessage::kRun, prepared_.bytes());
}

std::shared_ptr<StepHandle> WorkerLink::sample(const LateInputs& late) {
  auto answer = std::make_shared<Answer>();
  auto step = std::make_shared<Step>(shared_from_this(), answer);
  {
    const std::lock_guard lock(mutex_);
    if (!loss_) due_.push_back(std::move(answer));
  }
  send(WorkerMessage::kSample, late);
  return step;
}

Tensor WorkerLink::read(std::string_view output) {
  const std::lock_guard one(receive_mutex_);
  {
    const std::lock_guard lock(send_mutex_);
    send_bytes(WorkerMessage::kRead, std::as_bytes(std::span(output.data(), output.size())));
  }
  WorkerPacket packet;
  while (receive(packet, WorkerChannel::Wait::kYes)) {
    const auto kind = static_cast<WorkerMessage>(packet.kind);
    if (kind == WorkerMessage::kOutput) return understood(packet, read_tensor);
    if (kind != WorkerMessage::kReadFailed) {
      take_step_answer(packet);
      continue;
    }
    const WorkerFailure failure = understood(packet, read_failure);
    if (!failure.device_lost) throw Error(failure.code, failure.message);
    lose_to(failure);
  }
  throw_loss();
}

/// False where nothing came, or nothing will.
bool WorkerLink::receive(WorkerPacket& packet, WorkerChannel::Wait wait) {
  if (loss()) return false;
  using Received = WorkerChannel::Received;
  try {
    const Received received = channel_.receive(packet, wait);
    if (received == Received::kEnd) lose("");
    return received == Received::kPacket;
  } catch (const Error& error) {
    lose(error.what());
    return false;
  }
}

void WorkerLink::take_step_answer(const WorkerPacket& packet) {
  const auto kind = static_cast<WorkerMessage>(packet.kind);
  std::shared_ptr<Answer> answer;
  {
    const std::lock_guard lock(mutex_);
    if (!due_.empty() && (kind == WorkerMessage::kResult || kind == WorkerMessage::kFailed)) {
      answer = std::move(due_.front());
      due_.pop_front();
    }
  }
  if (!answer) refuse(packet);
  if (kind == WorkerMessage::kResult) {
    StepResult result = understood(packet, read_result);
    const std::lock_guard lock(mutex_);
    answer->result = std::move(result);
    return;
  }
  const WorkerFailure failure = understood(packet, read_failure);
  if (failure.device_lost) return lose_to(failure);
  const std::lock_guard lock(mutex_);
  answer->error.emplace(failure.code, failure.message);
}

/// `how` says what it sent that it should not have; empty: nothing, it ended.
void WorkerLink::lose(const std::string& how) {
  using Patience = WorkerProcess::Patience;
  channel_.shut_down();
  const std::string end = process_.end(how.empty() ? Patience::kSome : Patience::kNone);
  note_loss(Error(ErrorCode::kInternal,
                  how.empty()
                      ? fmt::format("the worker process {} {}", process_.id(), end)
                      : fmt::format("the worker process {} {}: {}", process_.id(), end, how)));
}

/// An error that stays with the process: it is of no use any more.
void WorkerLink::lose_to(const WorkerFailure& failure) {
  channel_.shut_down();
  process_.end(WorkerProcess::Patience::kNone);
  note_loss(Error(failure.code, fmt::format("{} (the worker process {} was ended: the error would "
                                            "have stayed with it)",
                                            failure.message, process_.id())));
}

void WorkerLink::note_loss(const Error& error) {
  const std::lock_guard lock(mutex_);
  loss_ = error;
  due_.clear();
  ++*losses_;
}

std::optional<Error> WorkerLink::loss() const {
  const std::lock_guard lock(mutex_);
  return loss_;
}

void WorkerLink::throw_loss() {
  loss_is_known_ = true;
  throw Error(*loss());
}

}  // namespace tenon
