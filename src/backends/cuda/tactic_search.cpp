// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tactic_search.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "backends/cuda/kernel_choice.h"
#include "core/check.h"
#include "core/half.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kMostRows = 16384;  // measured: beyond, a product is large whatever the way
constexpr std::size_t kReplays = 5;
constexpr int kMostLaunches = 16;            // in a replay
constexpr double kReplayMilliseconds = 1.0;  // about
constexpr std::int64_t kRandomBytes = std::int64_t{1} << 20;

std::string work_of(const NodeView& view, const std::string& kernel) {
  std::string work = kernel;
  for (const ValueType& input : view.inputs) work += fmt::format(" {}", to_string(input.dtype));
  for (const WeightUse& use : view.weights)
    work += fmt::format(" x {} {}", to_string(use.shape), to_string(use.spec));
  for (const ValueType& output : view.outputs)
    work += fmt::format(" -> {}", to_string(output.dtype));
  return work;
}

TensorRef with_rows(TensorRef ref, std::int64_t rows) {
  ref.rows = rows;
  return ref;
}

}  // namespace

std::vector<TunableGroup> tunable_groups(const ProgramDescription& program,
                                         std::span<const DataType> storage,
                                         std::span<const KernelChoice> choices,
                                         std::span<const std::unique_ptr<CudaKernel>> kernels) {
  std::vector<TunableGroup> groups;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    auto* const tunable = dynamic_cast<TunableKernel*>(kernels[i].get());
    if (tunable == nullptr) continue;
    const std::string work =
        work_of(view_of(program, storage, program.nodes[i]), choices[i].kernel);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const TunableGroup& one) { return one.work == work; });
    if (group == groups.end()) group = groups.insert(groups.end(), {work, i, {}, {}});
    group->kernels.push_back(kernels[i].get());
    group->tunable.push_back(tunable);
  }
  return groups;
}

std::vector<TacticQuestion> tactic_questions(std::span<const TunableGroup> groups,
                                             std::span<const TunableValues> values,
                                             CublasLt* blas) {
  std::vector<TacticQuestion> out;
  for (std::int64_t rows = 1; rows <= kMostRows; rows *= 2)
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const std::int64_t most = values[g].inputs.at(0).rows;
      if (rows >= 2 * most) continue;
      const std::int64_t measured = std::min(rows, most);
      out.push_back({&groups[g], &values[g], rows, measured,
                     groups[g].tunable.front()->tactics(measured, blas)});
    }
  return out;
}

std::vector<TacticProblem> problems_of(std::span<const TacticQuestion> questions) {
  std::vector<TacticProblem> out;
  for (const TacticQuestion& question : questions) {
    TacticProblem& problem = out.emplace_back();
    problem.work = question.group->work;
    problem.rows = question.rows;
    for (const LinearTactic& tactic : question.tactics) problem.candidates.push_back(tactic.text());
  }
  return out;
}

void set_tactics(std::span<const TacticQuestion> questions, std::span<const std::size_t> chosen) {
  for (std::size_t i = 0; i < questions.size(); ++i)
    if (!questions[i].tactics.empty())
      for (TunableKernel* const kernel : questions[i].group->tunable)
        kernel->set_tactic(questions[i].rows, questions[i].tactics.at(chosen[i]));
}

CudaTacticTimer::CudaTacticTimer(std::span<const TacticQuestion> questions, const StepContext& step)
    : questions_(questions), step_(step) {
  check(cudaEventCreate(&begin_), "make an event");
  if (const cudaError_t code = cudaEventCreate(&end_); code != cudaSuccess) {
    cudaEventDestroy(begin_);
    check(code, "make an event");
  }
}

CudaTacticTimer::~CudaTacticTimer() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
}

double CudaTacticTimer::now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const TacticQuestion& CudaTacticTimer::question_of(const TacticProblem& problem) const {
  const auto found =
      std::find_if(questions_.begin(), questions_.end(), [&](const TacticQuestion& question) {
        return question.rows == problem.rows && question.group->work == problem.work;
      });
  TENON_ASSERT(found != questions_.end());
  return *found;
}

