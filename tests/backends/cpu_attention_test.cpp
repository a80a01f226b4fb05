// Attention, its cache and rope: the reference against a formula written here, every other kernel
// against the reference, and a row's bits against the company it keeps.
// SPDX-License-Identifier: Apache-2.0
#include "op_harness.h"

namespace tenon::cpu {
namespace {

constexpr DataType kCacheTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16,
                                    DataType::kFloat8E4M3, DataType::kInt8};

using Lengths = std::vector<std::int32_t>;

struct Setting {
  Attention op;
  DataType dtype = DataType::kFloat32;
  std::int64_t block_tokens = 32;
  Lengths cached = {0};
  Lengths tokens = {1};
  int threads = 2;
};

std::int64_t sum(const Lengths& lengths) {
  std::int64_t out = 0;
  for (const std::int32_t length : lengths) out += length;
  return out;
}

// Keys and values of every token of a sequence, known by sequence and place alone.
Tensor sequence_rows(std::size_t sequence, std::int64_t length, std::int64_t width, bool keys) {
  return random_tensor({length, width},
                       static_cast<unsigned>(100 + 2 * sequence) + (keys ? 0U : 1U));
}

// Writes places [begin, end) of each sequence with the reference.
void write_cache(TestCache& cache, const CacheWrite& op, const Lengths& begin, const Lengths& end) {
  Lengths tokens;
  for (std::size_t s = 0; s < begin.size(); ++s) tokens.push_back(end[s] - begin[s]);
  const std::int64_t width = op.kv_heads * op.head_dim;
  OpCase c{.inputs = {Tensor(DataType::kFloat32, {sum(tokens), width}),
                      Tensor(DataType::kFloat32, {sum(tokens), width})},
           .batch = make_batch(begin, tokens),
           .cache = cache.get()};
  for (const bool keys : {true, false}) {
    float* out = c.inputs[keys ? 0 : 1].mutable_as<float>();
    for (std::size_t s = 0; s < begin.size(); ++s) {
      const Tensor rows = sequence_rows(s, end[s], width, keys);
      const float* from = rows.view().as<float>() + begin[s] * width;
      out = std::copy(from, from + tokens[s] * width, out);
    }
  }
  run_reference(op, c);
}

Lengths ends_of(const Setting& t) {
  Lengths out;
  for (std::size_t s = 0; s < t.cached.size(); ++s) out.push_back(t.cached[s] + t.tokens[s]);
  return out;
}

void check(Setting t, float tolerance, const std::string& what) {
  t.op.scale = 1.F / std::sqrt(static_cast<float>(t.op.head_dim));
  const CacheWrite write{.kv_heads = t.op.kv_heads, .head_dim = t.op.head_dim};
  TestCache cache(t.dtype, t.op.kv_heads, t.op.head_dim, t.block_tokens, ends_of(t));
  write_cache(cache, write, Lengths(t.cached.size(), 0), ends_of(t));
  OpCase c{.inputs = {random_tensor({sum(t.tokens), t.op.heads * t.op.head_dim}, 5)},
           .batch = make_batch(t.cached, t.tokens),
           .cache = cache.get(),
           .reads_cache = true,
           .threads = t.threads};
  if (t.op.relative_bias)
    c.weights.push_back(random_tensor({t.op.relative_buckets, t.op.heads}, 6));
  expect_kernels_agree(
      t.op, c, tolerance,
      what + " " + to_string(t.dtype) + " head_dim " + std::to_string(t.op.head_dim));
}

Attention gqa(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
  return {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .total_heads = heads};
}

TEST(CpuAttention, HeadDimsAndCacheTypes) {
  for (const DataType dtype : kCacheTypes)
    for (const std::int64_t head_dim : {4, 20, 32, 64, 80, 96, 128, 256})
      check({.op = gqa(6, 2, head_dim), .dtype = dtype, .cached = {0, 70, 5}, .tokens = {3, 1, 40}},
            3e-5F, "dims");
}

TEST(CpuAttention, GroupsOfHeads) {
  for (const auto& [heads, kv_heads] : std::vector<std::pair<int, int>>{
           {1, 1}, {4, 4}, {9, 3}, {5, 1}, {8, 1}, {12, 1}, {13, 1}, {28, 4}, {71, 1}})
    for (const DataType dtype : {DataType::kFloat32, DataType::kInt8})
      check({.op = gqa(heads, kv_heads, 16), .dtype = dtype, .cached = {0, 33}, .tokens = {50, 1}},
            3e-5F, std::to_string(heads) + "/" + std::to_string(kv_heads));
}

TEST(CpuAttention, BlockSizes) {
  for (const std::int64_t block : {1, 5, 8, 16, 24, 32, 48, 64, 128, 200})
    for (const DataType dtype : kCacheTypes)
      check({.op = gqa(4, 2, 24),
             .dtype = dtype,
             .block_tokens = block,
             .cached = {131, 0, 250},
             .tokens = {1, 77, 30}},
            3e-5F, "block " + std::to_string(block));
}

TEST(CpuAttention, EmptyAndSingle) {
  check({.op = gqa(2, 1, 8), .cached = {0}, .tokens = {0}}, 0.F, "nothing");
  check({.op = gqa(2, 1, 8), .cached = {0, 9, 3}, .tokens = {0, 0, 1}}, 1e-5F, "mostly nothing");
  check({.op = gqa(2, 1, 8), .cached = {0}, .tokens = {1}}, 1e-5F, "one");
}

TEST(CpuAttention, Attributes) {
  for (const DataType dtype : {DataType::kFloat32, DataType::kBFloat16, DataType::kInt8})
    for (const std::int64_t window : {0, 1, 3, 20, 100, 600})
      for (const AttentionMask mask : {AttentionMask::kCausal, AttentionMask::kBidirectional}) {
        Setting t{
            .op = gqa(6, 3, 16), .dtype = dtype, .cached = {0, 40, 700}, .tokens = {90, 1, 7}};
        t.op.mask = mask;
        t.op.window = window;
        const std::string what = "window " + std::to_string(window);
        check(t, 3e-5F, what);
        t.op.softcap = 3.F;
        check(t, 3e-5F, what + " softcap");
        t.op.alibi = true;
        t.op.head_begin = 2;
        t.op.total_heads = 12;
        check(t, 3e-5F, what + " softcap alibi");
        t.op.alibi = false;
        t.op.relative_bias = true;
        t.op.relative_max_distance = 50;
        check(t, 3e-5F, what + " softcap relative");
      }
}

TEST(CpuAttention, SpansOverThreads) {
  for (const int threads : {1, 2, 3})
    for (const DataType dtype : {DataType::kFloat16, DataType::kInt8}) {
      Setting t{.op = gqa(3, 1, 64), .dtype = dtype, .cached = {2100}, .tokens = {1}};
      t.threads = threads;
      check(t, 3e-5F, "long decode");
      t.cached = {1535, 0, 513};
      t.tokens = {1, 0, 2};
      check(t, 3e-5F, "few decodes");
      t.op.window = 700;
      check(t, 3e-5F, "few decodes, window");
    }
}

TEST(CpuAttention, DirectAndCross) {
  for (const bool cross : {false, true})
    for (const AttentionMask mask : {AttentionMask::kCausal, AttentionMask::kBidirectional}) {
      if (cross && mask == AttentionMask::kCausal) continue;
      Attention op = gqa(6, 2, 20);
      op.source = cross ? AttentionSource::kCross : AttentionSource::kDirect;
      op.mask = mask;
      op.scale = 0.3F;
      op.relative_bias = !cross;
      const Lengths tokens = {5, 0, 70, 1};
      const Lengths keys = cross ? Lengths{33, 4, 0, 90} : tokens;
      OpCase c{.inputs = {random_tensor({sum(tokens), 120}, 1), random_tensor({sum(keys), 40}, 2),
                          random_tensor({sum(keys), 40}, 3)},
               .batch = make_batch(cross ? Lengths{3, 0, 9, 1} : Lengths{0, 0, 0, 0}, tokens)};
      if (cross) {
        c.batch.encoder_begin = {0};
        for (const std::int32_t n : keys)
          c.batch.encoder_begin.push_back(c.batch.encoder_begin.back() + n);
      }
      if (op.relative_bias) c.weights.push_back(random_tensor({op.relative_buckets, 6}, 6));
      expect_kernels_agree(op, c, 3e-5F, cross ? "cross" : "direct");
    }
}

// The textbook formula in double, one sequence, no cache.
TEST(CpuAttention, ReferenceIsTheFormula) {
  Attention op = gqa(4, 2, 6);
  op.source = AttentionSource::kDirect;
  op.scale = 0.4F;
  op.window = 4;
  op.softcap = 2.F;
  op.alibi = true;
  constexpr std::int64_t kTokens = 9;
  const OpCase c{.inputs = {random_tensor({kTokens, 24}, 1), random_tensor({kTokens, 12}, 2),
                            random_tensor({kTokens, 12}, 3)},
                 .batch = make_batch({0}, {kTokens})};
  const Tensor got = run_reference(op, c)[0];
  const auto x = [&](int input, std::int64_t i) {
    return static_cast<double>(c.inputs[static_cast<std::size_t>(input)].view().as<float>()[i]);
  };
  for (std::int64_t i = 0; i < kTokens; ++i)
    for (std::int64_t h = 0; h < 4; ++h) {
      std::vector<double> out(6, 0.0);
      double total = 0.0;
      for (std::int64_t j = std::max<std::int64_t>(0, i - 3); j <= i; ++j) {
        double score = 0.0;
        for (std::int64_t d = 0; d < 6; ++d)
          score += x(0, i * 24 + h * 6 + d) * x(1, j * 12 + h / 2 * 6 + d);
        score = 2.0 * std::tanh(0.4 * score / 2.0);
        score += std::pow(2.0, -2.0 * static_cast<double>(h + 1)) * static_cast<double>(j - i);
        total += std::exp(score);
        for (std::int64_t d = 0; d < 6; ++d)
          out[static_cast<std::size_t>(d)] += std::exp(score) * x(2, j * 12 + h / 2 * 6 + d);
      }
      for (std::int64_t d = 0; d < 6; ++d)
        EXPECT_NEAR(got.view().as<float>()[i * 24 + h * 6 + d],
                    out[static_cast<std::size_t>(d)] / total, 1e-5);
    }
}

// Rows [first, first + count) of a sequence computed alone have the bits that they have in one shot
// and beside others, with any number of threads.
TEST(CpuAttention, RowsDoNotDependOnTheirCompany) {
  for (const DataType dtype : kCacheTypes)
    for (const std::int64_t window : {0, 37}) {
      Attention op = gqa(6, 2, 40);
      op.scale = 0.2F;
      op.window = window;
      constexpr std::int32_t kLength = 1100;
      TestCache cache(dtype, 2, 40, 32, {kLength, 60});
      write_cache(cache, {.kv_heads = 2, .head_dim = 40}, {0, 0}, {kLength, 60});
      const Tensor queries = random_tensor({kLength + 60, 240}, 5);
      const auto run = [&](const auto& entry, const Batch& batch, std::int64_t first, int threads) {
        Tensor part(DataType::kFloat32, {batch.tokens(), 240});
        std::memcpy(part.mutable_data(), queries.data() + first * 960, part.bytes());
        return run_kernel(entry, op,
                          {.inputs = {part},
                           .batch = batch,
                           .cache = cache.get(),
                           .reads_cache = true,
                           .threads = threads})[0];
      };
      const OpCase types{.inputs = {queries}, .reads_cache = true};
      each_kernel(op, types, [&](const auto& entry) {
        if (std::string(entry.name) == "attention_ref") return;
        ASSERT_TRUE(entry.row_invariant);
        cache.bind({0, 1});
        const Tensor whole = run(entry, make_batch({0, 0}, {kLength, 60}), 0, 2);
        cache.bind({0});
        for (const auto& [first, count, threads] :
             std::vector<std::tuple<int, int, int>>{{1099, 1, 1},
                                                    {1099, 1, 3},
                                                    {1000, 100, 2},
                                                    {17, 5, 1},
                                                    {640, 1, 2},
                                                    {511, 3, 3}}) {
          const Tensor part = run(entry, make_batch({first}, {count}), first, threads);
          EXPECT_EQ(std::memcmp(part.data(), whole.data() + first * 960, part.bytes()), 0)
              << entry.name << " " << to_string(dtype) << " window " << window << " at " << first;
        }
      });
    }
}

// Blocks that fell out of the window are never touched, whatever they hold.
TEST(CpuAttention, ForgottenBlocksAreNotRead) {
  Attention op = gqa(2, 1, 16);
  op.window = 10;
  TestCache cache(DataType::kFloat16, 1, 16, 8, {60});
  write_cache(cache, {.kv_heads = 1, .head_dim = 16}, {0}, {60});
  const OpCase c{.inputs = {random_tensor({3, 32}, 1)},
                 .batch = make_batch({57}, {3}),
                 .cache = cache.get(),
                 .reads_cache = true};
  const Tensor expected = run_reference(op, c)[0];
  for (std::size_t b = 0; b < 6; ++b) cache.table(0)[b] = -1;  // tokens 0 to 47; 48 is seen
  cache.bind_all();
  each_kernel(op, c, [&](const auto& entry) {
    expect_close(run_kernel(entry, op, c)[0], expected, 1e-5F, entry.name);
  });
}

// A cache written in several steps, by any kernel, holds what one step writes.
TEST(CpuCacheWrite, ChunksEqualOneShot) {
  for (const DataType dtype : kCacheTypes)
    for (const std::int64_t block : {3, 16, 32}) {
      const CacheWrite op{.kv_heads = 2, .head_dim = 20};
      const auto values = [&](TestCache& cache) {
        std::vector<float> out(45 * 2 * 40);
        for (std::int64_t i = 0; i < 45; ++i)
          for (std::int64_t head = 0; head < 2; ++head) {
            const CacheLayer& layer = cache.get()->layer(0);
            const std::int32_t at = cache.table(0)[static_cast<std::size_t>(i / block)];
            float* to = out.data() + (i * 2 + head) * 40;
            read_key(layer, at, i % block, head, to);
            read_value(layer, at, i % block, head, to + 20);
          }
        return out;
      };
      TestCache once(dtype, 2, 20, block, {45});
      write_cache(once, op, {0}, {45});
      TestCache chunks(dtype, 2, 20, block, {45}, 9);
      for (const auto& [from, to] :
           std::vector<std::pair<int, int>>{{0, 7}, {7, 8}, {8, 40}, {40, 45}})
        write_cache(chunks, op, {from}, {to});
      EXPECT_EQ(values(once), values(chunks));
      for (const auto& entry : all_kernels<CacheWrite>()) {
        TestCache other(dtype, 2, 20, block, {45}, 11);
        OpCase c{.inputs = {sequence_rows(0, 45, 40, true), sequence_rows(0, 45, 40, false)},
                 .batch = make_batch({0}, {45}),
                 .cache = other.get()};
        if (!entry.reject(op, view_of_case(op, c), CpuFeatures::detect()).empty()) continue;
        run_kernel(entry, op, c);
        EXPECT_EQ(values(once), values(other)) << entry.name << " " << to_string(dtype);
      }
      const float largest_step = dtype == DataType::kFloat8E4M3 ? 0.26F
                                 : dtype == DataType::kInt8     ? 0.02F
                                                                : 0.01F;
      const auto got = values(once);
      const Tensor keys = sequence_rows(0, 45, 40, true);
      for (std::int64_t i = 0; i < 45 * 2; ++i)
        for (std::int64_t d = 0; d < 20; ++d)
          EXPECT_NEAR(got[static_cast<std::size_t>(i * 40 + d)],
                      keys.view().as<float>()[i * 20 + d], largest_step);
    }
}

TEST(CpuCache, CopiesBlocks) {
  for (const DataType dtype : kCacheTypes) {
    TestCache cache(dtype, 2, 8, 5, {5});
    write_cache(cache, {.kv_heads = 2, .head_dim = 8}, {0}, {5});
    const std::int32_t from = cache.table(0)[0];
    const std::int32_t to = from == 0 ? 1 : 0;
    cache.get()->run({.source = from, .destination = to});
    const CacheLayer& layer = cache.get()->layer(0);
    float a[8];
    float b[8];
    for (std::int64_t i = 0; i < 5; ++i)
      for (std::int64_t head = 0; head < 2; ++head) {
        read_key(layer, from, i, head, a);
        read_key(layer, to, i, head, b);
        EXPECT_EQ(std::memcmp(a, b, sizeof(a)), 0);
        read_value(layer, from, i, head, a);
        read_value(layer, to, i, head, b);
        EXPECT_EQ(std::memcmp(a, b, sizeof(a)), 0);
      }
  }
}

Rope rope_of(RopeStyle style, std::int64_t heads, std::int64_t head_dim, std::int64_t rotary) {
  Rope op{.heads = heads, .head_dim = head_dim, .rotary_dim = rotary, .style = style};
  for (std::int64_t i = 0; i < rotary / 2; ++i)
    op.inv_freq.push_back(static_cast<float>(
        std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary))));
  return op;
}

