// The ways of linear kernels: which are candidates, that all of them give the same, and that a load
// measures them once. What needs no GPU: grouping, rows, names.
// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/linear_tactic.h"
#include "backends/cuda/storage.h"
#include "backends/cuda/tactic_search.h"
#include "cpu_linear_support.h"
#include "cuda_support.h"

#include <gmock/gmock.h>

namespace tenon::cuda {
namespace {

namespace fs = std::filesystem;
using Route = LinearTactic::Route;
using cpu::RandomWeights;
using cpu::spec_of;
using testing::ElementsAre;

TEST(CudaTactics, NamesSayTheWay) {
  EXPECT_EQ(LinearTactic{}.text(), "stream");
  EXPECT_EQ((LinearTactic{Route::kProducts, 0}.text()), "cublaslt");
  EXPECT_EQ((LinearTactic{Route::kWidening}.text()), "widening");
  EXPECT_EQ((LinearTactic{Route::kJoined, 0xABC}.text()), "joined 0000000000000abc");
  EXPECT_EQ(LinearTactic{Route::kSums}.text(), "sums");
}

TEST(CudaTactics, RowsAreLookedUpByPowersOfTwo) {
  TacticsByRows tactics;
  EXPECT_EQ(tactics.find(0), nullptr);
  tactics.set(8, {Route::kJoined, 5});
  tactics.set(std::int64_t{1} << 40, {Route::kJoined, 6});  // beyond any step: not kept
  for (const std::int64_t rows : {5, 6, 7, 8}) {
    ASSERT_NE(tactics.find(rows), nullptr) << rows;
    EXPECT_EQ(tactics.find(rows)->algorithm, 5U);
  }
  for (const std::int64_t rows : {std::int64_t{4}, std::int64_t{9}, std::int64_t{1} << 40})
    EXPECT_EQ(tactics.find(rows), nullptr) << rows;
}

class FakeKernel final : public CudaKernel, public TunableKernel {
 public:
  void launch(std::span<const TensorRef>, std::span<const TensorRef>,
              const StepContext&) const override {}
  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt*) const override {
    if (rows > 2) return {{Route::kProducts}};
    return {{}, {Route::kProducts}};
  }
  void set_tactic(std::int64_t rows, const LinearTactic& tactic) override {
    set.emplace_back(rows, tactic);
  }
  std::vector<std::pair<std::int64_t, LinearTactic>> set;
};

// Two layers of one linear each, a norm between them, a head of other sizes: values and weights in
// bfloat16.
struct FakeProgram {
  FakeProgram() {
    const ValueType wide = ValueType::tensor(DataType::kBFloat16, {Symbol::kTokens, 8});
    const ValueType rows = ValueType::tensor(DataType::kFloat32, {Symbol::kLogitRows, 16});
    program.values = {
        {"x", wide, 0}, {"a", wide, 0}, {"n", wide, 0}, {"b", wide, 0}, {"logits", rows, 0}};
    const QuantSpec spec = QuantSpec::floating(DataType::kBFloat16);
    program.weights = {
        {"w0", {8, 8}, spec}, {"gain", {8}, {}}, {"w1", {8, 8}, spec}, {"head", {16, 8}, spec}};
    program.nodes = {{Linear{}, {0}, {1}, {0}},
                     {Norm{}, {1}, {2}, {1}},
                     {Linear{}, {2}, {3}, {2}},
                     {Linear{}, {3}, {4}, {3}}};
    for (const ProgramValue& value : program.values) storage.push_back(value.type.dtype);
    choices.resize(4);
    for (KernelChoice& choice : choices) choice.kernel = "fake";
    for (int i = 0; i < 4; ++i) kernels.push_back(std::make_unique<FakeKernel>());
  }
  FakeKernel& kernel(std::size_t node) { return dynamic_cast<FakeKernel&>(*kernels[node]); }

