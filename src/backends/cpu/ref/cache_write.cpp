// CacheWrite, the specification: each token's key and value of each head at its place in the
// sequence's block table, rounded to the cache's element type.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/paged_cache.h"
#include "backends/cpu/ref/reference.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

class CacheWriteReference final : public CpuKernel {
 public:
  explicit CacheWriteReference(const CacheWrite& op) : op_(op) {}

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef>,
           StepContext& step) const override {
    TENON_ASSERT(step.cache != nullptr);
    const CacheLayer& layer = step.cache->layer(op_.cache_layer);
    const Batch& batch = step.batch;
    for (std::size_t s = 0; s < batch.slots.size(); ++s) {
      const auto table = step.cache->table(layer.group, static_cast<std::int64_t>(s));
      const std::int64_t first = batch.token_begin[s];
      const std::int64_t count = batch.token_begin[s + 1] - first;
      step.pool.run_ranges(count, 8, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t place = batch.cached_tokens[s] + i;
          const std::int32_t block = table[static_cast<std::size_t>(place / layer.block_tokens)];
          for (std::int64_t head = 0; head < op_.kv_heads; ++head) {
            const std::int64_t at = ((first + i) * op_.kv_heads + head) * op_.head_dim;
            write_token(layer, block, place % layer.block_tokens, head, inputs[0].f32() + at,
                        inputs[1].f32() + at);
          }
        }
      });
    }
  }

 private:
  CacheWrite op_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const CacheWrite& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return std::make_unique<CacheWriteReference>(op);
}

}  // namespace tenon::cpu