TEST(CpuRope, KernelsAgreeAndReferenceIsTheFormula) {
  for (const RopeStyle style : {RopeStyle::kNeox, RopeStyle::kGptj})
    for (const auto& [dim, rotary] :
         std::vector<std::pair<int, int>>{{2, 2}, {8, 8}, {64, 64}, {80, 32}, {96, 96}, {20, 10}}) {
      const Rope op = rope_of(style, 3, dim, rotary);
      OpCase c{.inputs = {random_tensor({6, 3 * dim}, 1)}, .batch = make_batch({5, 100}, {2, 4})};
      c.inputs.push_back(int_tensor(c.batch.positions));
      expect_kernels_agree(op, c, 1e-6F);
      const Tensor got = run_reference(op, c)[0];
      const std::int64_t half = rotary / 2;
      for (std::int64_t t = 0; t < 6; ++t)
        for (std::int64_t i = 0; i < half; ++i) {
          const std::int64_t a = (t * 3 + 1) * dim + (style == RopeStyle::kNeox ? i : 2 * i);
          const std::int64_t b = style == RopeStyle::kNeox ? a + half : a + 1;
          const double angle = c.batch.positions[static_cast<std::size_t>(t)] *
                               std::pow(10000.0, -2.0 * static_cast<double>(i) / rotary);
          const float* x = c.inputs[0].view().as<float>();
          EXPECT_NEAR(got.view().as<float>()[a], x[a] * std::cos(angle) - x[b] * std::sin(angle),
                      2e-5);
          EXPECT_NEAR(got.view().as<float>()[b], x[b] * std::cos(angle) + x[a] * std::sin(angle),
                      2e-5);
        }
    }
}

