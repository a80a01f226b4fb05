// Add, the specification.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/elementwise.h"

namespace tenon::cpu {

std::unique_ptr<CpuKernel> make_reference(const Add&, const NodeView&, Weights, ThreadPool&) {
  return elementwise_reference<2>([](float a, float b) { return a + b; });
}

}  // namespace tenon::cpu
