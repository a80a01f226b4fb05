// Softcap, the specification.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backends/cpu/ref/elementwise.h"

namespace tenon::cpu {

std::unique_ptr<CpuKernel> make_reference(const Softcap& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return elementwise_reference<1>([cap = op.cap](float x) { return cap * std::tanh(x / cap); });
}

}  // namespace tenon::cpu