TEST(CpuRope, FrequenciesDependOnTheSequence) {
  Rope op = rope_of(RopeStyle::kNeox, 1, 8, 8);
  op.length = RopeLength::kSwitch;
  op.original_length = 10;
  op.long_inv_freq = {0.5F, 0.25F, 0.125F, 0.1F};
  op.long_amplitude = 2.F;
  EXPECT_EQ(rope_frequencies(op, 10).inv_freq, op.inv_freq);
  EXPECT_EQ(rope_frequencies(op, 11).inv_freq, op.long_inv_freq);
  EXPECT_EQ(rope_frequencies(op, 11).amplitude, 2.F);
  OpCase c{.inputs = {random_tensor({7, 8}, 1)}, .batch = make_batch({5, 100}, {3, 4})};
  c.inputs.push_back(int_tensor(c.batch.positions));
  expect_kernels_agree(op, c, 1e-6F);
  op.length = RopeLength::kDynamic;
  op.long_inv_freq.clear();
  op.dynamic_factor = 4.F;
  EXPECT_EQ(rope_frequencies(op, 10).inv_freq, op.inv_freq);
  const double base = 10000.0 * std::pow(4.0 * 30 / 10 - 3.0, 8.0 / 6.0);
  const RopeFrequencies dynamic = rope_frequencies(op, 30);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(dynamic.inv_freq[i], std::pow(base, -2.0 * static_cast<double>(i) / 8.0), 1e-7);
  expect_kernels_agree(op, c, 1e-6F);
}

