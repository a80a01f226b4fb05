// SPDX-License-Identifier: Apache-2.0
#include "api/worker_session.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "api/session_options.h"
#include "api/source_identity.h"
#include "api/worker_link.h"
#include "core/check.h"
#include "core/log.h"
#include "runtime/current_error.h"

namespace tenon {
namespace {

class FailedStep : public StepHandle {
 public:
  explicit FailedStep(Error error) : error_(std::move(error)) {}
  bool ready() const override { return true; }
  const StepResult& wait() override { throw Error(error_); }

 private:
  Error error_;
};

bool same(const Session::CacheGroup& a, const Session::CacheGroup& b) {
  return a.window == b.window && a.blocks == b.blocks && a.host_blocks == b.host_blocks &&
         a.disk_blocks == b.disk_blocks;
}

class WorkerSession : public Session {
 public:
  WorkerSession(std::string program, WorkerLoad load)
      : program_(std::move(program)), load_(std::move(load)) {
    link_ = std::make_shared<WorkerLink>(program_, losses_);
    first_ = link_->load(load_);
    process_ = link_->process();
    ledger_ = std::make_unique<Ledger>(first_.ledger_device);
    for (const Ledger::Row& row : first_.ledger_rows) {
      ledger_->plan(row.kind, row.name, row.planned);
      ledger_->draw(row.kind, row.name, row.drawn);
    }
    ledger_->set_limit(first_.ledger_limit);
    keep_cache_size();
  }

  void prepare(const Batch& batch) override {
    if (link_->loss_is_known()) start_again();
    link_->prepare(batch);
  }
  void forward() override {
    if (!no_worker_) link_->forward();
  }
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    if (no_worker_) return std::make_shared<FailedStep>(*no_worker_);
    return link_->sample(late);
  }
  Tensor read(std::string_view output) override {
    if (no_worker_) throw Error(*no_worker_);
    return link_->read(output);
  }

  const SessionOptions& options() const override { return first_.options; }
  const EngineTraits& traits() const override { return first_.traits; }
  const std::vector<CacheGroup>& cache_groups() const override { return first_.groups; }
  const Ledger& ledger() const override { return *ledger_; }
  std::string describe() const override {
    return fmt::format("{}, in worker process {}", first_.text, process_.load());
  }
  std::vector<std::pair<std::string, int>> kernels() const override { return first_.kernels; }
  bool keeps_last_tokens() const override { return first_.keeps_last_tokens; }
  std::uint64_t lost_workers() const override { return *losses_; }

 private:
  /// Whatever is free by then, the next worker's cache is as large as this one's: the runtime
  /// counts its blocks.
  void keep_cache_size() {
    std::int64_t blocks = 0;
    for (const CacheGroup& group : first_.groups) blocks = std::max(blocks, group.blocks);
    if (blocks == 0) return;
    load_.options.kv_cache_tokens = blocks * first_.options.tokens_per_block;
    load_.options.executor.kv_cache.max_bytes.reset();
    load_.options.executor.kv_cache.free_memory_fraction.reset();
  }

  /// Where that fails, this step fails with the reason, and the next prepare() tries again.
  void start_again() {
    no_worker_.reset();
    log::warn("the worker process {} is gone; it is started again", process_.load());
    try {
      auto link = std::make_shared<WorkerLink>(program_, losses_);
      const WorkerDescription told = link->load(load_);
      TENON_CHECK(told.traits == first_.traits && told.ledger_device == first_.ledger_device &&
                      std::equal(told.groups.begin(), told.groups.end(), first_.groups.begin(),
                                 first_.groups.end(), same),
                  ErrorCode::kInternal,
                  "it has another device or another cache than the one before (on {}: {})",
                  told.ledger_device, told.text);
      link_ = std::move(link);
      process_ = link_->process();
    } catch (...) {
      const Error error = current_error();
      no_worker_.emplace(
          error.code(),
          fmt::format("the worker process could not be started again: {}", error.what()));
    }
  }

  std::string program_;
  WorkerLoad load_;
  std::shared_ptr<std::atomic<std::uint64_t>> losses_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<WorkerLink> link_;
  std::optional<Error> no_worker_;  // why the last start failed
  std::atomic<pid_t> process_{0};
  WorkerDescription first_;  // what the first worker told: that of all
  std::unique_ptr<Ledger> ledger_;
};

/// The folder a program works in may change before a worker is started again.
std::string lasting(const std::string& path) {
  std::error_code error;
  const bool there = std::filesystem::exists(path, error);
  return there ? std::filesystem::absolute(path).string() : path;
}

}  // namespace

std::unique_ptr<Session> load_in_worker(const std::string& path, const ModelSource& source,
                                        const LlmOptions& options) {
  check_options(options);
  return std::make_unique<WorkerSession>(
      find_worker_program(options.executor.worker_executable),
      WorkerLoad{lasting(path), source_identity(source), options});
}

}  // namespace tenon
