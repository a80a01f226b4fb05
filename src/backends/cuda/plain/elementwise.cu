// Activation, GatedActivation, Add, Mul, Scale, Softcap and Cast, plain: a function of each element
// of one or two values.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cuda/device/activate.h"
#include "backends/cuda/device/element.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

struct Elements {
  const void* a = nullptr;
  const void* b = nullptr;
  void* out = nullptr;
  DataType a_type, b_type, out_type;
  std::int64_t count = 0;
};

template <class Function>
__global__ void __launch_bounds__(kThreads) map_kernel(Elements e, Function function) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; i < e.count;
       i += step) {
    const float b = e.b == nullptr ? 0.F : load(e.b, e.b_type, i);
    store(e.out, e.out_type, i, function(load(e.a, e.a_type, i), b));
  }
}

// Function: a struct with `__device__ float operator()(float a, float b) const`.
template <class Function>
class ElementwisePlain final : public CudaKernel {
 public:
  ElementwisePlain(const char* name, Function function) : name_(name), function_(function) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    Elements e;
    e.a = inputs[0].data;
    e.a_type = inputs[0].dtype;
    if (inputs.size() > 1) {
      e.b = inputs[1].data;
      e.b_type = inputs[1].dtype;
    }
    e.out = outputs[0].data;
    e.out_type = outputs[0].dtype;
    e.count = inputs[0].elements();
    if (e.count == 0) return;
    const std::int64_t blocks = std::min<std::int64_t>((e.count + kThreads - 1) / kThreads, 65536);
    map_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, step.stream>>>(e, function_);
    check_launch(name_);
  }

 private:
  const char* name_;
  Function function_;
};

template <class Function>
std::unique_ptr<CudaKernel> elementwise(const char* name, Function function) {
  return std::make_unique<ElementwisePlain<Function>>(name, function);
}

struct Activate {
  ActivationKind kind;
  __device__ float operator()(float x, float) const { return activate(kind, x); }
};
struct GatedActivate {
  ActivationKind kind;
  __device__ float operator()(float gate, float up) const { return activate(kind, gate) * up; }
};
struct AddTwo {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct MulTwo {
  __device__ float operator()(float a, float b) const { return a * b; }
};
struct ScaleBy {
  float factor;
  __device__ float operator()(float x, float) const { return x * factor; }
};
struct SoftcapAt {
  float cap;
  __device__ float operator()(float x, float) const { return cap * tanhf(x / cap); }
};
struct Same {
  __device__ float operator()(float x, float) const { return x; }
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const Activation& op, const NodeView&, Weights,
                                       LoadContext&) {
  return elementwise("activation_plain", Activate{op.kind});
}

std::unique_ptr<CudaKernel> make_plain(const GatedActivation& op, const NodeView&, Weights,
                                       LoadContext&) {
  return elementwise("gated_activation_plain", GatedActivate{op.kind});
}

std::unique_ptr<CudaKernel> make_plain(const Add&, const NodeView&, Weights, LoadContext&) {
  return elementwise("add_plain", AddTwo{});
}

std::unique_ptr<CudaKernel> make_plain(const Mul&, const NodeView&, Weights, LoadContext&) {
  return elementwise("mul_plain", MulTwo{});
}

std::unique_ptr<CudaKernel> make_plain(const Scale& op, const NodeView&, Weights, LoadContext&) {
  return elementwise("scale_plain", ScaleBy{op.factor});
}

std::unique_ptr<CudaKernel> make_plain(const Softcap& op, const NodeView&, Weights, LoadContext&) {
  return elementwise("softcap_plain", SoftcapAt{op.cap});
}

std::unique_ptr<CudaKernel> make_plain(const Cast&, const NodeView&, Weights, LoadContext&) {
  return elementwise("cast_plain", Same{});
}

}  // namespace tenon::cuda
