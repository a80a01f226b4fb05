// The CUDA backend end to end: a transformer layer of fused ops, run by the CPU's backend and by
// this one through the same interface, in steps cut in different ways.
// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <csignal>

#include "backends/cpu/cpu_backend.h"
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kVocabulary = 96;
constexpr std::int64_t kWidth = 64;  // 4 heads of 16, 2 of them key-value heads
constexpr std::int64_t kInner = 128;
constexpr std::int64_t kBlock = 16;
constexpr std::int64_t kBlocks = 12;  // of each slot

class ProgramBuilder {
 public:
  explicit ProgramBuilder(const QuantSpec& spec) : spec_(spec) {
    program.name = "decoder";
    program.limits = {.tokens = 96, .sequences = 5, .logit_rows = 96};
    program.slots = 5;
    program.sequence_length = kBlocks * kBlock;
    program.cache = {{.layers = {0},
                      .kv_heads = 2,
                      .head_dim = 16,
                      .tokens_per_block = kBlock,
                      .blocks = 5 * kBlocks}};
  }
  ProgramDescription program;

  int input(const std::string& name, Symbol rows) {
    program.inputs.push_back(value(name, ValueType::tensor(DataType::kInt32, {rows}), false));
    return program.inputs.back();
  }
  int vector(const std::string& name, std::int64_t width) {
    return weight(name, {width}, QuantSpec{});
  }
  int matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return weight(name, {rows, columns}, spec_);
  }
  std::vector<int> node(const std::string& name, Op op, std::vector<int> inputs,
                        std::vector<int> weights = {}) {
    std::vector<ValueType> types;
    std::vector<Shape> shapes;
    for (const int i : inputs) types.push_back(program.values[static_cast<std::size_t>(i)].type);
    for (const int w : weights)
      shapes.push_back(program.weights[static_cast<std::size_t>(w)].shape);
    ProgramNode out{op, std::move(inputs), {}, std::move(weights)};
    for (const ValueType& type : infer_output_types(op, types, shapes))
      out.outputs.push_back(value(name, type, true));
    program.nodes.push_back(out);
    return out.outputs;
  }

 private:
  int value(const std::string& name, const ValueType& type, bool placed) {
    ProgramValue out{name, type};
    if (placed && type.kind == ValueKind::kTensor) {
      out.offset = program.arena_bytes;
      program.arena_bytes += (program.limits.elements(type) * 4 + 63) / 64 * 64;
    }
    program.values.push_back(out);
    return static_cast<int>(program.values.size()) - 1;
  }
  int weight(const std::string& name, Shape shape, const QuantSpec& spec) {
    program.weights.push_back({name, std::move(shape), spec});
    return static_cast<int>(program.weights.size()) - 1;
  }
  QuantSpec spec_;
};

ProgramDescription layer_program(const KernelPolicy& policy = {},
                                 DataType weights = DataType::kFloat32,
                                 DataType cache = DataType::kFloat32) {
  ProgramBuilder b(QuantSpec::floating(weights));
  b.program.policy = policy;
  b.program.cache[0].dtype = cache;
  const int tokens = b.input("token_ids", Symbol::kTokens);
  const int positions = b.input("positions", Symbol::kTokens);
  const int rows = b.input("logit_rows", Symbol::kLogitRows);
  const int table = b.matrix("embedding", kVocabulary, kWidth);
  const int x = b.node("x", Embedding{}, {tokens}, {table})[0];
  const int normed = b.node("normed", Norm{}, {x}, {b.vector("norm", kWidth)})[0];
  const auto qkv =
      b.node("qkv", Linear{.segments = 3}, {normed},
             {b.matrix("q", 64, kWidth), b.matrix("k", 32, kWidth), b.matrix("v", 32, kWidth)});
  RopeCacheWrite write;
  write.rope = {.heads = 4, .head_dim = 16, .rotary_dim = 16};
  for (int i = 0; i < 8; ++i)
    write.rope.inv_freq.push_back(std::pow(10.F, -0.5F * static_cast<float>(i)));
  write.write = {.kv_heads = 2, .head_dim = 16};
  const auto written = b.node("rotated", write, {qkv[0], qkv[1], qkv[2], positions});
  const int attended =
      b.node("attended", Attention{.heads = 4, .kv_heads = 2, .head_dim = 16, .scale = 0.25F},
             {written[0], written[1]})[0];
  const int o = b.node("o", Linear{}, {attended}, {b.matrix("o", kWidth, 64)})[0];
  const auto sum = b.node("sum", AddNorm{}, {x, o}, {b.vector("norm2", kWidth)});
  const int inner = b.node("inner", GatedLinear{}, {sum[1]},
                           {b.matrix("gate", kInner, kWidth), b.matrix("up", kInner, kWidth)})[0];
  const int down = b.node("down", Linear{}, {inner}, {b.matrix("down", kWidth, kInner)})[0];
  const int last = b.node("last", Add{}, {sum[0], down})[0];
  const int wanted = b.node("wanted", GatherRows{}, {last, rows})[0];
  const int logits = b.node("logits", Linear{}, {wanted}, {table})[0];
  b.program.outputs = {logits, last};
  return b.program;
}

