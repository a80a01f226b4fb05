// Measuring the tactics of a loaded program's kernels, on its own weights and arena, before its
// first step. Nothing is allocated: inputs are random rows where the step's would lie.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/linear_tactic.h"
#include "backends/tactics.h"

namespace tenon::cuda {

/// Nodes that do the same work, each with weights of its own. They are measured in turn, so that
/// weights come from where a step would find them: memory, or the L2 cache where all layers fit.
struct TunableGroup {
  std::string work;       ///< kernel, types, shapes
  std::size_t first = 0;  ///< node whose inputs and outputs all are measured with
  std::vector<const CudaKernel*> kernels;
  std::vector<TunableKernel*> tunable;  ///< the same objects
};
std::vector<TunableGroup> tunable_groups(const ProgramDescription& program,
                                         std::span<const DataType> storage,
                                         std::span<const KernelChoice> choices,
                                         std::span<const std::unique_ptr<CudaKernel>> kernels);

/// Where a group's values lie at its largest step.
struct TunableValues {
  std::vector<TensorRef> inputs;
  std::vector<TensorRef> outputs;
};

/// One group for one number of rows.
struct TacticQuestion {
  const TunableGroup* group = nullptr;
  const TunableValues* values = nullptr;
  std::int64_t rows = 0;                ///< tactic_rows() that the answer is for
  std::int64_t measured_rows = 0;       ///< as many as the step may have
  std::vector<LinearTactic> tactics{};  ///< the candidates
};
/// For 1, 2, 4, … rows, all groups each. `values`: one a group.
std::vector<TacticQuestion> tactic_questions(std::span<const TunableGroup> groups,
                                             std::span<const TunableValues> values, CublasLt* blas);
std::vector<TacticProblem> problems_of(std::span<const TacticQuestion> questions);
/// `chosen`: a candidate's index for each question.
void set_tactics(std::span<const TacticQuestion> questions, std::span<const std::size_t> chosen);

/// Times questions' launches as a recorded step has them: the median of some replays.
class CudaTacticTimer final : public TacticTimer {
 public:
  /// `step`: stream, workspace and libraries.
  CudaTacticTimer(std::span<const TacticQuestion> questions, const StepContext& step);
  ~CudaTacticTimer() override;
  double measure(const TacticProblem& problem, std::size_t candidate) override;
  double now() override;

 private:
  const TacticQuestion& question_of(const TacticProblem& problem) const;
  void fill(const TensorRef& x) const;
  void launch(const TacticQuestion& question, int count);
  double milliseconds(const std::function<void()>& work);
  double replay(const TacticQuestion& question, int count);

  std::span<const TacticQuestion> questions_;
  StepContext step_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
  std::size_t next_ = 0;  // of the group's kernels
};

}  // namespace tenon::cuda
