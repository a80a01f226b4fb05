// Scale, the specification.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/elementwise.h"

namespace tenon::cpu {

std::unique_ptr<CpuKernel> make_reference(const Scale& op, const NodeView&, Weights, ThreadPool&) {
  return elementwise_reference<1>([factor = op.factor](float x) { return x * factor; });
}

}  // namespace tenon::cpu
