// The CPU backend end to end on a program made by hand: a transformer layer with a paged cache, its
// steps cut in different ways, slots, sampling, memory, kernel choice, errors.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_backend.h"

#include <gmock/gmock.h>

#include "op_harness.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kVocabulary = 50;
constexpr std::int64_t kWidth = 24;  // 4 heads of 6, 2 of them key-value heads
constexpr std::int64_t kBlock = 4;

class ProgramBuilder {
 public:
  ProgramDescription program{
      .name = "decoder",
      .limits = {.tokens = 64, .sequences = 4, .logit_rows = 64},
      .slots = 4,
      .cache = {
          {.layers = {0}, .kv_heads = 2, .head_dim = 6, .tokens_per_block = kBlock, .blocks = 40}}};

  int value(const std::string& name, ValueType type, bool input = false) {
    ProgramValue out{name, type};
    if (!input && type.kind == ValueKind::kTensor) {
      out.offset = program.arena_bytes;
      const std::int64_t bytes = program.limits.elements(type) * 4;
      program.arena_bytes += (bytes + 63) / 64 * 64;
    }
    program.values.push_back(out);
    if (input) program.inputs.push_back(static_cast<int>(program.values.size()) - 1);
    return static_cast<int>(program.values.size()) - 1;
  }
  int weight(const std::string& name, Shape shape) {
    program.weights.push_back({name, std::move(shape), QuantSpec{}});
    return static_cast<int>(program.weights.size()) - 1;
  }
  int node(const std::string& name, Op op, std::vector<int> inputs, std::vector<int> weights = {}) {
    std::vector<ValueType> types;
    std::vector<Shape> shapes;
    for (const int i : inputs) types.push_back(program.values[static_cast<std::size_t>(i)].type);
    for (const int w : weights)
      shapes.push_back(program.weights[static_cast<std::size_t>(w)].shape);
    ProgramNode node{op, inputs, {}, weights};
    for (const ValueType& type : infer_output_types(op, types, shapes))
      node.outputs.push_back(value(name, type));
    program.nodes.push_back(node);
    return node.outputs.back();
  }
};

ValueType ids(Symbol symbol) { return ValueType::tensor(DataType::kInt32, {symbol}); }

ProgramDescription tiny_program(const KernelPolicy& policy = {},
                                DataType cache = DataType::kFloat32) {
  ProgramBuilder b;
  b.program.policy = policy;
  b.program.cache[0].dtype = cache;
  const int tokens = b.value("token_ids", ids(Symbol::kTokens), true);
  const int positions = b.value("positions", ids(Symbol::kTokens), true);
  const int rows = b.value("logit_rows", ids(Symbol::kLogitRows), true);
  const int table = b.weight("embedding", {kVocabulary, kWidth});
  const int x = b.node("x", Embedding{}, {tokens}, {table});
  const int normed = b.node("normed", Norm{}, {x}, {b.weight("norm", {kWidth})});
  const auto linear = [&](const std::string& name, int in, std::int64_t out) {
    return b.node(name, Linear{}, {in}, {b.weight(name, {out, kWidth})});
  };
  const int q = linear("q", normed, 24);
  const int k = linear("k", normed, 12);
  const int v = linear("v", normed, 12);
  Rope rope{.heads = 4, .head_dim = 6, .rotary_dim = 6, .inv_freq = {1.F, 0.1F, 0.01F}};
  const int written =
      b.node("cache", RopeCacheWrite{rope, {.kv_heads = 2, .head_dim = 6}}, {q, k, v, positions});
  const int rotated = b.program.nodes.back().outputs[0];
  const int attended =
      b.node("attended", Attention{.heads = 4, .kv_heads = 2, .head_dim = 6, .scale = 0.4F},
             {rotated, written});
  const int sum = b.node("sum", Add{}, {x, linear("o", attended, kWidth)});
  const int wanted = b.node("wanted", GatherRows{}, {sum, rows});
  const int logits = b.node("logits", Linear{}, {wanted}, {table});
  b.program.outputs = {logits, sum};
  return b.program;
}

