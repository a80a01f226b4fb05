// The CPU backend: programs are lists of kernel calls on one thread pool.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"

namespace tenon::cpu {

struct CpuOptions {
  int threads = 0;  ///< 0: physical cores, within the container's limit
  bool pin = true;
  std::vector<int> cores;  ///< to pin to (ranks of one process share the machine); empty: all
};

std::unique_ptr<Backend> make_backend(const CpuOptions& options);

}  // namespace tenon::cpu