  ProgramDescription program;
  std::vector<DataType> storage;
  std::vector<KernelChoice> choices;
  std::vector<std::unique_ptr<CudaKernel>> kernels;
};

TEST(CudaTactics, NodesOfTheSameWorkAreOneGroup) {
  FakeProgram fake;
  std::vector<TunableGroup> groups =
      tunable_groups(fake.program, fake.storage, fake.choices, fake.kernels);
  ASSERT_EQ(groups.size(), 3U);  // the linears of the layers; the norm (a fake too); the head
  EXPECT_EQ(groups[0].tunable.size(), 2U);
  EXPECT_EQ(groups[0].work, "fake bfloat16 x [8, 8] bfloat16 -> bfloat16");
  EXPECT_EQ(groups[2].first, 3U);
  // Another kernel, or another type of an output, is other work.
  fake.choices[2].kernel = "other";
  EXPECT_EQ(tunable_groups(fake.program, fake.storage, fake.choices, fake.kernels).size(), 4U);
  fake.choices[2].kernel = "fake";
  fake.storage[3] = DataType::kFloat32;
  EXPECT_EQ(tunable_groups(fake.program, fake.storage, fake.choices, fake.kernels).size(), 4U);
}

TEST(CudaTactics, QuestionsReachTheLargestStepAndAnswersReachTheKernels) {
  FakeProgram fake;
  const std::vector<TunableGroup> groups =
      tunable_groups(fake.program, fake.storage, fake.choices, fake.kernels);
  std::vector<TunableValues> values(3);
  values[0].inputs = {{nullptr, DataType::kBFloat16, 5, 8}};
  values[1].inputs = {{nullptr, DataType::kBFloat16, 1, 8}};
  values[2].inputs = {{nullptr, DataType::kBFloat16, 2, 8}};
  const std::vector<TacticQuestion> questions = tactic_questions(groups, values, nullptr);
  std::vector<std::array<std::int64_t, 3>> asked;
  for (const TacticQuestion& question : questions)
    asked.push_back({question.group - groups.data(), question.rows, question.measured_rows});
  using Asked = std::array<std::int64_t, 3>;
  EXPECT_THAT(asked, ElementsAre(Asked{0, 1, 1}, Asked{1, 1, 1}, Asked{2, 1, 1}, Asked{0, 2, 2},
                                 Asked{2, 2, 2}, Asked{0, 4, 4}, Asked{0, 8, 5}));
  const std::vector<TacticProblem> problems = problems_of(questions);
  EXPECT_THAT(problems[0].candidates, ElementsAre("stream", "cublaslt"));
  EXPECT_THAT(problems[5].candidates, ElementsAre("cublaslt"));
  std::vector<std::size_t> chosen(questions.size(), 0);
  chosen[3] = 1;
  set_tactics(questions, chosen);
  ASSERT_EQ(fake.kernel(2).set.size(), 4U);
  EXPECT_EQ(fake.kernel(0).set, fake.kernel(2).set);
  EXPECT_EQ(fake.kernel(2).set[1], (std::pair<std::int64_t, LinearTactic>{2, {Route::kProducts}}));
}

// ---------------------------------------------------------------- on a GPU

struct WayCase {
  std::string form;
  std::vector<std::int64_t> widths;  // of segments
  bool bias = false;
  bool gated = false;
  DataType output = DataType::kBFloat16;
};

std::string label_of(const WayCase& c) {
  std::string label = c.form + (c.gated ? " gated" : "") + (c.bias ? " bias" : "");
  for (const std::int64_t width : c.widths) label += " " + std::to_string(width);
  return label;
}

// ‖a - b‖ / ‖b‖: outputs and dequantized matrices are rounded to 8 bits of a number, each apart.
double relative_difference(const Tensor& a, const Tensor& b) {
  double error = 0;
  double norm = 0;
  for (std::int64_t i = 0; i < b.view().elements(); ++i) {
    const double there = static_cast<double>(b.view().as<float>()[i]);
    error += std::pow(static_cast<double>(a.view().as<float>()[i]) - there, 2);
    norm += std::pow(there, 2);
  }
  return std::isnan(error) ? INFINITY : std::sqrt(error / norm);
}

// Every way of the kernel that would be chosen, against its first: how many there were, by route.
template <class OpT>
std::map<Route, int> compare_ways(const OpT& op, const WayCase& c, std::int64_t rows,
                                  DataType activation) {
  constexpr std::int64_t kColumns = 256;
  RandomWeights random(21);
  std::vector<QuantizedTensor> weights;
  for (const std::int64_t width : c.widths)
    weights.push_back(random.weight(spec_of(c.form), width, kColumns));
  if (c.bias)
    for (std::size_t i = 0; i < c.widths.size(); ++i)  // each has numbers of its own
      weights.push_back(
          QuantizedTensor::from(random_tensor({c.widths[i]}, 5 + static_cast<unsigned>(i))));
  NodeView view;
  view.inputs = {ValueType::tensor(DataType::kBFloat16, {Dim(rows), Dim(kColumns)})};
  for (const std::int64_t width : c.widths) {
    view.outputs.push_back(ValueType::tensor(c.output, {Dim(rows), Dim(width)}));
    if (c.gated) break;
  }
  for (std::size_t i = 0; i < weights.size(); ++i)
    view.weights.push_back({"w" + std::to_string(i), weights[i].shape, weights[i].spec});
  const std::string label = label_of(c) + " rows " + std::to_string(rows);

  std::map<Route, int> routes;
  for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
    if (entry.activation != activation || entry.row_invariant) continue;
    if (!entry.reject(op, view, test_features()).empty()) continue;
    LoadContext load(planned_bytes(entry.needs(op, view)), test_features(), test_pool());
    const auto kernel = entry.make(op, view, weights, load);
    const DeviceBuffer memory = load.finish();
    auto* const tunable = dynamic_cast<TunableKernel*>(kernel.get());
    EXPECT_NE(tunable, nullptr) << entry.name;
    if (tunable == nullptr) continue;
    DeviceStep step(make_batch({0}, {static_cast<std::int32_t>(rows)}));
    const DeviceBuffer workspace(aligned(kernel->workspace_bytes(step.sizes())), "test");
    step.context().workspace = workspace.data();
    step.context().workspace_bytes = workspace.bytes();
    const DeviceTensor x(random_tensor({rows, kColumns}, 3, 0.5F), DataType::kBFloat16);
    const auto run = [&] {
      std::vector<DeviceTensor> outputs;
      std::vector<TensorRef> refs;
      for (const ValueType& type : view.outputs)
        outputs.emplace_back(type.dtype, Shape{rows, type.shape[1].extent});
      for (const DeviceTensor& output : outputs) refs.push_back(output.ref());
      kernel->launch(std::vector{x.ref()}, refs, step.context());
      step.synchronize();
      std::vector<Tensor> out;
      for (const DeviceTensor& output : outputs) out.push_back(output.fetch());
      return out;
    };
    const std::vector<Tensor> usual = run();
    const std::vector<LinearTactic> ways = tunable->tactics(rows, test_cublaslt());
    for (std::size_t way = 0; way < ways.size(); ++way) {
      ++routes[ways[way].route];
      tunable->set_tactic(tactic_rows(rows), ways[way]);
      const std::vector<Tensor> got = run();
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::string where = fmt::format("{} {}: {}", entry.name, label, ways[way].text());
        if (way == 0)  // what is done without measuring
          EXPECT_EQ(std::memcmp(got[i].data(), usual[i].data(), got[i].bytes()), 0) << where;
        else
          EXPECT_LT(relative_difference(got[i], usual[i]), 1e-2) << where;
      }
    }
  }
  return routes;
}

