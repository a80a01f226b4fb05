// The CUDA backend: programs are launches on one stream of one device. No CUDA header is needed to
// include this.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/tactics.h"

namespace tenon::cuda {

/// Devices that can be used; empty where `why` says what is missing (a driver, a device, a device
/// with compute capability 8.0 or more).
struct DeviceList {
  std::vector<std::string> names;  ///< by index
  std::string why;
};
DeviceList devices();

struct CudaOptions {
  int device = 0;
  int threads = 0;  ///< that pack weights; 0: physical cores, within the container's limit
  TacticOptions tactics;
};

/// Throws Error{kUnsupported} where the device cannot be used.
std::unique_ptr<Backend> make_backend(const CudaOptions& options);

}  // namespace tenon::cuda
