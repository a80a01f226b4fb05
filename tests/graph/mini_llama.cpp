// SPDX-License-Identifier: Apache-2.0
#include "mini_llama.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace tenon {
namespace {

using interpreter::Array;
using interpreter::Arrays;
using interpreter::Step;

class Builder {
 public:
  explicit Builder(const MiniLlama& model) : m_(model), b_("decoder") {}

  Graph build() {
    b_.axis("heads", {m_.heads, m_.kv_heads, 1});
    b_.axis("features", {m_.features, 0, m_.features_granule});
    b_.axis("vocab", {m_.vocab, 0, 1});
    b_.axis("hidden", {m_.hidden, 0, 1});
    const auto ids = ValueType::tensor(DataType::kInt32, {Symbol::kTokens});
    const ValueId tokens = b_.input("ids", ids);
    positions_ = b_.input("positions", ids);
    const ValueId rows =
        b_.input("rows", ValueType::tensor(DataType::kInt32, {Symbol::kLogitRows}));
    ValueId x = b_.add1(Embedding{}, {tokens}, {table()}, "embedding");
    for (std::int32_t layer = 0; layer < m_.layers; ++layer) {
      b_.set_layer(layer);
      prefix_ = "layers." + std::to_string(layer) + ".";
      x = mlp(attention(x, layer));
    }
    b_.set_layer(-1);
    prefix_.clear();
    x = b_.add1(GatherRows{}, {x, rows}, {}, "wanted");
    const ValueId logits = b_.add1(Linear{.gather_output = true}, {norm(x, "final")},
                                   {m_.tied ? table() : head()}, "head");
    b_.output(b_.add1(Softcap{.cap = 20.F}, {logits}, {}, "capped"), "logits");
    if (keys_ != kNoId) b_.output(keys_, "keys");
    return b_.finish();
  }

 private:
  WeightId table() {
    std::vector<ShardMark> marks;
    if (m_.embedding == EmbeddingCut::kVocabulary) marks = {{"vocab", 0, 1, false}};
    if (m_.embedding == EmbeddingCut::kHidden) marks = {{"hidden", 1, 1, false}};
    return b_.weight("embedding.weight", {m_.vocab, m_.hidden}, marks);
  }
  WeightId head() {
    return b_.weight("head.weight", {m_.vocab, m_.hidden}, {{"vocab", 0, 1, false}});
  }
  ValueId norm(ValueId x, const std::string& name) {
    const std::int64_t width = b_.type(x).shape[1].extent;
    return b_.add1(Norm{}, {x}, {b_.weight(prefix_ + name + ".gain", {width})}, prefix_ + name);
  }
  ValueId column(ValueId x, const std::string& name, std::int64_t width, const ShardMark& mark,
                 bool bias) {
    const std::int64_t in = b_.type(x).shape[1].extent;
    std::vector<WeightId> weights = {b_.weight(prefix_ + name + ".weight", {width, in}, {mark})};
    if (bias) weights.push_back(b_.weight(prefix_ + name + ".bias", {width}, {mark}));
    return b_.add1(Linear{.has_bias = bias}, {x}, weights, prefix_ + name);
  }
  ValueId row(ValueId x, const std::string& name, ShardMark mark) {
    const std::int64_t in = b_.type(x).shape[1].extent;
    mark.dim = 1;
    std::vector<WeightId> weights = {
        b_.weight(prefix_ + name + ".weight", {m_.hidden, in}, {mark})};
    if (m_.row_bias) weights.push_back(b_.weight(prefix_ + name + ".bias", {m_.hidden}));
    return b_.add1(Linear{.has_bias = m_.row_bias}, {x}, weights, prefix_ + name);
  }
  ValueId rope(ValueId x, std::int64_t heads, const std::string& name) {
    if (m_.alibi) return x;
    Rope op{.heads = heads, .head_dim = m_.head_dim, .rotary_dim = m_.head_dim};
    for (std::int64_t i = 0; i < m_.head_dim / 2; ++i)
      op.inv_freq.push_back(1.F / static_cast<float>(1 + 3 * i));
    return b_.add1(op, {x, positions_}, {}, prefix_ + name);
  }
  ValueId scaled(ValueId x, float factor, const std::string& name) {
    return m_.scale_q ? b_.add1(Scale{factor}, {x}, {}, prefix_ + name) : x;
  }

