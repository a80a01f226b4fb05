// GatedActivation, the specification.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/elementwise.h"

namespace tenon::cpu {

std::unique_ptr<CpuKernel> make_reference(const GatedActivation& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return elementwise_reference<2>(
      [kind = op.kind](float gate, float up) { return activate(kind, gate) * up; });
}

}  // namespace tenon::cpu
