// A program loaded on the CPU: kernels in order over one arena, with slots, cache and sampler.
// forward() and sample() run to their end in the calling thread; wait() throws what went wrong.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/cpu_kernel.h"
#include "backends/cpu/isa/isa_kernels.h"
#include "backends/cpu/paged_cache.h"
#include "backends/cpu/rope_tables.h"
#include "backends/cpu/slots.h"

namespace tenon::cpu {

class CpuExecutable final : public Executable {
 public:
  struct Parts {
    ProgramDescription program;
    std::vector<std::unique_ptr<CpuKernel>> kernels;  ///< one a node
    std::vector<KernelChoice> choices;
    std::shared_ptr<ThreadPool> pool;
    Communicator* communicator = nullptr;
    std::int64_t workspace_bytes = 0;
    std::function<void()> release;  ///< gives the memory back to the ledger
  };

  explicit CpuExecutable(Parts parts);
  ~CpuExecutable() override;

  void prepare(const Batch& batch) override;
  void forward() override;
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override;
  Tensor read(std::string_view output) override;
  std::span<const KernelChoice> choices() const override { return parts_.choices; }

  /// Bytes of arena and inputs, and of the sampler, for the plan.
  static std::int64_t activation_bytes(const ProgramDescription& program);
  static std::int64_t sampler_bytes(const ProgramDescription& program, int threads);

 private:
  void place_values();
  void fill_inputs();
  void run_nodes();
  void sample_sequence(std::int64_t sequence, const LateInputs& late, int worker,
                       SequenceResult& result) const;
  TensorRef at_step(int value) const;

  Parts parts_;
  int logits_ = -1;  // value index; -1: this rank has none
  std::int64_t vocabulary_ = 0;
  const IsaKernels* isa_ = nullptr;  // of the sampler
  std::shared_ptr<std::byte> arena_;
  std::shared_ptr<std::byte> inputs_;
  std::shared_ptr<std::byte> workspace_;
  std::shared_ptr<std::byte> sampler_memory_;
  std::vector<std::byte*> values_;   // where each value lies
  std::vector<std::string> labels_;  // of the nodes, for who has to tell which one failed
  std::vector<std::vector<TensorRef>> node_inputs_;
  std::vector<std::vector<TensorRef>> node_outputs_;
  PagedCache cache_;
  RopeTables rope_;
  Slots slots_;
  Batch batch_;
  StepSizes sizes_;
  std::exception_ptr error_;
};

}  // namespace tenon::cpu
