// Backend: what a device offers. No device types here: an engine turns a graph into a flat
// ProgramDescription, a backend chooses a kernel for each node, packs the weights and runs steps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/batch.h"
#include "backends/communicator.h"
#include "core/ledger.h"
#include "core/tensor.h"
#include "ops/op_list.h"
#include "quant/quantized_tensor.h"

namespace tenon {

struct DeviceProperties {
  std::string kind;      ///< "cpu", "cuda"
  std::string name;      ///< "Intel Xeon …"
  std::string features;  ///< "avx512_bf16 amx_bf16 …"
  std::int64_t memory_bytes = 0;
  std::int64_t free_bytes = 0;
  int cores = 0;
};

/// Symbolic sizes of one step, or the largest of any step.
struct StepSizes {
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t logit_rows = 0;
  std::int64_t encoder_tokens = 0;
  std::int64_t of(Symbol symbol) const;
  std::int64_t extent(const Dim& dim) const;
  std::int64_t elements(const ValueType& type) const;
};

/// What kernels may do to be faster.
struct KernelPolicy {
  /// Precision that inputs of linear layers may be rounded to: kFloat32 (not at all), kBFloat16, or
  /// kFloat8E4M3 (each row under a scale of its own, where the weights are fp8 too; never chosen
  /// unless asked for).
  DataType activation = DataType::kFloat32;
  /// Only row-invariant kernels: a row depends on its own sequence alone, in a fixed order.
  bool deterministic = false;
  /// ISA the CPU backend may use at most: "", "baseline", "avx2", "avx512", "amx".
  std::string max_isa;
};

/// A weight as a node uses it.
struct WeightUse {
  std::string name;  ///< logical name
  Shape shape;       ///< this rank's
  QuantSpec spec;    ///< how the checkpoint holds it
};

struct ProgramValue {
  std::string name;
  ValueType type;
  std::int64_t offset = -1;  ///< in the arena; -1: graph inputs and cache tokens
};

struct ProgramNode {
  Op op;
  std::vector<int> inputs;  ///< indices into values
  std::vector<int> outputs;
  std::vector<int> weights;  ///< indices into ProgramDescription::weights
};

/// One group of the cache: layers that share block tables.
struct CacheGroupDescription {
  std::vector<std::int64_t> layers;  ///< cache_layer indices
  std::int64_t kv_heads = 0;         ///< of this rank
  std::int64_t head_dim = 0;
  std::int64_t window = 0;              ///< 0: whole context
  DataType dtype = DataType::kFloat32;  ///< kFloat32, kFloat16, kBFloat16, kInt8 (a scale per
                                        ///< token and head beside it)
  std::int64_t tokens_per_block = 32;
  std::int64_t blocks = 0;
  std::int64_t host_blocks = 0;  ///< swapped blocks in the host's memory: [0, host_blocks)
  std::int64_t disk_blocks = 0;  ///< and in a file: [host_blocks, host_blocks + disk_blocks)
};

/// Everything a backend needs of an engine: values placed, nodes in order, cache, limits.
struct ProgramDescription {
  std::string name;
  std::vector<ProgramValue> values;
  std::vector<WeightUse> weights;
  std::vector<ProgramNode> nodes;
  std::vector<int> inputs;   ///< values the step fills: "token_ids", "positions", "logit_rows"
  std::vector<int> outputs;  ///< readable after a step: "logits", "hidden_states" and taps
  std::int64_t arena_bytes = 0;
  StepSizes limits;
  std::int64_t slots = 0;
  std::int64_t sequence_length = 0;  ///< tokens a sequence may have; 0: what the cache holds
  std::vector<CacheGroupDescription> cache;
  std::string swap_directory;  ///< where the file of disk_blocks is made (and deleted at once)
  KernelPolicy policy;
};

/// Which kernel serves a node, and why those before it in the list do not.
struct KernelChoice {
  std::string kernel;                        ///< "linear_amx_bf16"
  DataType activation = DataType::kFloat32;  ///< precision of its inputs inside
  bool row_invariant = true;
  std::vector<std::pair<std::string, std::string>> rejected;  ///< kernel, reason
};

/// Gives a weight of this rank; called once a weight, while packing.
using WeightLoader = std::function<QuantizedTensor(const WeightUse& weight)>;

/// Result of a step that may still be running.
class StepHandle {
 public:
  virtual ~StepHandle() = default;
  virtual bool ready() const = 0;
  /// Blocks; rethrows what went wrong in the step.
  virtual const StepResult& wait() = 0;
};

/// A program loaded on one rank's device, with its slots and its cache.
class Executable {
 public:
  virtual ~Executable() = default;

  /// Host side: takes over slot changes and rows. May be called while the step before still runs.
  virtual void prepare(const Batch& batch) = 0;
  virtual void forward() = 0;
  virtual std::shared_ptr<StepHandle> sample(const LateInputs& late) = 0;

  /// An output of the last step whose forward was issued: fp32 or int32, dense. Waits for that
  /// forward; may be called before sample(), and until the next forward. Throws Error{kNotFound}
  /// for another name.
  virtual Tensor read(std::string_view output) = 0;

  virtual std::span<const KernelChoice> choices() const = 0;  ///< one a node
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual const DeviceProperties& properties() const = 0;

  /// After an error that sticks to the process, the device refuses all work until the process ends.
  /// From any thread; may wait for what runs.
  virtual bool device_lost() const { return false; }

  /// Names of the passes (graph/passes.h) whose fused ops it has kernels for.
  virtual std::vector<std::string> fusions() const = 0;

  /// The choice load() would make. Throws Error{kUnsupported} with every reason where none fits.
  virtual KernelChoice choose(const ProgramDescription& program, const ProgramNode& node) const = 0;

  /// Bytes that load() will take, into the ledger as planned rows named with `owner`.
  virtual void plan(const ProgramDescription& program, Ledger& ledger,
                    std::string_view owner) const = 0;

  /// Packs the weights and takes memory, drawn from the ledger under `owner`. `communicator` may be
  /// null where the program has no collectives and must outlive the executable.
  virtual std::unique_ptr<Executable> load(const ProgramDescription& program,
                                           const WeightLoader& weights, Communicator* communicator,
                                           Ledger& ledger, std::string_view owner) = 0;
};

}  // namespace tenon
