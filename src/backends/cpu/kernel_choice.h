// Choosing a kernel: the first of an op's ordered list that policy and node allow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/cpu_kernel.h"

namespace tenon::cpu {

/// The node's types and weights, out of its program.
NodeView view_of(const ProgramDescription& program, const ProgramNode& node);

/// One kernel found for one node, ready to be planned or made.
struct ChosenKernel {
  KernelChoice choice;
  std::int64_t planned_bytes = 0;
  std::int64_t planned_workspace = 0;
  std::function<std::unique_ptr<CpuKernel>(std::vector<QuantizedTensor>, ThreadPool&)> make;
};

/// Throws Error{kUnsupported} with every reason where no kernel fits.
ChosenKernel choose_kernel(const ProgramDescription& program, const ProgramNode& node,
                           const CpuFeatures& features, int threads);

}  // namespace tenon::cpu