TEST(CudaTactics, EveryWayGivesTheSame) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  const WayCase cases[] = {{"bfloat16", {96, 32, 40}},
                           {"bfloat16", {96, 32, 40}, true},
                           {"bfloat16", {96, 32}, true, false, DataType::kFloat32},
                           {"bfloat16", {64}, true},
                           {"int4 group 32 scale float16 offset 8", {96, 32, 40}, true},
                           {"int8 group row scale float32", {96, 32, 40}},
                           {"int8 group row scale float32", {88}, true}};
  for (const WayCase& c : cases)
    for (const std::int64_t rows : {1, 5, 16, 33, 60, 70}) {
      const Linear op{.segments = static_cast<int>(c.widths.size()), .has_bias = c.bias};
      auto routes = compare_ways(op, c, rows, DataType::kBFloat16);
      // Dequantizing rounds, and few rows are multiplied without it.
      const bool blas = c.form == "bfloat16" || rows > 48;
      EXPECT_EQ(routes[Route::kProducts] > 0, blas) << label_of(c);
      EXPECT_EQ(routes[Route::kJoined] > 0, blas && c.widths.size() > 1) << label_of(c);
      EXPECT_EQ(routes[Route::kStream] > 0, rows <= 64) << label_of(c);
      EXPECT_EQ(routes[Route::kWidening] > 0,
                test_features().hopper() && c.form != "bfloat16" && rows > 16)
          << label_of(c);
    }
}

