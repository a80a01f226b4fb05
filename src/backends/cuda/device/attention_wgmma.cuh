// Hopper's warpgroup products, asynchronous tile copies and barriers in shared memory, as far as
// attention needs them. Device code for sm_90a alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <type_traits>

#include "backends/cuda/device/attention_mma.cuh"

namespace tenon::cuda {

// --- barriers of threads and copies (mbarrier) ---

__device__ inline void init_barrier(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes initialised barriers known to the copy engine.
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// One arrival, and `bytes` more to come from copies.
__device__ inline void arrive_expecting(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/// Returns once the phase of this parity has completed.
__device__ inline void wait_for(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again_%=: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again_%=;\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
__device__ inline void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
/// One box of a three-dimensional tensor map to shared memory; places outside are zeros.
__device__ inline void copy_box(std::uint32_t to, const CUtensorMap& map, int x, int y, int z,
                                std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %4}], [%5];" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier)
      : "memory");
}

// --- barriers of some warpgroups, by number ---

__device__ inline void sync_warps(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
__device__ inline void arrive_warps(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
/// Ordinary writes to shared memory before it are seen by products and copies after it.
__device__ inline void fence_shared_writes() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
template <int kCount>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// --- warpgroup products ---

/// Operand in shared memory: rows of 128 bytes whose 16-byte pieces are swizzled (piece ^ row % 8),
/// eight rows to 1024 bytes. `wide`: bytes from one 64-element column of rows to the next, where
/// the operand is read across rows (values).
__device__ inline std::uint64_t operand(std::uint32_t address, int wide) {
  return static_cast<std::uint64_t>((address & 0x3FFFF) >> 4) |
         static_cast<std::uint64_t>(wide >> 4) << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kLeft>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// clang-format off
#define TENON_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TENON_F16(d, i) TENON_F4(d, i), TENON_F4(d, i + 4), TENON_F4(d, i + 8), TENON_F4(d, i + 12)
#define TENON_F32(d) TENON_F16(d, 0), TENON_F16(d, 16)
#define TENON_F64(d) TENON_F32(d), TENON_F16(d, 32), TENON_F16(d, 48)
#define TENON_SCORES_128(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63" "}, " \
      "%64, %65, p, 1, 1, 0, 0;\n}" \
      : TENON_F64(d) : "l"(a), "l"(b), "r"(adds))
#define TENON_VALUES_128(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63" "}, " \
      "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}" \
      : TENON_F64(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds))
#define TENON_VALUES_64(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31" "}, " \
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}" \
      : TENON_F32(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds))
// clang-format on

/// Queues d (+)= a b^T: a [64, 16], b [128, 16], both in shared memory. Lanes hold of d what they
/// hold of multiply()'s: d[4 n + i] is fragment n's element i.
template <class T>
__device__ inline void multiply_scores(float (&d)[64], std::uint64_t a, std::uint64_t b, int adds) {
  if constexpr (std::is_same_v<T, __half>)
    TENON_SCORES_128("f16");
  else
    TENON_SCORES_128("bf16");
}
/// Queues d (+)= a b: a [64, 16] in registers, b [16, 128 or 64] in shared memory.
template <class T>
__device__ inline void multiply_values(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                                       int adds) {
  if constexpr (std::is_same_v<T, __half>)
    TENON_VALUES_128("f16");
  else
    TENON_VALUES_128("bf16");
}
template <class T>
__device__ inline void multiply_values(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                                       int adds) {
  if constexpr (std::is_same_v<T, __half>)
    TENON_VALUES_64("f16");
  else
    TENON_VALUES_64("bf16");
}

#undef TENON_SCORES_128
#undef TENON_VALUES_128
#undef TENON_VALUES_64
#undef TENON_F64
#undef TENON_F32
#undef TENON_F16
#undef TENON_F4

}  // namespace tenon::cuda
