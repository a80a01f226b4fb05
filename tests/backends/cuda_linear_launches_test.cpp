// How many launches a decoder layer of the Llama family takes for a decode step: each costs about
// as much as reading some megabytes.
// SPDX-License-Identifier: Apache-2.0
#include "cpu_linear_support.h"
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kWidth = 256;
constexpr std::int64_t kHeads = 4;
constexpr std::int64_t kKvHeads = 2;
constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kInner = 512;

int kernels_recorded(cudaStream_t stream, const std::function<void()>& launches) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "test");
  launches();
  check(cudaStreamEndCapture(stream, &graph), "test");
  std::size_t count = 0;
  check(cudaGraphGetNodes(graph, nullptr, &count), "test");
  cudaGraphDestroy(graph);
  return static_cast<int>(count);
}

// Launches of the first kernel of the list that serves the node, values in bfloat16.
template <class OpT>
int launches_with(const OpT& op, const OpCase& c, const std::vector<QuantizedTensor>& weights,
                  TestCache* cache) {
  const NodeView view = device_view(op, c, DataType::kBFloat16, weights);
  for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
    if (!entry.reject(op, view, test_features()).empty()) continue;
    DeviceStep step(c.batch, cache);
    std::vector<PackedNeed> needs;
    if (entry.needs != nullptr) needs = entry.needs(op, view);
    LoadContext load(planned_bytes(needs), test_features(), test_pool());
    const auto kernel = entry.make(op, view, weights, load);
    const DeviceBuffer memory = load.finish();
    const DeviceBuffer workspace(aligned(kernel->workspace_bytes(step.sizes())), "test");
    step.context().workspace = workspace.data();
    std::vector<DeviceTensor> values;
    std::vector<TensorRef> inputs;
    std::vector<TensorRef> outputs;
    values.reserve(c.inputs.size() + view.outputs.size());
    for (const Tensor& input : c.inputs) {
      values.emplace_back(input, DataType::kBFloat16);
      inputs.push_back(values.back().ref());
    }
    if (c.reads_cache) inputs.push_back({});
    for (const ValueType& type : view.outputs) {
      if (type.kind == ValueKind::kCache) continue;
      values.emplace_back(type.dtype, Shape{type.shape[0].extent, type.shape[1].extent});
      outputs.push_back(values.back().ref());
    }
    return kernels_recorded(step.context().stream,
                            [&] { kernel->launch(inputs, outputs, step.context()); });
  }
  ADD_FAILURE() << OpT::kName << ": no kernel";
  return 0;
}

// The case's weights: matrices, then vectors, in bfloat16.
template <class OpT>
int launches_of(const OpT& op, OpCase c, const std::vector<Shape>& shapes,
                TestCache* cache = nullptr) {
  std::vector<QuantizedTensor> weights;
  for (const Shape& shape : shapes) {
    c.weights.push_back(random_tensor(shape, 1));
    QuantizedTensor weight =
        QuantizedTensor::empty(QuantSpec::floating(DataType::kBFloat16), shape, "test");
    weights.push_back(std::move(weight));
  }
  return launches_with(op, c, weights, cache);
}

TEST(CudaLinearLaunches, DecoderLayerTakesSevenBesideAttention) {
  TENON_NEEDS_GPU();
  const Batch batch = make_batch({40}, {1});
  const auto of_width = [&](std::int64_t width) {
    OpCase c;
    c.inputs = {random_tensor({1, width}, 5)};
    c.batch = batch;
    return c;
  };
  TestCache cache(DataType::kBFloat16, kKvHeads, kHeadDim, 16, {41});
  constexpr std::int64_t kQ = kHeads * kHeadDim;
  constexpr std::int64_t kKv = kKvHeads * kHeadDim;

  OpCase sums = of_width(kWidth);
  sums.inputs.push_back(sums.inputs[0]);
  const int norm = launches_of(AddNorm{}, sums, {Shape{kWidth}});
  EXPECT_EQ(norm, 1);
  const int qkv = launches_of(Linear{.segments = 3}, of_width(kWidth),
                              {{kQ, kWidth}, {kKv, kWidth}, {kKv, kWidth}});
  EXPECT_EQ(qkv, 1);
  OpCase rotated = of_width(kQ);
  rotated.inputs = {random_tensor({1, kQ}, 1), random_tensor({1, kKv}, 2),
                    random_tensor({1, kKv}, 3), int_tensor({40})};
  RopeCacheWrite write;
  write.rope = {.heads = kHeads, .head_dim = kHeadDim, .rotary_dim = kHeadDim};
  write.rope.inv_freq.assign(kHeadDim / 2, 0.5F);
  write.write = {.kv_heads = kKvHeads, .head_dim = kHeadDim};
  const int rope = launches_of(write, rotated, {}, &cache);
  EXPECT_EQ(rope, 1);
  OpCase attending = of_width(kQ);
  attending.reads_cache = true;
  attending.cache = cache.get();
  const int attention = launches_of(
      Attention{.heads = kHeads, .kv_heads = kKvHeads, .head_dim = kHeadDim, .scale = 0.125F},
      attending, {}, &cache);
  EXPECT_LE(attention, 2);
  const int o = launches_of(Linear{}, of_width(kQ), {{kWidth, kQ}});
  const int gated =
      launches_of(GatedLinear{}, of_width(kWidth), {{kInner, kWidth}, {kInner, kWidth}});
  const int down = launches_of(Linear{}, of_width(kInner), {{kWidth, kInner}});
  EXPECT_EQ(norm + qkv + rope + o + norm + gated + down, 7);
}

}  // namespace
}  // namespace tenon::cuda
