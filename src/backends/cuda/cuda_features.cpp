// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_features.h"

#include <fmt/core.h>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/cuda_api.h"
#include "tenon/error.h"

namespace tenon::cuda {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "device attribute");
  return value;
}

// By asking for an algorithm, not by the version alone. A library that cannot be asked now has
// none.
void detect_scaled_products(DeviceFeatures& features) {
  features.scaled_missing = "no cuBLASLt: " + features.cublaslt_missing;
  if (!features.cublaslt) return;
  features.scaled_missing.clear();
  try {
    const DeviceGuard guard(features.device);
    CublasLt blas(nullptr);  // multiplies nothing: it needs no workspace
    const auto has = [&](DataType output) {
      const std::string missing = blas.scaled_missing(output, features.capability);
      if (!missing.empty()) features.scaled_missing = missing;
      return missing.empty();
    };
    features.scaled_to_bfloat16 = has(DataType::kBFloat16);
    features.scaled_to_float32 = has(DataType::kFloat32);
  } catch (const Error& error) {
    features.scaled_to_bfloat16 = features.scaled_to_float32 = false;
    features.scaled_missing = error.what();
  }
}

}  // namespace

DeviceFeatures DeviceFeatures::detect(int device) {
  DeviceFeatures out;
  out.device = device;
  out.capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
                   attribute(cudaDevAttrComputeCapabilityMinor, device);
  out.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, device);
  out.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  out.l2_bytes = attribute(cudaDevAttrL2CacheSize, device);
  const CublasLtLibrary& library = cublaslt_library();
  out.cublaslt = library.missing.empty();
  out.cublaslt_missing = library.missing;
  detect_scaled_products(out);
  return out;
}

std::string DeviceFeatures::describe() const {
  return fmt::format("sm_{}, {} multiprocessors, {}", capability, multiprocessors,
                     cublaslt ? cublaslt_library().version : "no cuBLASLt: " + cublaslt_missing);
}

}  // namespace tenon::cuda