QuantizedTensor weight_of(const WeightUse& use) {
  unsigned seed = 1;
  for (const char c : use.name) seed = seed * 31 + static_cast<unsigned char>(c);
  const Tensor floats = random_tensor(use.shape, seed, use.shape.size() == 1 ? 1.F : 0.2F);
  Tensor out(use.spec.float_type, use.shape);
  convert_from_float(use.spec.float_type, floats.view().as<float>(), out.mutable_data(),
                     static_cast<std::size_t>(floats.view().elements()));
  return QuantizedTensor::from(out);
}

struct Loaded {
  Loaded(const ProgramDescription& program, bool gpu)
      : backend(gpu ? make_backend({}) : cpu::make_backend({.threads = 2, .pin = false})) {
    backend->plan(program, ledger, "rank 0");
    executable = backend->load(program, weight_of, nullptr, ledger, "rank 0");
  }
  Ledger ledger{"test"};
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Executable> executable;
};

SlotUpdate start_slot(std::int32_t slot, const SamplingParams& params = {.temperature = 0.F}) {
  SlotUpdate update{.slot = slot, .reset = true};
  BlockTableChange change;
  for (std::int32_t i = 0; i < kBlocks; ++i)
    change.blocks.push_back(slot * static_cast<std::int32_t>(kBlocks) + (i * 7) % kBlocks);
  update.tables.push_back(change);
  update.sampling = params;
  return update;
}

struct Rows {
  std::int32_t slot = 0;
  std::int32_t cached = 0;
  std::vector<std::int32_t> tokens;
};

Batch batch_of(const std::vector<Rows>& rows, std::vector<SlotUpdate> updates = {},
               bool all_logits = false) {
  Batch batch;
  batch.updates = std::move(updates);
  batch.token_begin = {0};
  for (const Rows& r : rows) {
    batch.slots.push_back(r.slot);
    batch.cached_tokens.push_back(r.cached);
    const auto count = static_cast<std::int32_t>(r.tokens.size());
    batch.sequence_length.push_back(r.cached + count);
    for (std::int32_t i = 0; i < count; ++i) {
      batch.token_ids.push_back(r.tokens[static_cast<std::size_t>(i)]);
      batch.positions.push_back(r.cached + i);
      if (all_logits || i + 1 == count) batch.logit_rows.push_back(batch.token_begin.back() + i);
    }
    batch.token_begin.push_back(batch.token_begin.back() + count);
    batch.sample_row.push_back(static_cast<std::int32_t>(batch.logit_rows.size()) - 1);
  }
  return batch;
}

StepResult step(Executable& executable, const Batch& batch, const LateInputs& late = {}) {
  executable.prepare(batch);
  executable.forward();
  return executable.sample(late)->wait();
}

