// Which device a session runs on, and the backend for it. The one place outside src/backends/cuda
// that knows whether this build has CUDA.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/tactics.h"

namespace tenon {

struct DeviceChoice {
  std::string kind = "cpu";  ///< "cpu", "cuda"
  int index = 0;             ///< of the first rank's device; the others follow
  /// Why "auto" did not take a GPU; empty where it did, or where the device was named.
  std::string note;

  /// What "auto" stands for in the precision of activations and cache.
  DataType default_precision() const {
    return kind == "cuda" ? DataType::kBFloat16 : DataType::kFloat32;
  }
};

/// "auto" (a CUDA device where one can be used, else the CPU), "cpu", "cuda" or "cuda:N". Throws
/// Error{kInvalidArgument} for another name, Error{kUnsupported} where the named device is not
/// there, with the reason.
DeviceChoice choose_device(std::string_view wanted);

/// What one rank's backend is made of.
struct RankDevice {
  DeviceChoice device;
  int rank = 0;
  int threads = 0;
  bool pin = true;
  std::vector<int> cores;
  TacticOptions tactics;  ///< of devices whose kernels have several ways to do their work
};
std::unique_ptr<Backend> make_backend(const RankDevice& rank);

/// GPUs that "auto" may take, by index, or why there are none.
struct UsableGpus {
  std::vector<std::string> names;
  std::string why;
};
UsableGpus usable_gpus();

}  // namespace tenon