QuantizedTensor weight_of(const WeightUse& use) {
  unsigned seed = 1;
  for (const char c : use.name) seed = seed * 31 + static_cast<unsigned char>(c);
  return QuantizedTensor::from(random_tensor(use.shape, seed, 0.5F));
}

struct Loaded {
  explicit Loaded(const ProgramDescription& program, int threads = 2)
      : backend(make_backend({.threads = threads, .pin = false})) {
    backend->plan(program, ledger, "rank 0");
    planned = ledger.planned();
    executable = backend->load(
        program,
        [this](const WeightUse& use) {
          asked.push_back(use.name);
          return weight_of(use);
        },
        nullptr, ledger, "rank 0");
  }
  Ledger ledger{"cpu"};
  std::int64_t planned = 0;
  std::vector<std::string> asked;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Executable> executable;
};

SlotUpdate start_slot(std::int32_t slot, const SamplingParams& params = {.temperature = 0.F}) {
  SlotUpdate update{.slot = slot, .reset = true};
  BlockTableChange change;
  for (std::int32_t i = 0; i < 10; ++i) change.blocks.push_back(slot * 10 + (i * 7) % 10);
  update.tables.push_back(change);
  update.sampling = params;
  return update;
}

// One sequence's part of a step.
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
    batch.sample_row.push_back(count > 0 ? static_cast<std::int32_t>(batch.logit_rows.size()) - 1
                                         : -1);
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

const std::vector<std::int32_t> kPrompt = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};

TEST(CpuBackend, ChunksAndStepsEqualOneShot) {
  for (const DataType cache : {DataType::kFloat32, DataType::kFloat16, DataType::kInt8})
    for (const char* isa : {"", "avx512", "avx2", "baseline"}) {
      const auto program = tiny_program({.max_isa = isa}, cache);
      Loaded whole(program);
      step(*whole.executable, batch_of({{0, 0, kPrompt}}, {start_slot(0)}, true));
      const auto expected = logits_of(*whole.executable);
      Loaded parts(program);
      std::vector<float> got;
      std::int32_t done = 0;
      for (const std::int32_t size : {1, 5, 1, 3, 5}) {
        const std::vector<std::int32_t> tokens(kPrompt.begin() + done,
                                               kPrompt.begin() + done + size);
        step(*parts.executable, batch_of({{0, done, tokens}},
                                         done == 0 ? std::vector<SlotUpdate>{start_slot(0)}
                                                   : std::vector<SlotUpdate>{},
                                         true));
        const auto more = logits_of(*parts.executable);
        got.insert(got.end(), more.begin(), more.end());
        done += size;
      }
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 2e-4) << isa;
    }
}

TEST(CpuBackend, IsaLevelsAgree) {
  Loaded baseline(tiny_program({.max_isa = "baseline"}));
  step(*baseline.executable, batch_of({{0, 0, kPrompt}}, {start_slot(0)}, true));
  const auto expected = logits_of(*baseline.executable);
  for (const char* isa : {"avx2", "avx512", "amx", ""}) {
    Loaded other(tiny_program({.max_isa = isa}));
    step(*other.executable, batch_of({{0, 0, kPrompt}}, {start_slot(0)}, true));
    const auto got = logits_of(*other.executable);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-4) << isa;
  }
}

