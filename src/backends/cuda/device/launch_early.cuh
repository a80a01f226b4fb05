// Programmatic launches (compute capability 9.0 and later): a kernel starts while the one before it
// in the stream still runs, reads what no kernel writes (weights), and waits for the one before to
// end before it touches anything else. Every kernel launched so must wait, so that what an even
// earlier one wrote is there too.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cuda_api.h"

namespace tenon::cuda {

#ifdef __CUDACC__

/// All that earlier kernels wrote is visible from here on.
__device__ __forceinline__ void wait_for_inputs() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The next kernel may start as soon as all blocks of this one run.
__device__ __forceinline__ void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// What a kernel may have of shared memory without asking.
inline constexpr std::size_t kStaticSharedBytes = 48 * 1024;

/// `early`: false where the device knows no such launches.
template <class... Parameters, class... Arguments>
void launch_early(void (*kernel)(Parameters...), const char* name, dim3 grid, unsigned threads,
                  std::size_t shared_bytes, bool early, cudaStream_t stream,
                  const Arguments&... arguments) {
  if (shared_bytes > kStaticSharedBytes)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          name);
  // A multiprocessor parts its memory anew only while nothing runs there: kernels that overlap must
  // want the same.
  if (early)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared),
          name);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = early ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), name);
}

#endif  // __CUDACC__

}  // namespace tenon::cuda
