// Hopper's warpgroup products as attention needs them. Device code for sm_90a alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "backends/cuda/device/attention_mma.cuh"
#include "backends/cuda/device/hopper.cuh"

namespace tenon::cuda {

// clang-format off
#define TENON_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TENON_F16(d, i) TENON_F4(d, i), TENON_F4(d, i + 4), TENON_F4(d, i + 8), TENON_F4(d, i + 12)
#define TENON_F32(d) TENON_F16(d, 0), TENON_F16(d, 16)
#define TENON_F64(d) TENON_F32(d), TENON_F16(d, 32), TENON_F16(d, 48)
#define TENON_F128(d) TENON_F64(d), TENON_F16(d, 64), TENON_F16(d, 80), TENON_F16(d, 96), TENON_F16(d, 112)
#define TENON_D32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TENON_D64 TENON_D32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TENON_D128 TENON_D64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define TENON_SCORES_64(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" TENON_D32 "}, " \
      "%32, %33, p, 1, 1, 0, 0;\n}" \
      : TENON_F32(d) : "l"(a), "l"(b), "r"(adds))
#define TENON_SCORES_128(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" TENON_D64 "}, " \
      "%64, %65, p, 1, 1, 0, 0;\n}" \
      : TENON_F64(d) : "l"(a), "l"(b), "r"(adds))
#define TENON_VALUES_64(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" TENON_D32 "}, " \
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}" \
      : TENON_F32(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds))
#define TENON_VALUES_128(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" TENON_D64 "}, " \
      "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}" \
      : TENON_F64(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds))
#define TENON_VALUES_256(TYPE) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\n" \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPE "." TYPE " {" TENON_D128 "}, " \
      "{%128, %129, %130, %131}, %132, p, 1, 1, 1;\n}" \
      : TENON_F128(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds))
// clang-format on

/// Queues d (+)= a b^T: a [64, 16], b [128 or 64, 16], both in shared memory. Lanes hold of d what
/// they hold of multiply()'s: d[4 n + i] is fragment n's element i.
template <class T, int kSize>
__device__ inline void multiply_scores(float (&d)[kSize], std::uint64_t a, std::uint64_t b,
                                       int adds) {
  static_assert(kSize == 64 || kSize == 32);
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kSize == 64 && kHalf)
    TENON_SCORES_128("f16");
  else if constexpr (kSize == 64)
    TENON_SCORES_128("bf16");
  else if constexpr (kHalf)
    TENON_SCORES_64("f16");
  else
    TENON_SCORES_64("bf16");
}
/// Queues d (+)= a b: a [64, 16] in registers, b [16, 256, 128 or 64] in shared memory.
template <class T, int kSize>
__device__ inline void multiply_values(float (&d)[kSize], const std::uint32_t (&a)[4],
                                       std::uint64_t b, int adds) {
  static_assert(kSize == 128 || kSize == 64 || kSize == 32);
  constexpr bool kHalf = std::is_same_v<T, __half>;
  if constexpr (kSize == 128 && kHalf)
    TENON_VALUES_256("f16");
  else if constexpr (kSize == 128)
    TENON_VALUES_256("bf16");
  else if constexpr (kSize == 64 && kHalf)
    TENON_VALUES_128("f16");
  else if constexpr (kSize == 64)
    TENON_VALUES_128("bf16");
  else if constexpr (kHalf)
    TENON_VALUES_64("f16");
  else
    TENON_VALUES_64("bf16");
}

#undef TENON_SCORES_64
#undef TENON_SCORES_128
#undef TENON_VALUES_64
#undef TENON_VALUES_128
#undef TENON_VALUES_256
#undef TENON_D128
#undef TENON_D64
#undef TENON_D32
#undef TENON_F128
#undef TENON_F64
#undef TENON_F32
#undef TENON_F16
#undef TENON_F4

}  // namespace tenon::cuda