// The device's own last token, and a batch whose other members come and go.
void expect_independence(const SamplingParams& random) {
  std::vector<std::int32_t> alone;
  {
    Loaded one(tiny_program({.deterministic = true}));
    StepResult result = step(*one.executable, batch_of({{2, 0, kPrompt}}, {start_slot(2, random)}));
    for (std::int32_t i = 0; i < 8; ++i) {
      ASSERT_EQ(result.sequences[0].tokens.size(), 1U);
      alone.push_back(result.sequences[0].tokens[0]);
      EXPECT_EQ(result.sequences[0].top_logprobs[0].size(), 3U);
      result = step(*one.executable, batch_of({{2, 15 + i, {kLastSampledToken}}}));
    }
  }
  Loaded many(tiny_program({.deterministic = true}), 3);
  std::vector<std::int32_t> together;
  const auto greedy = start_slot(1);
  Batch first = batch_of({{1, 0, {7, 8}}, {2, 0, kPrompt}}, {greedy, start_slot(2, random)});
  StepResult result = step(*many.executable, first);
  for (std::int32_t i = 0; i < 8; ++i) {
    together.push_back(result.sequences[1].tokens[0]);
    EXPECT_TRUE(result.sequences[0].logprobs.empty());
    std::vector<Rows> rows = {{1, 2 + i, {kLastSampledToken}}, {2, 15 + i, {kLastSampledToken}}};
    std::vector<SlotUpdate> updates;
    if (i == 3) updates.push_back(start_slot(0));
    if (i == 3) rows.push_back({0, 0, {1, 2, 3, 4, 5}});
    result = step(*many.executable, batch_of(rows, updates));
  }
  EXPECT_EQ(together, alone);
}

TEST(CpuBackend, SequencesDoNotDependOnEachOther) {
  expect_independence({.temperature = 1.2F, .seed = 99, .logprobs = 3});
  expect_independence({.temperature = 1.5F,
                       .top_p = 0.98F,
                       .top_p_decay = 0.97F,
                       .typical_p = 0.9F,
                       .repetition_penalty = 1.2F,
                       .logit_bias = {{3, 1.F}},
                       .no_repeat_ngram_size = 2,
                       .bad_words = {{1}, {2, 3}},
                       .seed = 7,
                       .logprobs = 3});
}

TEST(CpuBackend, HistoryCountsForPenaltiesAndMinimum) {
  Loaded loaded(tiny_program());
  SlotUpdate update = start_slot(0);
  const std::int32_t likeliest =
      step(*loaded.executable, batch_of({{0, 0, kPrompt}}, {update})).sequences[0].tokens[0];
  update.sampling->repetition_penalty = 1e6F;
  update.history = {likeliest};
  EXPECT_NE(step(*loaded.executable, batch_of({{0, 0, kPrompt}}, {update})).sequences[0].tokens[0],
            likeliest);
  update.sampling->repetition_penalty = 1.F;
  update.sampling->min_tokens = 2;
  update.end_ids = {likeliest};
  EXPECT_NE(step(*loaded.executable, batch_of({{0, 0, kPrompt}}, {update})).sequences[0].tokens[0],
            likeliest);
  update.outputs = {1, 2};  // it was evicted after two tokens
  EXPECT_EQ(step(*loaded.executable, batch_of({{0, 0, kPrompt}}, {update})).sequences[0].tokens[0],
            likeliest);
  LateInputs late{{{1U << 11, 0}}};
  EXPECT_EQ(
      step(*loaded.executable, batch_of({{0, 0, kPrompt}}, {update}), late).sequences[0].tokens[0],
      11);
}

TEST(CpuBackend, LateLogitsReplaceTheRow) {
  Loaded loaded(tiny_program());
  const SamplingParams params{.temperature = 0.F, .repetition_penalty = 4.F, .logprobs = 0};
  SlotUpdate second = start_slot(1, params);
  second.history = {20};
  const Batch batch = batch_of({{0, 0, kPrompt}, {1, 0, kPrompt}}, {start_slot(0), second});
  const StepResult own = step(*loaded.executable, batch);
  LateInputs late;
  late.logits.resize(2);
  late.logits[1].assign(kVocabulary, 0.F);
  late.logits[1][20] = 4.F;  // after the penalty: 1
  late.logits[1][30] = 3.F;
  const StepResult given = step(*loaded.executable, batch, late);
  EXPECT_EQ(given.sequences[0].tokens, own.sequences[0].tokens);
  EXPECT_EQ(given.sequences[1].tokens, std::vector<std::int32_t>{30});
  EXPECT_NEAR(given.sequences[1].logprobs[0], 3.0 - std::log(48.0 + std::exp(4.0) + std::exp(3.0)),
              1e-5);
  late.logits[1].pop_back();
  EXPECT_THROW(step(*loaded.executable, batch, late), Error);
}