TEST(CudaTactics, EveryWayOfGatesGivesTheSame) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  for (const std::int64_t rows : {1, 16, 60}) {
    const GatedLinear gated{.kind = ActivationKind::kSilu};
    for (const char* form : {"bfloat16", "int8 group row scale float32"})
      EXPECT_EQ(compare_ways(gated, {form, {88, 88}, false, true}, rows,
                             DataType::kBFloat16)[Route::kProducts] > 0,
                std::string(form) == "bfloat16" || rows > 48);
  }
}

// Two kernels: with scales in the products, which has sums for one of its ways, and with sums
// alone.
TEST(CudaTactics, EveryWayOfFloat8InputsGivesTheSame) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  if (test_features().capability < 89) GTEST_SKIP() << "NOT TESTED: no fp8 products";
  const bool scaled = test_features().scaled_missing.empty();
  const char* const row_scales = "float8_e4m3 group row scale float32";
  struct Ways {
    WayCase c;
    bool apart = true;
    bool joined = false;
  };
  const Ways cases[] = {
      {{row_scales, {88, 88}, false, true}},
      {{row_scales, {88, 88}, true, true}},
      {{"float8_e4m3", {88, 88}, false, true}},
      {{row_scales, {80}, false, false, DataType::kFloat32}},
      {{row_scales, {80}, true}},
      {{"float8_e4m3", {80}, true, false, DataType::kFloat32}},
      {{row_scales, {96, 32, 48}}, true, true},
      {{row_scales, {96, 32, 48}, true}, true, true},
      {{"float8_e4m3", {96, 32, 48}, true, false, DataType::kFloat32}, true, true},
      {{row_scales, {96, 24, 40}, true}, false, true}};
  for (const Ways& ways : cases)
    for (const std::int64_t rows : {1, 16, 17, 60}) {
      const Linear linear{.segments = static_cast<int>(ways.c.widths.size()),
                          .has_bias = ways.c.bias};
      const GatedLinear gated{.kind = ActivationKind::kSilu, .has_bias = ways.c.bias};
      auto routes = ways.c.gated ? compare_ways(gated, ways.c, rows, DataType::kFloat8E4M3)
                                 : compare_ways(linear, ways.c, rows, DataType::kFloat8E4M3);
      EXPECT_EQ(routes[Route::kProducts] > 0, scaled && ways.apart) << label_of(ways.c);
      EXPECT_EQ(routes[Route::kJoined] > 0, scaled && ways.joined) << label_of(ways.c);
      EXPECT_GT(routes[Route::kSums], scaled ? 1 : 0) << label_of(ways.c);
      EXPECT_EQ(routes[Route::kStream], rows > 16 ? 0 : scaled ? 2 : 1) << label_of(ways.c);
    }
}