std::vector<float> logits_of(Executable& executable) {
  const Tensor t = executable.read("logits");
  return {t.view().as<float>(), t.view().as<float>() + t.view().elements()};
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  float largest = 0.F;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float difference = std::fabs(a[i] - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

// ‖a - b‖ / ‖b‖
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double error = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::isnan(error) ? INFINITY : std::sqrt(error / norm);
}

std::vector<std::int32_t> prompt_of(int length, std::int32_t salt) {
  std::vector<std::int32_t> out;
  for (int i = 0; i < length; ++i)
    out.push_back((i * 37 + salt * 11 + i * i) % static_cast<std::int32_t>(kVocabulary));
  return out;
}

TEST(CudaBackend, GivesTheLogitsOfTheCpu) {
  TENON_NEEDS_GPU();
  const auto f32 = DataType::kFloat32;
  const auto bf16 = DataType::kBFloat16;
  struct Case {
    DataType weights, activation, cache;
    double tolerance;
  };
  for (const Case& c :
       {Case{f32, f32, f32, 1e-5}, Case{bf16, f32, f32, 1e-5}, Case{bf16, bf16, f32, 6e-3},
        Case{bf16, bf16, bf16, 8e-3}, Case{DataType::kFloat16, bf16, DataType::kFloat16, 1e-3},
        Case{f32, f32, DataType::kInt8, 2e-2}}) {
    Loaded cpu(layer_program({}, c.weights), false);
    Loaded gpu(layer_program({.activation = c.activation}, c.weights, c.cache), true);
    const Batch batch = batch_of({{1, 0, prompt_of(5, 3)}, {3, 0, prompt_of(60, 4)}},
                                 {start_slot(1), start_slot(3)}, true);
    step(*cpu.executable, batch);
    step(*gpu.executable, batch);
    EXPECT_LE(relative_difference(logits_of(*gpu.executable), logits_of(*cpu.executable)),
              c.tolerance)
        << to_string(c.weights) << " " << to_string(c.activation) << " " << to_string(c.cache);
    const Tensor a = gpu.executable->read("last");
    const Tensor b = cpu.executable->read("last");
    EXPECT_EQ(a.shape(), b.shape());
  }
}

// Decodes alone, chunks between them, batches of every size: recorded steps and others.
TEST(CudaBackend, GivesTheTokensOfTheCpu) {
  TENON_NEEDS_GPU();
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 0.F},
        SamplingParams{.temperature = 0.8F, .top_p = 0.9F, .frequency_penalty = 0.3F, .seed = 5}}) {
    Loaded cpu(layer_program(), false);
    Loaded gpu(layer_program(), true);
    std::vector<std::int32_t> cached(5, 0);
    for (int round = 0; round < 24; ++round) {
      std::vector<Rows> rows;
      std::vector<SlotUpdate> updates;
      const int running = round < 10 ? 1 + round / 3 : 5;
      for (std::int32_t slot = 0; slot < running; ++slot) {
        const auto at = static_cast<std::size_t>(slot);
        if (cached[at] == 0) {
          updates.push_back(start_slot(slot, params));
          updates.back().history = prompt_of(9 + slot, slot);
          rows.push_back({slot, 0, updates.back().history});
        } else {
          rows.push_back({slot, cached[at], {kLastSampledToken}});
        }
        cached[at] += static_cast<std::int32_t>(rows.back().tokens.size());
      }
      std::stable_sort(rows.begin(), rows.end(), [](const Rows& a, const Rows& b) {
        return a.tokens.size() < b.tokens.size();
      });
      const Batch batch = batch_of(rows, updates);
      const StepResult expected = step(*cpu.executable, batch);
      const StepResult got = step(*gpu.executable, batch);
      for (std::size_t s = 0; s < rows.size(); ++s)
        ASSERT_EQ(got.sequences[s].tokens, expected.sequences[s].tokens) << "round " << round;
    }
  }
}

