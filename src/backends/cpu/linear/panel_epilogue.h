// What happens to finished sums: a bias, and for gated pairs the activation and the product.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/linear/panel_codes.h"

namespace tenon::cpu {
namespace {

/// e^x within 2 units in the last place: x = n ln 2 + r, a polynomial of degree 6 in r, times 2^n.
TENON_INLINE Vec exponential(Vec x) {
  x = max(set1(-87.0F), min(set1(88.0F), x));
  const Vec n = round(mul(x, set1(1.44269504F)));
  Vec r = fma(n, set1(-0.693359375F), x);  // ln 2 in two parts, the first with few bits
  r = fma(n, set1(2.12194440e-4F), r);
  Vec p = set1(1.0F / 720);
  p = fma(p, r, set1(1.0F / 120));
  p = fma(p, r, set1(1.0F / 24));
  p = fma(p, r, set1(1.0F / 6));
  p = fma(p, r, set1(0.5F));
  p = fma(p, r, set1(1.0F));
  p = fma(p, r, set1(1.0F));
  return scale_by_power(p, n);
}

TENON_INLINE Vec sigmoid(Vec x) {
  const Vec one = set1(1.0F);
  return div(one, add(one, exponential(sub(zero(), x))));
}

TENON_INLINE Vec hyperbolic_tangent(Vec x) {
  const Vec one = set1(1.0F);
  return sub(one, div(set1(2.0F), add(one, exponential(add(x, x)))));
}

TENON_INLINE Vec gelu_erf(Vec x) {
  float lanes[kPanelRows];
  store(lanes, x);
  for (float& v : lanes) v = 0.5F * v * (1.0F + __builtin_erff(v * 0.707106781F));
  return load(lanes);
}

TENON_INLINE Vec activate(ActivationKind kind, Vec x) {
  switch (kind) {
    case ActivationKind::kIdentity: return x;
    case ActivationKind::kRelu: return max(zero(), x);
    case ActivationKind::kRelu2: {
      const Vec positive = max(zero(), x);
      return mul(positive, positive);
    }
    case ActivationKind::kSilu: return mul(x, sigmoid(x));
    case ActivationKind::kGelu: return gelu_erf(x);
    case ActivationKind::kGeluTanh: {
      const Vec cube = mul(mul(x, x), x);
      const Vec inner = mul(set1(0.797884561F), fma(set1(0.044715F), cube, x));
      return mul(mul(set1(0.5F), x), add(set1(1.0F), hyperbolic_tangent(inner)));
    }
    case ActivationKind::kQuickGelu: return mul(x, sigmoid(mul(set1(1.702F), x)));
    case ActivationKind::kSigmoid: return sigmoid(x);
    case ActivationKind::kTanh: return hyperbolic_tangent(x);
  }
  return x;
}

TENON_INLINE void store_part(float* out, Vec x, std::int64_t count) {
  if (count >= kPanelRows) {
    store(out, x);
    return;
  }
  float lanes[kPanelRows];
  store(lanes, x);
  for (std::int64_t i = 0; i < count; ++i) out[i] = lanes[i];
}

/// `sums` and `bias` are readable up to whole vectors.
void store_sums(const float* sums, const float* bias, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kPanelRows) {
    Vec x = load(sums + i);
    if (bias != nullptr) x = add(x, load(bias + i));
    store_part(out + i, x, count - i);
  }
}

template <ActivationKind kKind>
void gate_as(const GateCall& call) {
  for (std::int64_t i = 0; i < call.count; i += kPanelRows) {
    Vec gate = load(call.gate + i);
    Vec up = load(call.up + i);
    if (call.gate_bias != nullptr) gate = add(gate, load(call.gate_bias + i));
    if (call.up_bias != nullptr) up = add(up, load(call.up_bias + i));
    store_part(call.out + i, mul(activate(kKind, gate), up), call.count - i);
  }
}

void gate(const GateCall& call) {
  switch (call.kind) {
    case ActivationKind::kIdentity: return gate_as<ActivationKind::kIdentity>(call);
    case ActivationKind::kRelu: return gate_as<ActivationKind::kRelu>(call);
    case ActivationKind::kRelu2: return gate_as<ActivationKind::kRelu2>(call);
    case ActivationKind::kSilu: return gate_as<ActivationKind::kSilu>(call);
    case ActivationKind::kGelu: return gate_as<ActivationKind::kGelu>(call);
    case ActivationKind::kGeluTanh: return gate_as<ActivationKind::kGeluTanh>(call);
    case ActivationKind::kQuickGelu: return gate_as<ActivationKind::kQuickGelu>(call);
    case ActivationKind::kSigmoid: return gate_as<ActivationKind::kSigmoid>(call);
    case ActivationKind::kTanh: return gate_as<ActivationKind::kTanh>(call);
  }
}

}  // namespace
}  // namespace tenon::cpu
