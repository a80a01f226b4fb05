// A program loaded on a CUDA device: kernels in order over one arena, with slots, cache and sampler
// in device memory. prepare() writes into a page-locked buffer, forward() and sample() queue work;
// only StepHandle::wait() and read() wait. Steps that are decodes alone are recorded once for each
// bucket of batch sizes and replayed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/recorded_step.h"
#include "backends/cuda/sampler.h"
#include "backends/cuda/step_state.h"
#include "backends/tactics.h"

namespace tenon::cuda {

class CudaExecutable final : public Executable {
 public:
  struct Parts {
    ProgramDescription program;
    std::vector<DataType> storage;  ///< storage_types()
    DeviceFeatures features;
    DeviceBuffer weights;
    std::vector<std::unique_ptr<CudaKernel>> kernels;  ///< one a node
    std::vector<KernelChoice> choices;
    bool recordable = true;  ///< all kernels are
    bool watched = false;    ///< every step is, as if its batch said so
    Communicator* communicator = nullptr;
    std::int64_t workspace_bytes = 0;  ///< of kernels
    std::function<void()> release;     ///< gives the memory back to the ledger
  };

  explicit CudaExecutable(Parts parts);
  ~CudaExecutable() override;

  void prepare(const Batch& batch) override;
  void forward() override;
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override;
  Tensor read(std::string_view output) override;
  std::span<const KernelChoice> choices() const override { return parts_.choices; }

  /// Before the first step: which ways its kernels take, where they have several. What goes wrong
  /// leaves them as they are; not done at all in deterministic mode, and without cuBLASLt.
  void choose_tactics(const TacticOptions& options, const TacticIdentity& identity);

  /// Bytes of the sampler and of the step's arrays, and of all workspaces, for the plan.
  static std::int64_t state_bytes(const ProgramDescription& program);
  static std::int64_t workspace_bytes(std::int64_t kernels, const DeviceFeatures& features);

 private:
  /// A step on its way: from prepare() to the forward() of the next.
  struct Step {
    Batch batch;
    StepPieces pieces;
    SamplerPieces sampler;
    std::size_t upload = 0;
    bool watched = false;  ///< each op is waited for
  };

  void place_values();
  StepSizes padded_sizes(const Batch& batch) const;
  bool is_decode(const Batch& batch) const;
  StepContext context() const;
  void run_nodes(const StepContext& step);
  void watch(const std::string& what) const;
  TensorRef at_step(int value, const StepSizes& sizes) const;

  Parts parts_;
  int logits_ = -1;  // value index; -1: this rank has none
  std::int64_t vocabulary_ = 0;
  Stream stream_;
  DeviceBuffer arena_;
  DeviceBuffer workspace_;
  DeviceBuffer blas_workspace_;
  std::unique_ptr<CublasLt> blas_;
  std::vector<std::byte*> values_;   // where each value lies
  std::vector<std::string> labels_;  // of the nodes
  StepState state_;
  SlotTables tables_;
  PagedCache cache_;
  Sampler sampler_;
  std::vector<Upload> uploads_;
  std::size_t next_upload_ = 0;
  Step next_;
  Step step_;
  // What slots took over on the host and the device has not been sent: a step that fails before its
  // forward leaves it to the next.
  std::vector<TableChange> unsent_changes_;
  RecordedSteps recorded_;
  std::shared_ptr<ResultPool> results_;
  std::exception_ptr error_;
};

}  // namespace tenon::cuda