TEST(CudaBackend, DeterministicStepsDoNotDependOnTheBatch) {
  TENON_NEEDS_GPU();
  const KernelPolicy policy{.deterministic = true};
  Loaded alone(layer_program(policy, DataType::kBFloat16), true);
  step(*alone.executable, batch_of({{0, 0, prompt_of(40, 1)}}, {start_slot(0)}, true));
  const auto expected = logits_of(*alone.executable);
  Loaded parts(layer_program(policy, DataType::kBFloat16), true);
  std::vector<float> got;
  std::int32_t done = 0;
  const auto whole = prompt_of(40, 1);
  for (const std::int32_t size : {1, 12, 1, 26}) {
    const std::vector<std::int32_t> chunk(whole.begin() + done, whole.begin() + done + size);
    std::vector<Rows> rows = {{0, done, chunk}};
    std::vector<SlotUpdate> updates;
    if (done == 0) updates.push_back(start_slot(0));
    if (size == 12) {
      updates.push_back(start_slot(2));
      rows.push_back({2, 0, prompt_of(50, 9)});
    }
    step(*parts.executable, batch_of(rows, updates, true));
    const auto more = logits_of(*parts.executable);
    got.insert(got.end(), more.begin(), more.begin() + size * kVocabulary);
    done += size;
  }
  EXPECT_EQ(got, expected);
}

TEST(CudaBackend, CopiesAndSwapsBlocks) {
  TENON_NEEDS_GPU();
  ProgramDescription program = layer_program({}, DataType::kFloat32, DataType::kInt8);
  program.cache[0].host_blocks = 4;
  program.cache[0].disk_blocks = 3;  // 4 to 6
  program.swap_directory = testing::TempDir();
  Loaded gpu(program, true);
  const SlotUpdate first = start_slot(0);
  step(*gpu.executable, batch_of({{0, 0, prompt_of(20, 1)}}, {first}));
  step(*gpu.executable, batch_of({{0, 20, {9}}}));
  const auto expected = logits_of(*gpu.executable);
  const auto& blocks = first.tables[0].blocks;
  SlotUpdate second = start_slot(1);
  second.tables[0].blocks[0] = blocks[0];  // a full block is shared
  Batch fork = batch_of({{1, 20, {9}}}, {second});
  using Kind = CacheCommand::Kind;
  fork.commands = {
      {.kind = Kind::kSwapOut, .source = blocks[1], .destination = 2},
      {.kind = Kind::kMoveSwapped, .source = 2, .destination = 3},
      {.kind = Kind::kSwapIn, .source = 3, .destination = 59},
      {.kind = Kind::kCopyBlock, .source = 59, .destination = second.tables[0].blocks[1]}};
  step(*gpu.executable, fork);
  EXPECT_LE(largest_difference(logits_of(*gpu.executable), expected), 1e-6F);

  // From memory to file, to file, to memory; straight to file and back, with another between.
  SlotUpdate third = start_slot(2);
  third.tables[0].blocks[0] = blocks[0];
  Batch through_file = batch_of({{2, 20, {9}}}, {third});
  through_file.commands = {
      {.kind = Kind::kMoveSwapped, .source = 3, .destination = 6},
      {.kind = Kind::kMoveSwapped, .source = 6, .destination = 4},
      {.kind = Kind::kMoveSwapped, .source = 4, .destination = 0},
      {.kind = Kind::kSwapIn, .source = 0, .destination = 58},
      {.kind = Kind::kSwapOut, .source = 58, .destination = 5},
      {.kind = Kind::kSwapOut, .source = blocks[0], .destination = 6},
      {.kind = Kind::kSwapIn, .source = 5, .destination = third.tables[0].blocks[1]}};
  step(*gpu.executable, through_file);
  EXPECT_LE(largest_difference(logits_of(*gpu.executable), expected), 1e-6F);
}

