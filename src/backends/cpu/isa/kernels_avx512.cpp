// The inner loops for AVX-512: compiled with its flags, called only where the processor has it.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/isa/isa_kernels.h"
#include "backends/cpu/isa/vec_avx512.h"

namespace tenon::cpu {
namespace avx512 {
namespace {

constexpr std::int64_t kMicro = 12;  // twelve rows of two vectors fill the thirty-two registers

// The first comes first: the others use what it defines.
#include "backends/cpu/isa/math.inc"

#include "backends/cpu/isa/attention.inc"
#include "backends/cpu/isa/rows.inc"

constexpr IsaKernels kKernels = {
    .norm = norm,
    .activation = activation,
    .gated_activation = gated_activation,
    .softcap = softcap,
    .rope = rope,
    .convert = convert,
    .quantize = quantize,
    .sum_exp = sum_exp,
    .attention_span = attention_span,
    .attention_merge = attention_merge,
    .attention_finish = attention_finish,
};

}  // namespace
}  // namespace avx512

const IsaKernels& avx512_kernels() { return avx512::kKernels; }

}  // namespace tenon::cpu
