// Attention, the specification. Every score is computed twice, once to find the largest and once to
// weigh the values, so that no row of scores is ever stored.
//
// A query at place i of its sequence (counted from the sequence's first token, cached ones
// included) sees the keys at places j with
//   causal          j <= i, and i - j < window where there is one
//   bidirectional   all j of its sequence, and |i - j| < window where there is one
// score = softcap(scale * q.k) + alibi slope * (j - i) + relative bias. A query that sees no key
// gives zeros. In cross-attention i counts the decoder's tokens and j the encoder's.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backends/cpu/paged_cache.h"
#include "backends/cpu/ref/reference.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

// Keys and values of one sequence, wherever they lie.
struct KeySource {
  const CacheLayer* layer = nullptr;
  std::span<const std::int32_t> table;
  const float* keys = nullptr;  // kDirect, kCross: of the sequence's first token
  const float* values = nullptr;
  std::int64_t count = 0;
};

class AttentionReference final : public CpuKernel {
 public:
  AttentionReference(const Attention& op, const std::vector<QuantizedTensor>& weights) : op_(op) {
    if (op_.relative_bias) relative_ = to_floats(weights.at(0));
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const Batch& batch = step.batch;
    const std::int64_t width = op_.heads * op_.head_dim;
    auto* scratch = reinterpret_cast<float*>(step.workspace.data());
    for (std::int64_t s = 0; s < batch.sequences(); ++s) {
      const auto at = static_cast<std::size_t>(s);
      const std::int64_t first = batch.token_begin[at];
      const std::int64_t tokens = batch.token_begin[at + 1] - first;
      const KeySource source = source_of(inputs, s, step);
      const std::int64_t place =
          op_.source == AttentionSource::kDirect ? 0 : batch.cached_tokens[at];
      step.pool.run(tokens * op_.heads, [&](std::int64_t index, int worker) {
        const std::int64_t token = index / op_.heads;
        const std::int64_t head = index % op_.heads;
        const std::int64_t row = (first + token) * width + head * op_.head_dim;
        attend(inputs[0].f32() + row, source, place + token, head, outputs[0].f32() + row,
               scratch + worker * op_.head_dim);
      });
    }
  }

  std::int64_t workspace_bytes(const StepSizes&, int threads) const override {
    return threads * op_.head_dim * static_cast<std::int64_t>(sizeof(float));
  }
  std::int64_t packed_bytes() const override {
    return static_cast<std::int64_t>(relative_.size() * sizeof(float));
  }

 private:
  KeySource source_of(std::span<const TensorRef> inputs, std::int64_t s, StepContext& step) const {
    const Batch& batch = step.batch;
    const auto at = static_cast<std::size_t>(s);
    const std::int64_t tokens = batch.token_begin[at + 1] - batch.token_begin[at];
    if (op_.source == AttentionSource::kPagedCache) {
      TENON_ASSERT(step.cache != nullptr);
      const CacheLayer& layer = step.cache->layer(op_.cache_layer);
      return {.layer = &layer,
              .table = step.cache->table(layer.group, s),
              .count = batch.cached_tokens[at] + tokens};
    }
    const bool cross = op_.source == AttentionSource::kCross;
    TENON_ASSERT(!cross || batch.encoder_begin.size() > at + 1);
    const auto& begin = cross ? batch.encoder_begin : batch.token_begin;
    const std::int64_t offset = begin[at] * op_.kv_heads * op_.head_dim;
    return {.keys = inputs[1].f32() + offset,
            .values = inputs[2].f32() + offset,
            .count = begin[at + 1] - begin[at]};
  }

  void load(const KeySource& source, bool key, std::int64_t j, std::int64_t kv_head,
            float* out) const {
    if (source.layer == nullptr) {
      const float* from =
          (key ? source.keys : source.values) + (j * op_.kv_heads + kv_head) * op_.head_dim;
      for (std::int64_t d = 0; d < op_.head_dim; ++d) out[d] = from[d];
      return;
    }
    const CacheLayer& layer = *source.layer;
    const std::int32_t block = source.table[static_cast<std::size_t>(j / layer.block_tokens)];
    (key ? read_key : read_value)(layer, block, j % layer.block_tokens, kv_head, out);
  }

  float score(const float* q, const KeySource& source, std::int64_t i, std::int64_t j,
              std::int64_t head, float* key) const {
    load(source, true, j, head / (op_.heads / op_.kv_heads), key);
    float dot = 0.F;
    for (std::int64_t d = 0; d < op_.head_dim; ++d) dot += q[d] * key[d];
    dot *= op_.scale;
    if (op_.softcap > 0.F) dot = op_.softcap * std::tanh(dot / op_.softcap);
    if (op_.alibi)
      dot += alibi_slope(op_.head_begin + head, op_.total_heads) * static_cast<float>(j - i);
    if (op_.relative_bias) {
      const bool both = op_.mask == AttentionMask::kBidirectional;
      const std::int64_t bucket =
          relative_bucket(j - i, both, op_.relative_buckets, op_.relative_max_distance);
      dot += relative_[static_cast<std::size_t>(bucket * op_.heads + head)];
    }
    return dot;
  }

  void attend(const float* q, const KeySource& source, std::int64_t i, std::int64_t head,
              float* out, float* scratch) const {
    const bool causal = op_.mask == AttentionMask::kCausal;
    std::int64_t begin = 0;
    std::int64_t end = source.count;
    if (causal) end = std::min(end, i + 1);
    if (op_.window > 0) {
      begin = std::max<std::int64_t>(0, i - op_.window + 1);
      end = std::min(end, i + op_.window);
    }
    float largest = -std::numeric_limits<float>::infinity();
    for (std::int64_t j = begin; j < end; ++j)
      largest = std::max(largest, score(q, source, i, j, head, scratch));
    for (std::int64_t d = 0; d < op_.head_dim; ++d) out[d] = 0.F;
    float sum = 0.F;
    for (std::int64_t j = begin; j < end; ++j) {
      const float weight = std::exp(score(q, source, i, j, head, scratch) - largest);
      sum += weight;
      load(source, false, j, head / (op_.heads / op_.kv_heads), scratch);
      for (std::int64_t d = 0; d < op_.head_dim; ++d) out[d] += weight * scratch[d];
    }
    for (std::int64_t d = 0; d < op_.head_dim && sum > 0.F; ++d) out[d] /= sum;
  }

  Attention op_;
  std::vector<float> relative_;  // [buckets, heads]
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const Attention& op, const NodeView&, Weights weights,
                                          ThreadPool&) {
  return std::make_unique<AttentionReference>(op, weights);
}

}  // namespace tenon::cpu