// A beam search that the test steers: beams swap their slots, and go on as if alone.
TEST(CpuBackend, BeamsContinueTheirParents) {
  Loaded loaded(tiny_program({.deterministic = true}));
  const SamplingParams params{.no_repeat_ngram_size = 3, .beam_width = 2};
  const auto candidates = [&](const SequenceResult& result) {
    EXPECT_TRUE(result.tokens.empty());
    EXPECT_EQ(result.top_logprobs.size(), 1U);
    return result.top_logprobs.at(0);
  };
  SlotUpdate first = start_slot(0, params);
  first.history = kPrompt;
  SlotUpdate other = start_slot(1, params);
  other.history = {7, 8};
  Batch batch = batch_of({{0, 0, kPrompt}, {1, 0, {7, 8}}}, {first, other});
  const auto begun = candidates(step(*loaded.executable, batch).sequences[0]);
  ASSERT_EQ(begun.size(), 4U);
  EXPECT_GT(begun[0].logprob, begun[1].logprob);

  SlotUpdate here{.slot = 0};
  here.parent = 1;
  here.outputs = {9};
  SlotUpdate there{.slot = 1};
  there.parent = 0;
  there.outputs = {begun[0].token};
  batch = batch_of({{0, 2, {kLastSampledToken}}, {1, 15, {kLastSampledToken}}}, {here, there});
  const StepResult swapped = step(*loaded.executable, batch);

  SlotUpdate again = start_slot(2, params);
  again.history = kPrompt;
  again.outputs = {begun[0].token};
  std::vector<std::int32_t> tokens = kPrompt;
  tokens.push_back(begun[0].token);
  const StepResult alone = step(*loaded.executable, batch_of({{2, 0, tokens}}, {again}));
  const auto expected = candidates(alone.sequences[0]);
  const auto got = candidates(swapped.sequences[1]);
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].token, expected[i].token);
    EXPECT_NEAR(got[i].logprob, expected[i].logprob, 1e-4);
  }
}

TEST(CpuBackend, CopiedBlocksContinueASequence) {
  Loaded loaded(tiny_program());
  const std::vector<std::int32_t> head(kPrompt.begin(), kPrompt.begin() + 6);
  const SlotUpdate first = start_slot(0);
  step(*loaded.executable, batch_of({{0, 0, head}}, {first}));
  step(*loaded.executable, batch_of({{0, 6, {9}}}));
  const auto expected = logits_of(*loaded.executable);
  SlotUpdate second = start_slot(1);
  second.tables[0].blocks[0] = first.tables[0].blocks[0];  // a full block is shared
  Batch fork = batch_of({{1, 6, {9}}}, {second});
  fork.commands = {
      {.source = first.tables[0].blocks[1], .destination = second.tables[0].blocks[1]}};
  step(*loaded.executable, fork);
  EXPECT_EQ(logits_of(*loaded.executable), expected);
}

TEST(CpuBackend, PlanIsWhatLoadDraws) {
  for (const char* isa : {"", "baseline"}) {
    ProgramDescription program = tiny_program({.max_isa = isa}, DataType::kInt8);
    program.cache[0].host_blocks = 3;
    Loaded loaded(program);
    std::int64_t host = 0;
    const std::vector<Ledger::Row> rows = loaded.ledger.rows();
    for (const Ledger::Row& row : rows) {
      EXPECT_EQ(row.planned, row.drawn) << row.name;
      if (row.kind == MemoryKind::kHost) host += row.drawn;
    }
    EXPECT_EQ(host, PagedCache::swapped_bytes(program.cache));
    EXPECT_GT(host, 0);
    EXPECT_EQ(loaded.ledger.drawn(), loaded.planned);
    loaded.executable.reset();
    EXPECT_EQ(loaded.ledger.drawn(), 0);
  }
}

