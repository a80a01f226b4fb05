// The inner loops for AVX2: compiled with its flags, called only where the processor has it.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/isa/isa_kernels.h"
#include "backends/cpu/isa/vec_avx2.h"

namespace tenon::cpu {
namespace avx2 {
namespace {

constexpr std::int64_t kMicro = 6;  // six rows of two vectors fill sixteen registers

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
}  // namespace avx2

const IsaKernels& avx2_kernels() { return avx2::kKernels; }

}  // namespace tenon::cpu
