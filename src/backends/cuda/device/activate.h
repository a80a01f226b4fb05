// Activation functions of one fp32 number.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "ops/op_common.h"

namespace tenon::cuda {

__device__ inline float sigmoid(float x) { return 1.F / (1.F + expf(-x)); }

__device__ inline float activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kRelu: return x > 0.F ? x : 0.F;
    case ActivationKind::kRelu2: return x > 0.F ? x * x : 0.F;
    case ActivationKind::kSilu: return x * sigmoid(x);
    case ActivationKind::kGelu: return 0.5F * x * erfcf(-x * 0.70710678118654752F);
    case ActivationKind::kGeluTanh:
      return 0.5F * x * (1.F + tanhf(0.7978845608028654F * (x + 0.044715F * x * x * x)));
    case ActivationKind::kQuickGelu: return x * sigmoid(1.702F * x);
    case ActivationKind::kSigmoid: return sigmoid(x);
    case ActivationKind::kTanh: return tanhf(x);
    case ActivationKind::kIdentity: break;
  }
  return x;
}

/// Activated gates times ups.
__device__ inline float4 gated_four(ActivationKind kind, float4 gate, float4 up) {
  return make_float4(activate(kind, gate.x) * up.x, activate(kind, gate.y) * up.y,
                     activate(kind, gate.z) * up.z, activate(kind, gate.w) * up.w);
}

}  // namespace tenon::cuda