// Random numbers around 0, the same again and again: power, and so speed, depends on the bits.
void CudaTacticTimer::fill(const TensorRef& x) const {
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  const std::int64_t bytes = x.elements() * size;
  const std::int64_t first = std::min(bytes, kRandomBytes);
  std::vector<float> numbers(static_cast<std::size_t>(first / size));
  std::uint32_t state = 1;
  for (float& number : numbers) {
    state = state * 1664525U + 1013904223U;
    number = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F;
  }
  std::vector<std::byte> raw(static_cast<std::size_t>(first));
  convert_from_float(x.dtype, numbers.data(), raw.data(), numbers.size());
  check(cudaMemcpyAsync(x.data, raw.data(), raw.size(), cudaMemcpyHostToDevice, step_.stream),
        "fill an input");
  for (std::int64_t done = first; done < bytes; done *= 2)
    check(cudaMemcpyAsync(x.data + done, x.data,
                          static_cast<std::size_t>(std::min(done, bytes - done)),
                          cudaMemcpyDeviceToDevice, step_.stream),
          "fill an input");
  check(cudaStreamSynchronize(step_.stream), "fill an input");  // `raw` goes
}

void CudaTacticTimer::launch(const TacticQuestion& question, int count) {
  std::vector<TensorRef> inputs;
  std::vector<TensorRef> outputs;
  for (const TensorRef& ref : question.values->inputs)
    inputs.push_back(with_rows(ref, question.measured_rows));
  for (const TensorRef& ref : question.values->outputs)
    outputs.push_back(with_rows(ref, question.measured_rows));
  for (int i = 0; i < count; ++i) {
    next_ = (next_ + 1) % question.group->kernels.size();
    question.group->kernels[next_]->launch(inputs, outputs, step_);
  }
}

double CudaTacticTimer::milliseconds(const std::function<void()>& work) {
  check(cudaEventRecord(begin_, step_.stream), "time a kernel");
  work();
  check(cudaEventRecord(end_, step_.stream), "time a kernel");
  check(cudaEventSynchronize(end_), "time a kernel");
  float out = 0;
  check(cudaEventElapsedTime(&out, begin_, end_), "time a kernel");
  return static_cast<double>(out);
}

double CudaTacticTimer::replay(const TacticQuestion& question, int count) {
  check(cudaStreamBeginCapture(step_.stream, cudaStreamCaptureModeThreadLocal), "record kernels");
  cudaGraph_t graph = nullptr;
  try {
    launch(question, count);
  } catch (...) {
    cudaStreamEndCapture(step_.stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(step_.stream, &graph), "record kernels");
  cudaGraphExec_t replayed = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&replayed, graph, 0);
  cudaGraphDestroy(graph);
  check(code, "make a recording");
  std::array<double, kReplays> times{};
  try {
    const auto run = [&] { check(cudaGraphLaunch(replayed, step_.stream), "replay kernels"); };
    run();
    for (double& time : times) time = milliseconds(run);
  } catch (...) {
    cudaGraphExecDestroy(replayed);
    throw;
  }
  cudaGraphExecDestroy(replayed);
  std::nth_element(times.begin(), times.begin() + kReplays / 2, times.end());
  return times[kReplays / 2] / count;
}

double CudaTacticTimer::measure(const TacticProblem& problem, std::size_t candidate) {
  const TacticQuestion& question = question_of(problem);
  for (TunableKernel* const kernel : question.group->tunable)
    kernel->set_tactic(question.rows, question.tactics.at(candidate));
  if (candidate == 0) fill(with_rows(question.values->inputs.at(0), question.measured_rows));
  launch(question, 1);  // code is loaded, the library makes its plan
  const double once = milliseconds([&] { launch(question, 1); });
  const double launches = once > 0 ? kReplayMilliseconds / once : kMostLaunches;
  const int count = static_cast<int>(std::clamp(launches, 1.0, double{kMostLaunches}));
  return 1000 * replay(question, count);
}

}  // namespace tenon::cuda
