// Choosing a kernel: the first of an op's ordered list that policy and node allow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda/cuda_kernel.h"

namespace tenon::cuda {

/// The node's types (as stored) and weights, out of its program.
NodeView view_of(const ProgramDescription& program, std::span<const DataType> storage,
                 const ProgramNode& node);

/// One kernel found for one node, ready to be planned or made.
struct ChosenKernel {
  KernelChoice choice;
  bool recordable = true;
  std::vector<PackedNeed> needs;
  std::int64_t planned_workspace = 0;
  std::function<std::unique_ptr<CudaKernel>(Weights, LoadContext&)> make;
};

/// Throws Error{kUnsupported} with every reason where no kernel fits. `storage`: storage_types().
ChosenKernel choose_kernel(const ProgramDescription& program, std::span<const DataType> storage,
                           const ProgramNode& node, const DeviceFeatures& features);

}  // namespace tenon::cuda
