// Attention over the inner loops of isa/attention.inc: cuts the queries of every sequence into
// tiles that share a key-value head and spreads them over threads. Where there are fewer tiles than
// threads (decoding a few long sequences) the spans of keys are spread as well; spans and the order
// in which they are merged are the same either way, so results are too.
//
// Keys that do not come from the cache (encoders, cross-attention) are first laid out as the cache
// lays out its blocks, in the workspace.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/paged_cache.h"
#include "backends/cpu/simd_kernels.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kPackedTokens = 32;  // of a block in the workspace

std::int64_t whole_lines(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
std::int64_t float_bytes(std::int64_t count) {
  return whole_lines(count * static_cast<std::int64_t>(sizeof(float)));
}

// How the workspace is cut.
struct Layout {
  std::int64_t tile_tokens = 0;   // query tokens of a tile
  std::int64_t state_bytes = 0;   // a partial result
  std::int64_t thread_bytes = 0;  // scratch and two partial results
  std::int64_t slots = 0;         // partial results of spans that run at the same time
  std::int64_t totals = 0;        // results of tiles whose spans are spread
  std::int64_t packed_blocks = 0;
  std::int64_t packed_bytes = 0;  // keys, or values
  std::int64_t total_bytes = 0;

  Layout(const Attention& op, const StepSizes& limits, int threads) {
    const std::int64_t group = op.heads / op.kv_heads;
    tile_tokens = std::max<std::int64_t>(1, kAttentionRows / group);
    const std::int64_t rows = tile_tokens * group;
    state_bytes = float_bytes(attention_state_floats(rows, op.head_dim));
    thread_bytes = float_bytes(attention_scratch_floats(rows, op.head_dim)) + 2 * state_bytes;
    if (threads > 1) {
      totals = 2 * threads;
      slots = 8 * threads;
    }
    if (op.source != AttentionSource::kPagedCache) {
      const bool cross = op.source == AttentionSource::kCross;
      const std::int64_t tokens = cross ? limits.encoder_tokens : limits.tokens;
      packed_blocks = tokens / kPackedTokens + limits.sequences;
      packed_bytes = float_bytes(packed_blocks * op.kv_heads * op.head_dim * kPackedTokens) + 256;
    }
    total_bytes = thread_bytes * threads + state_bytes * (slots + totals) + 2 * packed_bytes +
                  float_bytes(packed_blocks);
  }
};

// A tile, found by its number.
struct TilePlace {
  std::int64_t sequence = 0;
  std::int64_t first_token = 0;  // of the sequence's tokens in this step
  std::int64_t kv_head = 0;
};

class FlashAttention final : public CpuKernel {
 public:
  FlashAttention(const IsaKernels& isa, const Attention& op, const Weights& weights)
      : isa_(isa), op_(op) {
    if (op_.alibi)
      for (std::int64_t head = 0; head < op_.heads; ++head)
        slopes_.push_back(alibi_slope(op_.head_begin + head, op_.total_heads));
    if (op_.relative_bias) spread_buckets(to_floats(weights.at(0)));
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override;

  std::int64_t workspace_bytes(const StepSizes& limits, int threads) const override {
    return Layout(op_, limits, threads).total_bytes;
  }
  std::int64_t packed_bytes() const override {
    return static_cast<std::int64_t>((bias_.size()) * sizeof(float));
  }

 private:
  struct Step;

  // The bias of every distance, so that the inner loop looks up one number. Beyond max_distance all
  // share a bucket.
  void spread_buckets(const std::vector<float>& table) {
    const std::int64_t reach = op_.relative_max_distance;
    const bool both = op_.mask == AttentionMask::kBidirectional;
    for (std::int64_t head = 0; head < op_.heads; ++head)
      for (std::int64_t distance = -reach; distance <= reach; ++distance) {
        const std::int64_t bucket =
            relative_bucket(distance, both, op_.relative_buckets, op_.relative_max_distance);
        bias_.push_back(table[static_cast<std::size_t>(bucket * op_.heads + head)]);
      }
  }

  AttentionTile common_tile(const Step& step) const;
  AttentionTile tile_at(const Step& step, const TilePlace& place) const;
  void pack_keys(Step& step) const;
  void run_whole_tiles(const Step& step) const;
  void run_spans(const Step& step) const;

  const IsaKernels& isa_;
  Attention op_;
  std::vector<float> slopes_;  // [heads]
  std::vector<float> bias_;    // [heads][2 * max_distance + 1]
};

// What one run works with.
struct FlashAttention::Step {
  StepContext& context;
  const TensorRef& queries;
  const TensorRef& out;
  const TensorRef* keys = nullptr;  // not from the cache
  const TensorRef* values = nullptr;
  Layout layout;
  std::byte* slots = nullptr;
  std::byte* totals = nullptr;
  float* packed_keys = nullptr;
  float* packed_values = nullptr;
  std::int32_t* packed_table = nullptr;
  std::vector<std::int64_t> tile_begin;   // [S + 1], tiles of all key-value heads
  std::vector<std::int64_t> first_block;  // [S]: of packed keys

  float* scratch(int worker) const {
    return reinterpret_cast<float*>(context.workspace.data() + worker * layout.thread_bytes);
  }
  float* state(int worker, int index) const {
    return reinterpret_cast<float*>(context.workspace.data() + (worker + 1) * layout.thread_bytes -
                                    (index + 1) * layout.state_bytes);
  }
  float* slot(std::int64_t index) const {
    return reinterpret_cast<float*>(slots + index * layout.state_bytes);
  }
  float* total(std::int64_t index) const {
    return reinterpret_cast<float*>(totals + index * layout.state_bytes);
  }
  std::int64_t tiles() const { return tile_begin.back(); }

  TilePlace find(std::int64_t tile, std::int64_t kv_heads) const {
    const auto next = std::upper_bound(tile_begin.begin(), tile_begin.end(), tile);
    const std::int64_t sequence = next - tile_begin.begin() - 1;
    // The last tokens see the most keys: their tiles start first, so that none is left alone late.
    const std::int64_t back = *next - 1 - tile;
    return {sequence, back / kv_heads * layout.tile_tokens, back % kv_heads};
  }
};

// First and last + 1 span that any row of the tile sees.
struct Spans {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  explicit Spans(const AttentionTile& tile) {
    std::int64_t from = 0;
    std::int64_t to = tile.key_count;
    const std::int64_t last = tile.place + tile.tokens;
    if (tile.causal) to = std::min(to, last);
    if (tile.window > 0) {
      from = std::max<std::int64_t>(0, tile.place - tile.window + 1);
      to = std::min(to, last - 1 + tile.window);
    }
    begin = from / kAttentionSpan;
    end = std::max(begin + 1, (to + kAttentionSpan - 1) / kAttentionSpan);
  }
};

AttentionTile FlashAttention::common_tile(const Step& step) const {
  AttentionTile tile{.token_stride = op_.heads * op_.head_dim,
                     .group = op_.heads / op_.kv_heads,
                     .head_dim = op_.head_dim,
                     .kv_heads = op_.kv_heads,
                     .scale = op_.scale,
                     .softcap = op_.softcap,
                     .window = op_.window,
                     .causal = op_.mask == AttentionMask::kCausal,
                     .bias_reach = op_.relative_max_distance};
  if (op_.source == AttentionSource::kPagedCache) {
    const CacheLayer& layer = step.context.cache->layer(op_.cache_layer);
    tile.dtype = layer.dtype;
    tile.keys = layer.keys;
    tile.values = layer.values;
    if (layer.dtype == DataType::kInt8) {
      tile.key_scales = layer.key_scales;
      tile.value_scales = layer.value_scales;
    }
    tile.block_tokens = layer.block_tokens;
    tile.key_stride = layer.key_stride;
  } else {
    tile.keys = step.packed_keys;
    tile.values = step.packed_values;
    tile.block_tokens = tile.key_stride = kPackedTokens;
  }
  return tile;
}

AttentionTile FlashAttention::tile_at(const Step& step, const TilePlace& place) const {
  const Batch& batch = step.context.batch;
  const auto s = static_cast<std::size_t>(place.sequence);
  const std::int64_t first = batch.token_begin[s];
  const std::int64_t tokens = batch.token_begin[s + 1] - first;
  AttentionTile tile = common_tile(step);
  const std::int64_t head = place.kv_head * tile.group;
  const std::int64_t at = (first + place.first_token) * tile.token_stride + head * tile.head_dim;
  tile.queries = step.queries.f32() + at;
  tile.out = step.out.f32() + at;
  tile.tokens = std::min(step.layout.tile_tokens, tokens - place.first_token);
  tile.kv_head = place.kv_head;
  if (op_.source == AttentionSource::kPagedCache) {
    const CacheLayer& layer = step.context.cache->layer(op_.cache_layer);
    tile.table = step.context.cache->table(layer.group, place.sequence).data();
    tile.key_count = batch.cached_tokens[s] + tokens;
  } else {
    const auto& begin =
        op_.source == AttentionSource::kCross ? batch.encoder_begin : batch.token_begin;
    tile.table = step.packed_table + step.first_block[s];
    tile.key_count = begin[s + 1] - begin[s];
  }
  tile.place = place.first_token;
  if (op_.source != AttentionSource::kDirect) tile.place += batch.cached_tokens[s];
  if (op_.alibi) tile.slopes = slopes_.data() + head;
  if (op_.relative_bias) tile.bias = bias_.data() + head * (2 * op_.relative_max_distance + 1);
  return tile;
}

void FlashAttention::pack_keys(Step& step) const {
  const Batch& batch = step.context.batch;
  const bool cross = op_.source == AttentionSource::kCross;
  const auto& begin = cross ? batch.encoder_begin : batch.token_begin;
  TENON_ASSERT(begin.size() == batch.slots.size() + 1);
  std::int64_t block = 0;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    step.first_block.push_back(block);
    block += (begin[s + 1] - begin[s] + kPackedTokens - 1) / kPackedTokens;
  }
  TENON_ASSERT(block <= step.layout.packed_blocks);
  for (std::int64_t b = 0; b < block; ++b) step.packed_table[b] = static_cast<std::int32_t>(b);
  const std::int64_t width = op_.kv_heads * op_.head_dim;
  step.context.pool.run(batch.sequences() * op_.kv_heads, [&](std::int64_t index, int) {
    const auto s = static_cast<std::size_t>(index / op_.kv_heads);
    const std::int64_t head = index % op_.kv_heads;
    for (std::int64_t i = 0; i < begin[s + 1] - begin[s]; ++i) {
      const std::int64_t row = (step.first_block[s] + i / kPackedTokens) * op_.kv_heads + head;
      const std::int64_t from = (begin[s] + i) * width + head * op_.head_dim;
      float* keys = step.packed_keys + row * op_.head_dim * kPackedTokens + i % kPackedTokens;
      float* values = step.packed_values + (row * kPackedTokens + i % kPackedTokens) * op_.head_dim;
      for (std::int64_t d = 0; d < op_.head_dim; ++d) {
        keys[d * kPackedTokens] = step.keys->f32()[from + d];
        values[d] = step.values->f32()[from + d];
      }
    }
  });
}

void FlashAttention::run_whole_tiles(const Step& step) const {
  step.context.pool.run(step.tiles(), [&](std::int64_t index, int worker) {
    const AttentionTile tile = tile_at(step, step.find(index, op_.kv_heads));
    const Spans spans(tile);
    float* total = step.state(worker, 0);
    float* partial = step.state(worker, 1);
    isa_.attention_span(tile, spans.begin, step.scratch(worker), total);
    for (std::int64_t span = spans.begin + 1; span < spans.end; ++span) {
      isa_.attention_span(tile, span, step.scratch(worker), partial);
      isa_.attention_merge(tile.tokens * tile.group, tile.head_dim, total, partial);
    }
    isa_.attention_finish(tile, total);
  });
}

// Every (tile, span) is a task of its own, in rounds of as many as there are slots; after a round
// each tile takes over its partial results in order.
void FlashAttention::run_spans(const Step& step) const {
  const std::int64_t tiles = step.tiles();
  std::vector<std::int64_t> task_begin = {0};
  for (std::int64_t t = 0; t < tiles; ++t) {
    const Spans spans(tile_at(step, step.find(t, op_.kv_heads)));
    task_begin.push_back(task_begin.back() + spans.end - spans.begin);
  }
  for (std::int64_t first = 0; first < task_begin.back(); first += step.layout.slots) {
    const std::int64_t last = std::min(task_begin.back(), first + step.layout.slots);
    step.context.pool.run(last - first, [&](std::int64_t index, int worker) {
      const auto next = std::upper_bound(task_begin.begin(), task_begin.end(), first + index);
      const std::int64_t t = next - task_begin.begin() - 1;
      const AttentionTile tile = tile_at(step, step.find(t, op_.kv_heads));
      const std::int64_t span = Spans(tile).begin + first + index - *(next - 1);
      isa_.attention_span(tile, span, step.scratch(worker), step.slot(index));
    });
    step.context.pool.run(tiles, [&](std::int64_t t, int) {
      const auto at = static_cast<std::size_t>(t);
      const AttentionTile tile = tile_at(step, step.find(t, op_.kv_heads));
      const std::int64_t rows = tile.tokens * tile.group;
      const std::int64_t from = std::max(first, task_begin[at]);
      const std::int64_t to = std::min(last, task_begin[at + 1]);
      for (std::int64_t task = from; task < to; ++task) {
        if (task == task_begin[at])
          std::copy_n(step.slot(task - first), attention_state_floats(rows, tile.head_dim),
                      step.total(t));
        else
          isa_.attention_merge(rows, tile.head_dim, step.total(t), step.slot(task - first));
      }
      if (from < to && to == task_begin[at + 1]) isa_.attention_finish(tile, step.total(t));
    });
  }
}

void FlashAttention::run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
                         StepContext& context) const {
  const Batch& batch = context.batch;
  const int threads = context.pool.size();
  const bool cached = op_.source == AttentionSource::kPagedCache;
  TENON_ASSERT(!cached || context.cache != nullptr);
  const StepSizes sizes{
      .tokens = batch.tokens(),
      .sequences = batch.sequences(),
      .encoder_tokens = batch.encoder_begin.empty() ? 0 : batch.encoder_begin.back()};
  Step step{.context = context,
            .queries = inputs[0],
            .out = outputs[0],
            .layout = Layout(op_, sizes, threads)};
  const Layout& layout = step.layout;
  TENON_ASSERT(layout.total_bytes <= static_cast<std::int64_t>(context.workspace.size()));
  step.slots = context.workspace.data() + layout.thread_bytes * threads;
  step.totals = step.slots + layout.slots * layout.state_bytes;
  step.tile_begin = {0};
  std::int64_t longest = 0;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const std::int64_t tokens = batch.token_begin[s + 1] - batch.token_begin[s];
    const std::int64_t tiles = (tokens + layout.tile_tokens - 1) / layout.tile_tokens;
    step.tile_begin.push_back(step.tile_begin.back() + tiles * op_.kv_heads);
    if (tokens > 0) longest = std::max<std::int64_t>(longest, batch.cached_tokens[s] + tokens);
  }
  if (!cached) {
    step.keys = &inputs[1];
    step.values = &inputs[2];
    std::byte* packed = step.totals + layout.totals * layout.state_bytes;
    step.packed_keys = reinterpret_cast<float*>(packed);
    step.packed_values = reinterpret_cast<float*>(packed + layout.packed_bytes);
    step.packed_table = reinterpret_cast<std::int32_t*>(packed + 2 * layout.packed_bytes);
    pack_keys(step);
    longest = 0;  // encoders have tiles enough
  }
  if (step.tiles() < layout.totals && longest > kAttentionSpan)
    run_spans(step);
  else
    run_whole_tiles(step);
}

}  // namespace

std::unique_ptr<CpuKernel> make_simd(const IsaKernels& isa, const Attention& op, Weights weights) {
  return std::make_unique<FlashAttention>(isa, op, weights);
}

std::int64_t attention_workspace(const Attention& op, const NodeView&, const StepSizes& limits,
                                 int threads) {
  return Layout(op, limits, threads).total_bytes;
}

}  // namespace tenon::cpu