TEST(CpuRope, FusedWriteIsRopeTwiceThenWrite) {
  for (const DataType dtype : kCacheTypes)
    for (const RopeStyle style : {RopeStyle::kNeox, RopeStyle::kGptj}) {
      const Rope rope = rope_of(style, 4, 24, 16);
      const CacheWrite write{.kv_heads = 2, .head_dim = 24};
      const RopeCacheWrite op{rope, write};
      const Batch batch = make_batch({3, 0}, {4, 9});
      const Tensor q = random_tensor({13, 96}, 1);
      const Tensor k = random_tensor({13, 48}, 2);
      const Tensor v = random_tensor({13, 48}, 3);
      const Tensor positions = int_tensor(batch.positions);
      TestCache plain(dtype, 2, 24, 5, {7, 9});
      Rope key_rope = rope;
      key_rope.heads = 2;
      const Tensor expected = run_reference(rope, {.inputs = {q, positions}, .batch = batch})[0];
      const Tensor rotated = run_reference(key_rope, {.inputs = {k, positions}, .batch = batch})[0];
      run_reference(write, {.inputs = {rotated, v}, .batch = batch, .cache = plain.get()});
      for (const auto& entry : all_kernels<RopeCacheWrite>()) {
        TestCache cache(dtype, 2, 24, 5, {7, 9});  // the same tables
        const OpCase c{.inputs = {q, k, v, positions}, .batch = batch, .cache = cache.get()};
        if (!entry.reject(op, view_of_case(op, c), CpuFeatures::detect()).empty()) continue;
        expect_close(run_kernel(entry, op, c)[0], expected, 1e-6F, entry.name);
        const CacheLayer& a = plain.get()->layer(0);
        const CacheLayer& b = cache.get()->layer(0);
        const std::int64_t elements = a.blocks * 2 * 24 * a.key_stride;
        EXPECT_EQ(std::memcmp(a.keys, b.keys, static_cast<std::size_t>(elements) * size_of(dtype)),
                  0)
            << entry.name << to_string(dtype);
      }
    }
}

}  // namespace
}  // namespace tenon::cpu
