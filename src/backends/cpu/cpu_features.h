// What this processor and kernel offer, found at run time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace tenon::cpu {

/// Ordered: each level includes those before it.
enum class Isa { kBaseline, kAvx2, kAvx512, kAmx };

struct CpuFeatures {
  Isa isa = Isa::kBaseline;  ///< kAvx2: AVX2, FMA, F16C; kAvx512: F, BW, DQ, VL besides; kAmx:
                             ///< tiles, bf16 and int8, granted by the kernel
  bool avx512_vnni = false;
  bool avx512_bf16 = false;

  /// Found once. `max_isa` ("", "baseline", "avx2", "avx512", "amx") lowers it: for tests, and for
  /// comparing; throws Error{kInvalidArgument} for another word.
  static CpuFeatures detect(std::string_view max_isa = {});

  std::string describe() const;  ///< "avx512 vnni bf16"
};

}  // namespace tenon::cpu
