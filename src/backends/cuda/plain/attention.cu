// Attention, plain: a block for each head of each token; keys in runs of one a thread, softmax kept
// as a running maximum and sum, so that no row of scores is stored.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_arguments.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/device/reduce.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 128;  // and keys of one run

struct Values {
  const void* q = nullptr;
  const void* k = nullptr;  // kDirect, kCross
  const void* v = nullptr;
  void* out = nullptr;
  DataType q_type, kv_type, out_type;
};

// Keys of one sequence: where they are, and how many.
struct Keys {
  std::int64_t place = 0;  // of the query
  std::int64_t count = 0;
  std::int64_t first = 0;  // kDirect, kCross: row of k and v
  std::int32_t slot = 0;
};

__device__ Keys keys_of(const AttentionArguments& a, const StepView& view, std::int32_t token,
                        std::int32_t s) {
  const std::int32_t begin = view.token_begin[s];
  const std::int32_t tokens = view.token_begin[s + 1] - begin;
  Keys out;
  out.place = token - begin;
  out.slot = view.slots[s];
  if (a.source == AttentionSource::kPagedCache) {
    out.place += view.cached_tokens[s];
    out.count = view.cached_tokens[s] + tokens;
  } else if (a.source == AttentionSource::kDirect) {
    out.first = begin;
    out.count = tokens;
  } else {
    out.place += view.cached_tokens[s];
    out.first = view.encoder_begin[s];
    out.count = view.encoder_begin[s + 1] - view.encoder_begin[s];
  }
  return out;
}

// Row of key and value `place`, in units of head_dim elements.
__device__ std::int64_t row_of(const AttentionArguments& a, const Keys& keys, std::int64_t place,
                               std::int32_t kv_head) {
  if (a.source == AttentionSource::kPagedCache) return a.layer.row_of(keys.slot, place, kv_head);
  return (keys.first + place) * a.kv_heads + kv_head;
}

__device__ float scale_at(const float* scales, const AttentionArguments& a, std::int64_t row) {
  return a.source == AttentionSource::kPagedCache && a.layer.dtype == DataType::kInt8 ? scales[row]
                                                                                      : 1.F;
}

__global__ void __launch_bounds__(kThreads)
    attention_kernel(AttentionArguments a, Values values, StepView view) {
  extern __shared__ float memory[];
  float* const q = memory;                  // [head_dim]
  float* const sums = memory + a.head_dim;  // [head_dim]
  __shared__ float weights[kThreads];
  __shared__ std::int64_t rows[kThreads];
  __shared__ float partial[kThreads / 32];
  const auto token = static_cast<std::int32_t>(blockIdx.x);
  const auto head = static_cast<std::int32_t>(blockIdx.y);
  const std::int32_t s = view.token_sequence[token];
  const std::int64_t at = (static_cast<std::int64_t>(token) * a.heads + head) * a.head_dim;
  for (std::int32_t d = threadIdx.x; d < a.head_dim; d += kThreads) {
    q[d] = load(values.q, values.q_type, at + d);
    sums[d] = 0.F;
    if (s < 0) store(values.out, values.out_type, at + d, 0.F);
  }
  if (s < 0) return;  // padding: the whole block
  __syncthreads();
  const Keys keys = keys_of(a, view, token, s);
  const KeyRange range = key_range(a, keys.place, keys.count);
  const std::int32_t kv_head = head / (a.heads / a.kv_heads);
  float largest = -INFINITY;
  float total = 0.F;
  for (std::int64_t first = range.begin; first < range.end; first += kThreads) {
    const std::int64_t place = first + threadIdx.x;
    float score = -INFINITY;
    if (place < range.end) {
      const std::int64_t row = row_of(a, keys, place, kv_head);
      float dot = 0.F;
      for (std::int32_t d = 0; d < a.head_dim; ++d)
        dot += q[d] * load(values.k, values.kv_type, row * a.head_dim + d);
      dot *= scale_at(a.layer.key_scales, a, row);
      score = attention_score(a, dot, head, place - keys.place);
      rows[threadIdx.x] = row;
    }
    const float before = largest;
    largest = fmaxf(largest, block_max<kThreads>(score, partial));
    const float shrink = expf(before - largest);  // 0 in the first run
    const float weight = place < range.end ? expf(score - largest) : 0.F;
    weights[threadIdx.x] = weight;
    total = total * shrink + block_sum<kThreads>(weight, partial);  // a barrier: weights are there
    const auto count = static_cast<std::int32_t>(
        range.end - first < kThreads ? range.end - first : std::int64_t{kThreads});
    for (std::int32_t d = threadIdx.x; d < a.head_dim; d += kThreads) {
      float sum = sums[d] * shrink;
      for (std::int32_t i = 0; i < count; ++i)
        sum += weights[i] * (load(values.v, values.kv_type, rows[i] * a.head_dim + d) *
                             scale_at(a.layer.value_scales, a, rows[i]));
      sums[d] = sum;
    }
    __syncthreads();  // before weights and rows are written again
  }
  for (std::int32_t d = threadIdx.x; d < a.head_dim; d += kThreads)
    store(values.out, values.out_type, at + d, total > 0.F ? sums[d] / total : 0.F);
}

class AttentionPlain final : public CudaKernel {
 public:
  AttentionPlain(const Attention& op, const AttentionArguments& arguments)
      : op_(op), arguments_(arguments) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    if (inputs[0].rows == 0) return;
    AttentionArguments a = arguments_;
    Values values;
    values.q = inputs[0].data;
    values.q_type = inputs[0].dtype;
    values.out = outputs[0].data;
    values.out_type = outputs[0].dtype;
    if (op_.source == AttentionSource::kPagedCache) {
      a.layer = step.cache->layer(op_.cache_layer);
      values.k = a.layer.keys;
      values.v = a.layer.values;
      values.kv_type = a.layer.dtype;
    } else {
      values.k = inputs[1].data;
      values.v = inputs[2].data;
      values.kv_type = inputs[1].dtype;
    }
    const dim3 grid(static_cast<unsigned>(inputs[0].rows), static_cast<unsigned>(a.heads));
    const std::size_t shared = 2 * static_cast<std::size_t>(a.head_dim) * sizeof(float);
    attention_kernel<<<grid, kThreads, shared, step.stream>>>(a, values, step.view);
    check_launch("attention_plain");
  }

 private:
  Attention op_;
  AttentionArguments arguments_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Attention& op, const NodeView& node, Weights weights,
                                       LoadContext& load) {
  return std::make_unique<AttentionPlain>(op, upload_attention(op, node, weights, load));
}

}  // namespace tenon::cuda