// ids → rows of a table → Q, K, V.
ProgramDescription small_program() {
  constexpr std::int64_t kWidth = 64;
  ProgramDescription program;
  program.name = "small";
  const auto of_width = [](std::int64_t width) {
    return ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, width});
  };
  program.limits = {.tokens = 24, .sequences = 2, .logit_rows = 2};
  std::int64_t offset = 0;
  const auto value = [&](const std::string& name, std::int64_t width) {
    program.values.push_back({name, of_width(width), offset});
    offset += (program.limits.tokens * width * 4 + 63) / 64 * 64;
  };
  program.values.push_back(
      {"token_ids", ValueType::tensor(DataType::kInt32, {Symbol::kTokens}), -1});
  program.inputs = {0};
  value("x", kWidth);
  value("q", 48);
  value("k", 16);
  value("v", 16);
  program.arena_bytes = offset;
  const QuantSpec spec = QuantSpec::floating(DataType::kBFloat16);
  program.weights = {{"table", {32, kWidth}, spec},
                     {"wq", {48, kWidth}, spec},
                     {"wk", {16, kWidth}, spec},
                     {"wv", {16, kWidth}, spec}};
  program.nodes = {{Embedding{}, {0}, {1}, {0}},
                   {Linear{.segments = 3}, {1}, {2, 3, 4}, {1, 2, 3}}};
  program.outputs = {2, 3, 4};
  program.slots = 2;
  program.policy.activation = DataType::kBFloat16;
  return program;
}

struct LoadedSmall {
  explicit LoadedSmall(const TacticOptions& tactics, bool deterministic = false)
      : backend(make_backend({.tactics = tactics})) {
    ProgramDescription program = small_program();
    program.policy.deterministic = deterministic;
    backend->plan(program, ledger, "rank 0");
    const auto weight = [](const WeightUse& use) {
      return RandomWeights(use.name.back()).weight(use.spec, use.shape[0], use.shape[1]);
    };
    executable = backend->load(program, weight, nullptr, ledger, "rank 0");
  }
  std::vector<Tensor> outputs(std::int32_t tokens) {
    Batch batch = make_batch({0}, {tokens});
    for (std::size_t i = 0; i < batch.token_ids.size(); ++i)
      batch.token_ids[i] = static_cast<std::int32_t>(i % 32);
    batch.logit_rows = {};
    batch.sample_row = {-1};
    executable->prepare(batch);
    executable->forward();
    std::vector<Tensor> out;
    for (const char* name : {"q", "k", "v"}) out.push_back(executable->read(name));
    return out;
  }
  Ledger ledger{"test"};
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Executable> executable;
};

TEST(CudaTactics, AFirstLoadMeasuresAndTheNextReads) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  const fs::path folder = fs::path(testing::TempDir()) / fmt::format("cuda_tactics_{}", ::getpid());
  fs::remove_all(folder);
  TacticOptions tactics{.mode = TacticMode::kAuto, .folders = {folder.string()}, .seconds = 60};
  LoadedSmall usual({});
  EXPECT_FALSE(fs::exists(folder));
  LoadedSmall fixed(tactics, /*deterministic=*/true);
  EXPECT_FALSE(fs::exists(folder));

  LoadedSmall measured(tactics);
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);
  const fs::file_time_type written = fs::last_write_time(files[0]);
  tactics.seconds = 0;  // what the file does not answer would be left
  LoadedSmall again(tactics);
  EXPECT_EQ(fs::last_write_time(files[0]), written);
  for (const std::int32_t tokens : {1, 3, 17, 24}) {
    const std::vector<Tensor> expected = usual.outputs(tokens);
    const std::vector<Tensor> first = measured.outputs(tokens);
    const std::vector<Tensor> second = again.outputs(tokens);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expect_close(first[i], expected[i], 2e-2F, "measured");
      EXPECT_EQ(std::memcmp(first[i].data(), second[i].data(), first[i].bytes()), 0) << tokens;
    }
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tenon::cuda