// The stream finds it out; whoever waits for the step hears of it, and of that step alone.
TEST(CudaBackend, AFileThatTakesNoMoreFailsItsStep) {
  TENON_NEEDS_GPU();
  ProgramDescription program = layer_program();
  program.cache[0].disk_blocks = 1;
  program.swap_directory = testing::TempDir();
  Loaded gpu(program, true);
  const SlotUpdate first = start_slot(0);
  Batch batch = batch_of({{0, 0, prompt_of(20, 1)}}, {first});
  const Batch plain = batch;
  batch.commands = {{.kind = CacheCommand::Kind::kSwapOut,
                     .source = first.tables[0].blocks[1],
                     .destination = 0}};
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit nothing{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &nothing), 0);
  try {
    step(*gpu.executable, batch);
    ADD_FAILURE() << "a block that was not written is no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(step(*gpu.executable, plain).sequences.size(), 1U);
}

TEST(CudaBackend, AWatchedStepWaitsForEachOpAndGivesTheSame) {
  TENON_NEEDS_GPU();
  Loaded plain(layer_program(), true);
  Loaded watched(layer_program(), true);
  Batch batch = batch_of({{0, 0, prompt_of(20, 1)}}, {start_slot(0)});
  for (int i = 0; i < 4; ++i) {
    const StepResult expected = step(*plain.executable, batch);
    batch.watched = true;
    const std::int64_t waits = runtime_calls().waits;
    EXPECT_EQ(step(*watched.executable, batch).sequences[0].tokens, expected.sequences[0].tokens);
    EXPECT_GT(runtime_calls().waits - waits, 10) << "one a node";
    EXPECT_EQ(logits_of(*watched.executable), logits_of(*plain.executable));
    batch = batch_of({{0, 20 + i, {kLastSampledToken}}});
  }
}

TEST(CudaBackend, PlanIsWhatLoadDraws) {
  TENON_NEEDS_GPU();
  Loaded gpu(layer_program({.activation = DataType::kBFloat16}, DataType::kBFloat16), true);
  for (const Ledger::Row& row : gpu.ledger.rows()) EXPECT_EQ(row.planned, row.drawn) << row.name;
  gpu.executable.reset();
  EXPECT_EQ(gpu.ledger.drawn(), 0);
}

TEST(CudaBackend, LateInputsReachTheSampler) {
  TENON_NEEDS_GPU();
  Loaded gpu(layer_program(), true);
  const Batch batch =
      batch_of({{0, 0, prompt_of(7, 1)}, {1, 0, prompt_of(7, 1)}}, {start_slot(0), start_slot(1)});
  const StepResult own = step(*gpu.executable, batch);
  EXPECT_EQ(own.sequences[0].tokens, own.sequences[1].tokens);
  LateInputs late;
  late.allowed_tokens = {{1U << 11, 0}, {}};
  late.logits.resize(2);
  late.logits[1].assign(kVocabulary, 0.F);
  late.logits[1][20] = 4.F;
  const StepResult given = step(*gpu.executable, batch, late);
  EXPECT_EQ(given.sequences[0].tokens, std::vector<std::int32_t>{11});
  EXPECT_EQ(given.sequences[1].tokens, std::vector<std::int32_t>{20});
}

TEST(CudaBackend, AStepThatIsRefusedLosesNoUpdate) {
  TENON_NEEDS_GPU();
  Loaded cpu(layer_program(), false);
  Loaded gpu(layer_program(), true);
  SlotUpdate update = start_slot(0, {.temperature = 0.F, .frequency_penalty = 5.F});
  update.history = prompt_of(7, 1);
  // A place that the table does not reach.
  const Batch refused = batch_of({{0, kBlocks * kBlock, {1}}}, {update});
  EXPECT_THROW(cpu.executable->prepare(refused), Error);
  EXPECT_THROW(gpu.executable->prepare(refused), Error);
  const Batch batch = batch_of({{0, 0, prompt_of(7, 1)}});
  EXPECT_EQ(step(*gpu.executable, batch).sequences[0].tokens,
            step(*cpu.executable, batch).sequences[0].tokens);
  // What cannot be sampled is refused before anything changes, and the slot goes on.
  SlotUpdate late{.slot = 0};
  late.sampling = SamplingParams{.no_repeat_ngram_size = 2};
  EXPECT_THROW(gpu.executable->prepare(batch_of({{0, 7, {kLastSampledToken}}}, {late})), Error);
  const Batch next = batch_of({{0, 7, {kLastSampledToken}}});
  EXPECT_EQ(step(*gpu.executable, next).sequences[0].tokens,
            step(*cpu.executable, next).sequences[0].tokens);
}

