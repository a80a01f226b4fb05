// What the policy says of a kernel, and the report of what was chosen: the same for every backend.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace tenon {

/// 3: float32, 2: the 16-bit kinds, 1: coarser ones.
int precision_rank(DataType type);

/// Why the policy forbids a kernel; empty where it does not. `precise_enough`: a backend's own view
/// of whether rounding to `activation` is within what the policy allows.
std::string reject_by_policy(const KernelPolicy& policy, DataType activation, bool precise_enough,
                             bool row_invariant);

/// Error{kUnsupported}: no kernel of the backend ("CPU", "CUDA") serves the node, with the reason
/// of each.
[[noreturn]] void fail_unserved(std::string_view backend, const ProgramDescription& program,
                                const ProgramNode& node, const KernelChoice& choice);

/// TENON_LOG=dispatch: what was chosen for each node and why not those before it; lines that are
/// the same for many layers appear once, with their count. `storage`: types as the backend holds
/// the values, where they are not the program's own.
void log_choices(const ProgramDescription& program, std::span<const KernelChoice> choices,
                 std::span<const DataType> storage = {});

/// One a node, for who has to tell which one failed: "[linear] \"layers.0.attention.qkv\", kernel
/// linear_amx_bf16".
std::vector<std::string> node_labels(const ProgramDescription& program,
                                     std::span<const KernelChoice> choices);

}  // namespace tenon
