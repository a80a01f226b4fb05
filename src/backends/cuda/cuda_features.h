// What the device, and the libraries found on this machine, can do.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace tenon::cuda {

struct DeviceFeatures {
  int device = 0;      ///< index the runtime knows it by
  int capability = 0;  ///< 90 for compute capability 9.0
  int multiprocessors = 0;
  std::int64_t shared_bytes = 0;  ///< a block may have, once asked for
  std::int64_t l2_bytes = 0;
  bool cublaslt = false;         ///< found at run time
  std::string cublaslt_missing;  ///< why not
  /// Whether it takes scales of rows into fp8 products (MatmulShape::scaled), by their type.
  bool scaled_to_bfloat16 = false;
  bool scaled_to_float32 = false;
  std::string scaled_missing;  ///< why not, where one of them is false

  /// Machine code for sm_90a runs on compute capability 9.0 alone, not on what comes after.
  bool hopper() const { return capability == 90; }

  static DeviceFeatures detect(int device);
  /// "sm_90, 132 multiprocessors, cuBLASLt 13.1"
  std::string describe() const;
};

}  // namespace tenon::cuda
