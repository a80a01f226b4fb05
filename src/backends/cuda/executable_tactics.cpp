// Which ways the kernels of a loaded program take: read from a file, or measured.
// SPDX-License-Identifier: Apache-2.0
#include <exception>

#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/tactic_search.h"
#include "core/log.h"

namespace tenon::cuda {

void CudaExecutable::choose_tactics(const TacticOptions& options, const TacticIdentity& identity) {
  const bool kept = !options.folders.empty();
  if (options.mode == TacticMode::kOff || (options.mode == TacticMode::kAuto && !kept)) return;
  // Deterministic mode: what is chosen must not depend on a clock.
  if (parts_.program.policy.deterministic || blas_ == nullptr) return;
  const DeviceGuard guard(parts_.features.device);
  const std::vector<TunableGroup> groups =
      tunable_groups(parts_.program, parts_.storage, parts_.choices, parts_.kernels);
  std::vector<TunableValues> values;
  for (const TunableGroup& group : groups) {
    const ProgramNode& node = parts_.program.nodes[group.first];
    TunableValues& places = values.emplace_back();
    for (const int value : node.inputs)
      places.inputs.push_back(at_step(value, parts_.program.limits));
    for (const int value : node.outputs)
      places.outputs.push_back(at_step(value, parts_.program.limits));
  }
  StepContext step;
  step.stream = stream_.get();
  step.sizes = parts_.program.limits;
  step.workspace = workspace_.data();
  step.workspace_bytes = workspace_.bytes();
  step.features = &parts_.features;
  step.cublaslt = blas_.get();

  std::vector<TacticQuestion> questions;
  try {
    questions = tactic_questions(groups, values, blas_.get());
    const std::vector<TacticProblem> problems = problems_of(questions);
    const TacticTable known =
        options.mode == TacticMode::kRefresh ? TacticTable{} : load_tactics(options, identity);
    CudaTacticTimer timer(questions, step);
    const TacticSearch search = tenon::choose_tactics(problems, known, timer, options.seconds);
    stream_.synchronize();
    set_tactics(questions, search.chosen);
    log::note("load", "kernel choices: {} known, {} measured in {:.1f} s, {} left as they are",
              search.known, search.measured.size(), search.seconds, search.left);
    if (kept && !search.measured.empty()) keep_tactics(options, identity, search.measured);
  } catch (const std::exception& error) {
    set_tactics(questions, std::vector<std::size_t>(questions.size(), 0));
    log::note("load", "kernel choices are not measured: {}", error.what());
  }
}

}  // namespace tenon::cuda