TEST(CpuBackend, AsksForEachWeightOnce) {
  Loaded loaded(tiny_program());
  std::sort(loaded.asked.begin(), loaded.asked.end());
  EXPECT_EQ(std::adjacent_find(loaded.asked.begin(), loaded.asked.end()), loaded.asked.end());
  EXPECT_EQ(loaded.asked.size(), 6U);
}

TEST(CpuBackend, ChoosesByPolicy) {
  const auto backend = make_backend({.threads = 1});
  const auto program = tiny_program({.deterministic = true, .max_isa = "baseline"});
  for (const ProgramNode& node : program.nodes) {
    const KernelChoice choice = backend->choose(program, node);
    EXPECT_FALSE(choice.kernel.empty());
    EXPECT_EQ(choice.activation, DataType::kFloat32);
    EXPECT_TRUE(choice.row_invariant);
    for (const auto& [kernel, reason] : choice.rejected) EXPECT_FALSE(reason.empty()) << kernel;
  }
  const KernelChoice norm = backend->choose(program, program.nodes[1]);
  EXPECT_EQ(norm.kernel, "norm_ref");
  ASSERT_EQ(norm.rejected.size(), 2U);
  EXPECT_EQ(norm.rejected[1].second, "needs avx2; at hand: baseline");
  EXPECT_THROW(backend->choose(tiny_program({.max_isa = "sse9"}), program.nodes[0]), Error);
}

TEST(CpuBackend, SaysWhatIsWrong) {
  Loaded loaded(tiny_program());
  Executable& executable = *loaded.executable;
  const auto message = [](const auto& body) {
    try {
      body();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  using testing::HasSubstr;
  EXPECT_THAT(message([&] { executable.prepare(batch_of({{0, 0, {1}}})); }),
              HasSubstr("slot 0 has no block for tokens 0 to 0"));
  EXPECT_THAT(message([&] { executable.prepare(batch_of({{9, 0, {1}}})); }), HasSubstr("slot 9"));
  EXPECT_THAT(
      message([&] {
        executable.prepare(batch_of({{0, 0, std::vector<std::int32_t>(65, 1)}}, {start_slot(0)}));
      }),
      HasSubstr("65 tokens, at most 64"));
  SlotUpdate bad = start_slot(0);
  bad.tables[0].blocks[0] = 40;
  EXPECT_THAT(message([&] { executable.prepare(batch_of({{0, 0, {1}}}, {bad})); }),
              HasSubstr("block 40 of 40"));
  EXPECT_THAT(
      message([&] { step(executable, batch_of({{0, 0, {kLastSampledToken}}}, {start_slot(0)})); }),
      HasSubstr("has not sampled a token yet"));
  EXPECT_NO_THROW(step(executable, batch_of({{0, 0, {1}}}, {start_slot(0)})));
  EXPECT_THAT(message([&] { executable.read("logit"); }), HasSubstr("it has logits, sum"));
  EXPECT_NO_THROW(executable.read("sum"));
}

TEST(CpuBackend, StepsWithoutTokens) {
  Loaded loaded(tiny_program());
  const StepResult none = step(*loaded.executable, batch_of({}));
  EXPECT_TRUE(none.sequences.empty());
  const StepResult mixed =
      step(*loaded.executable, batch_of({{0, 0, {}}, {1, 0, {3}}}, {start_slot(0), start_slot(1)}));
  EXPECT_TRUE(mixed.sequences[0].tokens.empty());
  EXPECT_EQ(mixed.sequences[1].tokens.size(), 1U);
}

TEST(CpuBackend, KnowsTheMachine) {
  const DeviceProperties p = make_backend({.threads = 1})->properties();
  EXPECT_EQ(p.kind, "cpu");
  EXPECT_FALSE(p.name.empty());
  EXPECT_GT(p.memory_bytes, 0);
  EXPECT_GT(p.free_bytes, 0);
  EXPECT_LE(p.free_bytes, p.memory_bytes);
  EXPECT_EQ(p.cores, 1);
}

}  // namespace
}  // namespace tenon::cpu
