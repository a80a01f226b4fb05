// WorkerLink: the program's side of one worker process, from its start to its end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/worker_messages.h"
#include "api/worker_process.h"

namespace tenon {

/// prepare(), forward(), sample() and read() are called by one thread, wait() by any. Whoever waits
/// for an answer receives for all. Once the worker is lost, whoever waits is told how.
class WorkerLink : public std::enable_shared_from_this<WorkerLink> {
 public:
  /// `losses` is counted up when the worker is lost.
  WorkerLink(const std::string& program, std::shared_ptr<std::atomic<std::uint64_t>> losses);

  /// Waits. Throws what the load failed with, or how the process ended.
  WorkerDescription load(const WorkerLoad& wanted);

  void prepare(const Batch& batch);
  void forward();
  std::shared_ptr<StepHandle> sample(const LateInputs& late);
  /// Waits.
  Tensor read(std::string_view output);

  pid_t process() const { return process_.id(); }
  /// The worker is gone and somebody was told so: its steps can no longer be taken for those of the
  /// next one.
  bool loss_is_known() const { return loss_is_known_; }

 private:
  class Step;
  struct Answer {
    std::optional<StepResult> result;
    std::optional<Error> error;
  };

  template <class Value>
  void send(WorkerMessage kind, const Value& value);
  void send_bytes(WorkerMessage kind, std::span<const std::byte> bytes);
  bool receive(WorkerPacket& packet, WorkerChannel::Wait wait);
  void take_step_answer(const WorkerPacket& packet);
  template <class Value>
  Value understood(const WorkerPacket& packet, Value (*reader)(const WorkerPacket&));
  [[noreturn]] void refuse(const WorkerPacket& packet);
  void lose(const std::string& how);
  void lose_to(const WorkerFailure& failure);
  void note_loss(const Error& error);
  std::optional<Error> loss() const;
  [[noreturn]] void throw_loss();

  std::shared_ptr<std::atomic<std::uint64_t>> losses_;
  std::string program_;
  WorkerProcess process_;
  WorkerChannel channel_;
  FieldWriter prepared_;  // the batch, until forward()
  std::mutex send_mutex_;
  FieldWriter out_;           // of send()
  std::mutex receive_mutex_;  // one receives
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<Answer>> due_;  // of the samples that were not answered, in order
  std::optional<Error> loss_;
  std::atomic<bool> loss_is_known_{false};
};

}  // namespace tenon
