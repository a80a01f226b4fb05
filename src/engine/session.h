// Session: an engine lowered, packed and loaded for given devices. Steps run in order in the ranks'
// threads, while the caller prepares the next; the runtime above decides what is in them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/tactics.h"
#include "checkpoint/weight_source.h"
#include "core/ledger.h"
#include "engine/lowering.h"
#include "graph/programs.h"
#include "tenon/kv_cache.h"

namespace tenon {

struct SessionOptions {
  std::string device = "cpu";  ///< "auto", "cpu", "cuda", "cuda:N" (backend_factory.h)
  Mapping mapping;
  int threads = 0;  ///< of all ranks together; 0: what the machine grants
  bool pin = true;
  KernelPolicy policy;
  DataType cache_dtype = DataType::kFloat32;
  std::int64_t tokens_per_block = 32;  ///< 16, 32, 64 or 128; kv_cache's wins where it is set
  std::int64_t max_step_tokens = 512;  ///< tokens of one step (max_num_tokens)
  std::int64_t max_sequences = 8;      ///< sequences of one step, and slots (max_batch_size)
  std::int64_t max_sequence_length = 2048;
  std::int64_t max_input_length = 0;  ///< longest prompt; 0: what max_sequence_length leaves
  bool all_logits = false;            ///< logits of every token of a step, not of its last ones
  KvCacheConfig kv_cache;             ///< how large the cache is, and where blocks are swapped to
  std::int64_t memory_limit = 0;      ///< bytes for everything; 0: what the device has
  std::int64_t device_memory = 0;     ///< plan as if the device had that, all free; 0: as it is
  Taps taps;
  TacticOptions tactics;  ///< kernels' ways to do their work, measured on the device
  std::string program = "decoder";
  /// How the ranks reach each other, one communicator a rank; unset: as threads of one process.
  std::function<std::vector<std::unique_ptr<Communicator>>(const Mapping&)> communicators;
};

/// What a load would take, found without loading anything.
struct SessionPlan {
  std::vector<Ledger::Row> rows;  ///< planned bytes
  std::int64_t bytes = 0;         ///< their sum
  std::int64_t limit = 0;         ///< what a load holds the sum against
  std::int64_t cache_tokens = 0;  ///< that the whole-context groups hold
};

class Session {
 public:
  struct CacheGroup {
    std::int64_t window = 0;
    std::int64_t blocks = 0;
    std::int64_t host_blocks = 0;  ///< swapped blocks in memory, then
    std::int64_t disk_blocks = 0;  ///< those in a file
  };

  /// Plans first (Error{kResourceExhausted} with the ledger where it does not fit), then packs.
  static std::unique_ptr<Session> load(const ModelGraphs& graphs,
                                       std::shared_ptr<const WeightSource> weights,
                                       const SessionOptions& options);
  /// Reads the weights' descriptions alone. Gives a plan that does not fit as one that does.
  static SessionPlan plan(const ModelGraphs& graphs, std::shared_ptr<const WeightSource> weights,
                          const SessionOptions& options);
  virtual ~Session() = default;

  /// The three are called in this order for each step, by one thread. None waits for the work: what
  /// goes wrong in it ends that step and is thrown by its handle's wait(), what is wrong with the
  /// batch too. After a failed step the session takes the next as if nothing had been: what
  /// the failed one did to its slots and their cache is undefined until they are reset, other slots
  /// keep theirs. With several ranks, steps issued before the failure was known fail with it, and a
  /// batch with cache commands (or changes to slots not in it) that some ranks took over and others
  /// did not is the end of the session.
  virtual void prepare(const Batch& batch) = 0;
  virtual void forward() = 0;
  virtual std::shared_ptr<StepHandle> sample(const LateInputs& late) = 0;
  /// "logits", "hidden_states" (after the last norm, one row a logit row) or a tap, of the last
  /// step whose forward was issued. Waits for that forward, and throws what ended it.
  virtual Tensor read(std::string_view output) = 0;

  virtual const SessionOptions& options() const = 0;
  virtual const EngineTraits& traits() const = 0;
  virtual const std::vector<CacheGroup>& cache_groups() const = 0;
  virtual const Ledger& ledger() const = 0;
  /// "Intel Xeon …, 2 threads, avx512 amx": what it runs on.
  virtual std::string describe() const = 0;
  /// Kernel choices of one rank's nodes, folded: kernel → number of nodes.
  virtual std::vector<std::pair<std::string, int>> kernels() const = 0;
  /// False where stages lie on several ranks: the host must pass every token on itself.
  virtual bool keeps_last_tokens() const = 0;
  /// A device refuses all work until this process ends. Asked after a step failed; may wait for
  /// what still runs. From any thread.
  virtual bool device_lost() const { return false; }
  /// How often a process that serves the session went away. With it went the steps that ran, and
  /// all slots with their cache: until they are reset they are undefined. From any thread.
  virtual std::uint64_t lost_workers() const { return 0; }
};

}  // namespace tenon
