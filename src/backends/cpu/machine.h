// What the machine, or the container around the process, grants.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/backend.h"

namespace tenon::cpu {

struct MachineMemory {
  std::int64_t total = 0;  ///< of the machine, or the control group's limit where that is less
  std::int64_t free = 0;   ///< available now, within the same limits
};

MachineMemory machine_memory();

/// "Intel(R) Xeon(R) Processor"
std::string processor_name();

}  // namespace tenon::cpu
