// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_tensor_core.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/attention_arguments.h"
#include "backends/cuda/attention_launch.h"

namespace tenon::cuda {
namespace {

const PackedNeed kArrivals = {"attention arrivals", kMostDecodeBlocks * 4};

bool is_16_bit(DataType type) { return type == DataType::kBFloat16 || type == DataType::kFloat16; }
bool is_code(DataType type) { return type == DataType::kInt8 || type == DataType::kFloat8E4M3; }

enum class Form : std::uint8_t { kHopper, kMma, kMmaRows };

class AttentionTensorCore final : public CudaKernel {
 public:
  AttentionTensorCore(const Attention& op, Form form, const AttentionArguments& arguments,
                      std::byte* arrivals)
      : op_(op), form_(form), arguments_(arguments), arrivals_(arrivals) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    if (inputs[0].rows == 0) return;
    AttentionLaunch l;
    l.arguments = arguments_;
    l.arguments.layer = step.cache->layer(op_.cache_layer);
    l.view = step.view;
    l.q = inputs[0].data;
    l.out = outputs[0].data;
    l.out_type = outputs[0].dtype;
    l.sequences = static_cast<std::int32_t>(step.sizes.sequences);
    l.longest_chunk = static_cast<std::int32_t>(step.longest_chunk);
    l.multiprocessors = step.features->multiprocessors;
    l.workspace = step.workspace;
    l.arrivals = reinterpret_cast<std::uint32_t*>(arrivals_);
    l.early = step.features->capability >= 90;
    l.stream = step.stream;
    if (form_ != Form::kMmaRows) {
      launch_attention_decode(l);
      l.first_sequence = static_cast<std::int32_t>(step.decodes);
      l.fewest_tokens = 2;
    }
    form_ == Form::kHopper ? launch_attention_hopper(l) : launch_attention_prefill(l);
  }

  std::int64_t workspace_bytes(const StepSizes&) const override {
    return form_ == Form::kMmaRows ? 0 : decode_workspace(op_.heads, op_.kv_heads, op_.head_dim);
  }

 private:
  Attention op_;
  Form form_;
  AttentionArguments arguments_;
  std::byte* arrivals_;
};

std::unique_ptr<CudaKernel> make(const Attention& op, const NodeView& node, const Weights& weights,
                                 LoadContext& load, Form form) {
  const AttentionArguments arguments = upload_attention(op, node, weights, load);
  std::byte* arrivals = nullptr;
  if (form != Form::kMmaRows)
    arrivals = load.get(kArrivals.key, kArrivals.bytes, [](std::int64_t, std::span<std::byte> out) {
      std::fill(out.begin(), out.end(), std::byte{0});
    });
  return std::make_unique<AttentionTensorCore>(op, form, arguments, arrivals);
}

}  // namespace

std::string reject_attention_mma_rows(const Attention& op, const NodeView& node,
                                      const DeviceFeatures& features) {
  if (features.capability < 80)
    return fmt::format("needs compute capability 8.0; this is {}.{}", features.capability / 10,
                       features.capability % 10);
  if (op.source != AttentionSource::kPagedCache) return "keys do not lie in the paged cache";
  const DataType cached = node.cache.dtype;
  const DataType queries = node.inputs.at(0).dtype;
  if (!is_16_bit(cached) && !is_code(cached))
    return fmt::format("the cache holds {}, neither 16 nor 8 bits", to_string(cached));
  const DataType wanted = is_code(cached) ? DataType::kBFloat16 : cached;
  if (queries != wanted)
    return fmt::format("queries are {}; for a cache of {} they must be {}", to_string(queries),
                       to_string(cached), to_string(wanted));
  if (!is_fast_head_dim(op.head_dim))
    return fmt::format("head_dim {} is none of 64, 80, 96, 128, 256", op.head_dim);
  return {};
}

std::string reject_attention_mma(const Attention& op, const NodeView& node,
                                 const DeviceFeatures& features) {
  if (std::string reason = reject_attention_mma_rows(op, node, features); !reason.empty())
    return reason;
  const std::int64_t bytes =
      decode_shared_bytes(node.cache.dtype, op.heads, op.kv_heads, op.head_dim);
  if (bytes > features.shared_bytes)
    return fmt::format("decodes need {} bytes of shared memory, the device has {}", bytes,
                       features.shared_bytes);
  return {};
}

std::string reject_attention_hopper(const Attention& op, const NodeView& node,
                                    const DeviceFeatures& features) {
  if (!features.hopper()) return "needs compute capability 9.0";
  if (std::string reason = reject_attention_mma(op, node, features); !reason.empty()) return reason;
  const DataType cached = node.cache.dtype;
  const std::int64_t keys = hopper_tile_keys(cached, op.head_dim);
  if (keys == 0)
    return fmt::format("head_dim {} over a cache of {} is none of 64, 128{}", op.head_dim,
                       to_string(cached), is_code(cached) ? "" : ", 256");
  const std::int64_t block = node.cache.tokens_per_block;
  if (block < 8 || keys % block != 0)
    return fmt::format("blocks of {} tokens are none of 8, 16, 32, 64{}", block,
                       keys == 128 ? ", 128" : fmt::format(" (head_dim {})", op.head_dim));
  return {};
}

std::unique_ptr<CudaKernel> make_attention_hopper(const Attention& op, const NodeView& node,
                                                  Weights weights, LoadContext& load) {
  return make(op, node, weights, load, Form::kHopper);
}
std::unique_ptr<CudaKernel> make_attention_mma(const Attention& op, const NodeView& node,
                                               Weights weights, LoadContext& load) {
  return make(op, node, weights, load, Form::kMma);
}
std::unique_ptr<CudaKernel> make_attention_mma_rows(const Attention& op, const NodeView& node,
                                                    Weights weights, LoadContext& load) {
  return make(op, node, weights, load, Form::kMmaRows);
}

std::vector<PackedNeed> attention_split_needs(const Attention& op, const NodeView& node) {
  std::vector<PackedNeed> needs = attention_needs(op, node);
  needs.push_back(kArrivals);
  return needs;
}

std::int64_t attention_split_workspace(const Attention& op, const NodeView&, const StepSizes&) {
  return decode_workspace(op.heads, op.kv_heads, op.head_dim);
}

}  // namespace tenon::cuda
