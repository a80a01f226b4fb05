// The tensor core's 16 x 8 x 16 product of 16-bit operands with fp32 sums (compute capability 8.0
// and later), and how a warp's lanes share its operands.
//
// Lane = 4 g + t. a: rows g and g + 8, b: column g, c: rows g and g + 8, columns 2 t and 2 t + 1.
// Which k a lane holds is free as long as a and b agree: lane t of a quad takes columns 8 t … 8 t +
// 7 of 32, so that one 16-byte load of a row-major matrix is the operand of two products.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace tenon::cuda {

/// c += a b. a: {row g, row g + 8} of one pair of columns, then of the next.
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], std::uint32_t a0, std::uint32_t a1,
                                    std::uint32_t a2, std::uint32_t a3, std::uint32_t b0,
                                    std::uint32_t b1) {
  if constexpr (sizeof(T) == 2 && std::is_same_v<T, __half>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// 32 columns of 16 rows by 8 columns of x: `low` and `high` are the lane's eight elements of rows
/// g and g + 8, `x` those of row g of x.
template <class T>
__device__ __forceinline__ void mma_32(float (&c)[4], const std::uint32_t (&low)[4],
                                       const std::uint32_t (&high)[4], const uint4& x) {
  mma<T>(c, low[0], high[0], low[1], high[1], x.x, x.y);
  mma<T>(c, low[2], high[2], low[3], high[3], x.z, x.w);
}

}  // namespace tenon::cuda
