// Attention by its formula, in double: a score for every pair of rows, softmax, weighted sum.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "layer_test_support.h"

namespace tenon::test {

/// Everything that distinguishes kinds of attention, as functions of places in the sequence.
struct AttentionFormula {
  /// Turns the features of one head, [head_size] from `x` on, of a row at `position`.
  std::function<void(double* x, std::int64_t position)> rotate = [](double*, std::int64_t) {};
  /// Whether query i sees key j.
  std::function<bool(std::int64_t i, std::int64_t j)> sees = [](std::int64_t, std::int64_t) {
    return true;
  };
  /// Added to the score of query i and key j in `head`.
  std::function<double(std::int64_t head, std::int64_t i, std::int64_t j)> bias =
      [](std::int64_t, std::int64_t, std::int64_t) { return 0.0; };
  double q_scaling = 1.0;
  double softcap = 0.0;
};

struct AttentionWeights {
  Matrix q, k, v, dense, q_bias, k_bias, v_bias, dense_bias;
};

inline AttentionWeights give_all(layers::Attention& layer, bool bias) {
  AttentionWeights w;
  w.q = give(layer, "q.weight", 11);
  w.k = give(layer, "k.weight", 12);
  w.v = give(layer, "v.weight", 13);
  w.dense = give(layer, "dense.weight", 14);
  if (!bias) return w;
  w.q_bias = give(layer, "q.bias", 15);
  w.k_bias = give(layer, "k.bias", 16);
  w.v_bias = give(layer, "v.bias", 17);
  w.dense_bias = give(layer, "dense.bias", 18);
  return w;
}

struct Span {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// One sequence: queries are rows `own` of x, keys and values rows `other` of y.
inline void attend_sequence(const layers::AttentionOptions& o, const AttentionFormula& formula,
                            const Matrix& q, const Matrix& k, const Matrix& v, Span own, Span other,
                            Matrix& context) {
  const std::int64_t kv_heads = o.num_kv_heads > 0 ? o.num_kv_heads : o.num_attention_heads;
  const std::int64_t size =
      o.attention_head_size > 0 ? o.attention_head_size : o.hidden_size / o.num_attention_heads;
  for (std::int64_t head = 0; head < o.num_attention_heads; ++head) {
    const std::int64_t kv_head = head / (o.num_attention_heads / kv_heads);
    for (std::int64_t i = 0; i < own.end - own.begin; ++i) {
      std::vector<double> weights;
      double total = 0.0;
      for (std::int64_t j = 0; j < other.end - other.begin; ++j) {
        double score = 0.0;
        for (std::int64_t d = 0; d < size; ++d)
          score += q.at(own.begin + i, head * size + d) * k.at(other.begin + j, kv_head * size + d);
        score /= formula.q_scaling * std::sqrt(static_cast<double>(size));
        if (formula.softcap > 0.0) score = formula.softcap * std::tanh(score / formula.softcap);
        weights.push_back(formula.sees(i, j) ? std::exp(score + formula.bias(head, i, j)) : 0.0);
        total += weights.back();
      }
      for (std::int64_t d = 0; d < size; ++d) {
        double sum = 0.0;
        for (std::size_t j = 0; j < weights.size(); ++j)
          sum += weights[j] * v.at(other.begin + static_cast<std::int64_t>(j), kv_head * size + d);
        context.at(own.begin + i, head * size + d) = total > 0.0 ? sum / total : 0.0;
      }
    }
  }
}

/// Sequences of `lengths` rows in x; `encoder` (cross-attention) has `encoder_lengths`.
inline Matrix attention_of(const layers::AttentionOptions& o, const AttentionWeights& w,
                           const AttentionFormula& formula, const Matrix& x,
                           const std::vector<std::int32_t>& lengths,
                           const Matrix* encoder = nullptr,
                           const std::vector<std::int32_t>& encoder_lengths = {}) {
  Matrix q = affine(x, w.q, w.q_bias);
  Matrix k = affine(encoder != nullptr ? *encoder : x, w.k, w.k_bias);
  const Matrix v = affine(encoder != nullptr ? *encoder : x, w.v, w.v_bias);
  const std::int64_t size =
      o.attention_head_size > 0 ? o.attention_head_size : o.hidden_size / o.num_attention_heads;
  Matrix context(x.rows, q.columns);
  Span own;
  Span other;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    own = {own.end, own.end + lengths[s]};
    other = encoder != nullptr ? Span{other.end, other.end + encoder_lengths[s]} : own;
    for (std::int64_t r = own.begin; r < own.end && encoder == nullptr; ++r) {
      for (std::int64_t c = 0; c < q.columns; c += size) formula.rotate(&q.at(r, c), r - own.begin);
      for (std::int64_t c = 0; c < k.columns; c += size) formula.rotate(&k.at(r, c), r - own.begin);
    }
    attend_sequence(o, formula, q, k, v, own, other, context);
  }
  return affine(context, w.dense, w.dense_bias);
}

}  // namespace tenon::test
