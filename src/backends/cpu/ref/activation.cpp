// Activation, the specification.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "backends/cpu/ref/elementwise.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

float sigmoid(float x) { return 1.F / (1.F + std::exp(-x)); }

float gelu_tanh(float x) {
  constexpr float kRoot = 0.7978845608028654F;  // sqrt(2 / pi)
  return 0.5F * x * (1.F + std::tanh(kRoot * (x + 0.044715F * x * x * x)));
}

}  // namespace

float activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kIdentity: return x;
    case ActivationKind::kRelu: return x > 0.F ? x : 0.F;
    case ActivationKind::kRelu2: return x > 0.F ? x * x : 0.F;
    case ActivationKind::kSilu: return x * sigmoid(x);
    case ActivationKind::kGelu: return 0.5F * x * std::erfc(-x / std::numbers::sqrt2_v<float>);
    case ActivationKind::kGeluTanh: return gelu_tanh(x);
    case ActivationKind::kQuickGelu: return x * sigmoid(1.702F * x);
    case ActivationKind::kSigmoid: return sigmoid(x);
    case ActivationKind::kTanh: return std::tanh(x);
  }
  fail(ErrorCode::kInternal, "[activation] kind {} is not known", static_cast<int>(kind));
}

std::unique_ptr<CpuKernel> make_reference(const Activation& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return elementwise_reference<1>([kind = op.kind](float x) { return activate(kind, x); });
}

}  // namespace tenon::cpu