  ValueId attention(ValueId x, std::int64_t layer) {
    const std::int64_t d = m_.head_dim;
    const ShardMark by_head{"heads", 0, d, false};
    const ShardMark by_group{"heads", 0, d, true};
    const ValueId normed = norm(x, "attention_norm");
    ValueId q = column(normed, "q", m_.heads * d, by_head, m_.qkv_bias);
    ValueId k = column(normed, "k", m_.kv_heads * d, by_group, m_.qkv_bias);
    const ValueId v = column(normed, "v", m_.kv_heads * d, by_group, m_.qkv_bias);
    if (m_.output_keys && layer == 0) keys_ = k;
    if (m_.norm_of_q) {
      // What follows a whole q must be cut again: a linear over it.
      q = column(norm(q, "q_norm"), "q2", m_.heads * d, by_head, false);
    }
    q = scaled(rope(scaled(q, 0.5F, "q_half"), m_.heads, "q_rotated"), 3.F, "q_triple");
    k = rope(k, m_.kv_heads, "k_rotated");
    const ValueId cache = b_.add1(CacheWrite{layer, m_.kv_heads, d}, {k, v}, {}, prefix_ + "cache");
    Attention op{.cache_layer = layer, .heads = m_.heads, .kv_heads = m_.kv_heads, .head_dim = d};
    op.scale = 0.4F;
    op.total_heads = m_.heads;
    op.alibi = m_.alibi;
    op.relative_bias = m_.relative_bias;
    op.relative_buckets = 8;
    op.relative_max_distance = 16;
    std::vector<WeightId> weights;
    if (m_.relative_bias)
      weights = {b_.weight("relative", {8, m_.heads}, {{"heads", 1, 1, false}})};
    const ValueId mixed = b_.add1(op, {q, cache}, weights, prefix_ + "mixed");
    return b_.add1(Add{}, {x, row(mixed, "o", by_head)}, {}, prefix_ + "after_attention");
  }

  ValueId mlp(ValueId x) {
    const ShardMark mark{"features", 0, 1, false};
    const ValueId normed = norm(x, "mlp_norm");
    const ValueId gate = column(normed, "gate", m_.features, mark, m_.qkv_bias);
    const ValueId up = column(normed, "up", m_.features, mark, m_.qkv_bias);
    const ValueId product = b_.add1(GatedActivation{}, {gate, up}, {}, prefix_ + "gated");
    return b_.add1(Add{}, {x, row(product, "down", mark)}, {}, prefix_ + "after_mlp");
  }

  const MiniLlama& m_;
  GraphBuilder b_;
  ValueId positions_ = kNoId;
  ValueId keys_ = kNoId;
  std::string prefix_;
};

Array column_of(const std::vector<std::int64_t>& numbers) {
  Array array(static_cast<std::int64_t>(numbers.size()), 1);
  for (std::size_t i = 0; i < numbers.size(); ++i) array.data[i] = static_cast<float>(numbers[i]);
  return array;
}

}  // namespace

Graph build(const MiniLlama& model) { return Builder(model).build(); }

Arrays random_weights(const Graph& graph) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1.F, 1.F);
  Arrays weights;
  for (const Weight& weight : graph.weights) {
    const bool matrix = weight.shape.size() == 2;
    Array array(matrix ? weight.shape[0] : 1, weight.shape.back());
    const bool gain = weight.name.ends_with("gain");
    const float size = weight.name.starts_with("embedding")
                           ? 1.F
                           : 1.5F / std::sqrt(static_cast<float>(weight.shape.back()));
    for (float& value : array.data)
      value = gain ? 1.F + 0.2F * uniform(random) : size * uniform(random);
    weights.emplace(weight.name, std::move(array));
  }
  return weights;
}

std::vector<Step> steps_of(const MiniLlama& model) {
  const std::vector<std::vector<std::int64_t>> counts = {{5, 3}, {1, 1}, {4, 1}};
  std::vector<std::int64_t> past = {0, 0};
  std::mt19937 random(11);
  std::vector<Step> steps;
  for (const auto& count : counts) {
    Step step;
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t> positions;
    std::vector<std::int64_t> rows;
    for (std::size_t s = 0; s < 2; ++s) {
      step.sequences.push_back(
          {static_cast<int>(s), static_cast<std::int64_t>(ids.size()), count[s], past[s]});
      for (std::int64_t i = 0; i < count[s]; ++i) {
        ids.push_back(static_cast<std::int64_t>(random() % static_cast<unsigned>(model.vocab)));
        positions.push_back(past[s] + i);
      }
      past[s] += count[s];
      rows.push_back(static_cast<std::int64_t>(ids.size()) - 1);
    }
    step.inputs = {
        {"ids", column_of(ids)}, {"positions", column_of(positions)}, {"rows", column_of(rows)}};
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<Arrays> run_steps(interpreter::Ranks ranks, const MiniLlama& model) {
  std::vector<Arrays> outputs;
  for (const Step& step : steps_of(model)) outputs.push_back(ranks.step(step));
  return outputs;
}

void expect_same(const std::vector<Arrays>& got, const std::vector<Arrays>& expected,
                 double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t step = 0; step < expected.size(); ++step)
    for (const auto& [name, want] : expected[step]) {
      const auto at = got[step].find(name);
      ASSERT_NE(at, got[step].end()) << name << " is missing";
      ASSERT_EQ(at->second.data.size(), want.data.size()) << name;
      double largest = 0;
      double worst = 0;
      for (std::size_t i = 0; i < want.data.size(); ++i) {
        ASSERT_TRUE(std::isfinite(at->second.data[i])) << name;
        largest = std::max(largest, std::fabs(double{want.data[i]}));
        worst = std::max(worst, std::fabs(double{want.data[i]} - at->second.data[i]));
      }
      EXPECT_GT(largest, 0.01) << name;
      EXPECT_LE(worst, tolerance * largest) << name << " in step " << step;
    }
}

int count_ops(const Graph& graph, const std::string& name) {
  int count = 0;
  for (const Node& node : graph.nodes) count += name == name_of(node.op) ? 1 : 0;
  return count;
}

}  // namespace tenon