// Beams' parents are read as the batch before left them, though that batch's step was refused.
TEST(CudaBackend, UpdatesOfARefusedStepComeFirst) {
  TENON_NEEDS_GPU();
  Loaded cpu(layer_program(), false);
  Loaded gpu(layer_program(), true);
  SlotUpdate parent = start_slot(0, {.temperature = 0.F, .frequency_penalty = 5.F});
  parent.history = prompt_of(7, 1);
  parent.outputs = {3, 4, 5};
  SlotUpdate child = start_slot(1, {.temperature = 0.F, .frequency_penalty = 5.F});
  const Batch refused = batch_of({{0, kBlocks * kBlock, {1}}}, {parent, child});
  EXPECT_THROW(cpu.executable->prepare(refused), Error);
  EXPECT_THROW(gpu.executable->prepare(refused), Error);
  SlotUpdate follow{.slot = 1};
  follow.parent = 0;
  follow.outputs = {6};
  SlotUpdate anew = start_slot(0);
  const Batch first = batch_of({{1, 0, prompt_of(7, 1)}}, {anew, follow});
  const Batch second = batch_of({{1, 7, {kLastSampledToken}}});
  for (const Batch& batch : {first, second})
    EXPECT_EQ(step(*gpu.executable, batch).sequences[0].tokens,
              step(*cpu.executable, batch).sequences[0].tokens);
}

TEST(CudaBackend, ADecodeStepTakesNoMemoryAndWaitsOnce) {
  TENON_NEEDS_GPU();
  Loaded gpu(layer_program(), true);
  const SamplingParams params{.top_p = 0.9F,
                              .repetition_penalty = 1.2F,
                              .logit_bias = {{3, 1.F}},
                              .no_repeat_ngram_size = 3,
                              .bad_words = {{1, 2}},
                              .seed = 4,
                              .logprobs = 5};
  std::vector<SlotUpdate> updates;
  std::vector<Rows> prompts;
  std::vector<Rows> decodes;
  for (std::int32_t slot = 0; slot < 3; ++slot) {
    updates.push_back(start_slot(slot, params));
    updates.back().history = prompt_of(6, slot);
    prompts.push_back({slot, 0, updates.back().history});
    decodes.push_back({slot, 6, {kLastSampledToken}});
  }
  step(*gpu.executable, batch_of(prompts, updates));
  LateInputs late;
  late.allowed_tokens = {{~0U, ~0U, ~0U}, {}, {}};
  for (int i = 0; i < 20; ++i) {
    const RuntimeCalls before = runtime_calls();
    step(*gpu.executable, batch_of(decodes), late);
    const RuntimeCalls after = runtime_calls();
    for (Rows& row : decodes) ++row.cached;
    if (i < 6) continue;  // uploads have grown, the step has been recorded
    EXPECT_EQ(after.allocations, before.allocations) << "step " << i;
    EXPECT_LE(after.waits, before.waits + 1) << "step " << i;
  }
}

TEST(CudaBackend, RefusesStepsThatWereNotPlanned) {
  TENON_NEEDS_GPU();
  Loaded gpu(layer_program(), true);
  EXPECT_THROW(gpu.executable->prepare(batch_of({{0, 0, prompt_of(97, 1)}}, {start_slot(0)})),
               Error);
  EXPECT_THROW(gpu.executable->prepare(batch_of({{4, 0, {1}}})), Error);
  step(*gpu.executable, batch_of({{0, 0, prompt_of(7, 1)}}, {start_slot(0)}));
  EXPECT_THROW(gpu.executable->read("nothing"), Error);
}

}  // namespace
}  // namespace tenon::cuda
