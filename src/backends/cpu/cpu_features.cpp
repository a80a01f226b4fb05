// Reads CPUID and XCR0, and asks the kernel for the AMX tile registers, once a process.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_features.h"

#include "core/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tenon::cpu {
namespace {

#if defined(__x86_64__)

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid_leaf(unsigned leaf, unsigned subleaf) {
  Leaf out;
  __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
  return out;
}

bool bit(unsigned word, int index) { return ((word >> index) & 1U) != 0; }

// Register state that the operating system saves: a CPU bit alone does not make AVX usable.
unsigned saved_state() {
  unsigned low = 0;
  unsigned high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Linux hands out the 8 KiB of tile data only on request (arch_prctl, ARCH_REQ_XCOMP_PERM).
bool request_tiles() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuFeatures probe() {
  CpuFeatures found;
  const Leaf basic = cpuid_leaf(1, 0);
  if (!bit(basic.ecx, 27) || !bit(basic.ecx, 28)) return found;  // OSXSAVE, AVX
  const unsigned state = saved_state();
  const Leaf extended = cpuid_leaf(7, 0);
  const bool ymm_saved = (state & 0x6U) == 0x6U;
  const bool avx2 = ymm_saved && bit(extended.ebx, 5) && bit(basic.ecx, 12) && bit(basic.ecx, 29);
  if (!avx2) return found;
  found.isa = Isa::kAvx2;
  const bool zmm_saved = (state & 0xE6U) == 0xE6U;
  const bool avx512 = zmm_saved && bit(extended.ebx, 16) && bit(extended.ebx, 17) &&
                      bit(extended.ebx, 30) && bit(extended.ebx, 31);
  if (!avx512) return found;
  found.isa = Isa::kAvx512;
  found.avx512_vnni = bit(extended.ecx, 11);
  const Leaf more = extended.eax >= 1 ? cpuid_leaf(7, 1) : Leaf{};
  found.avx512_bf16 = bit(more.eax, 5);
  const bool tiles_saved = (state & 0x60000U) == 0x60000U;
  const bool amx = bit(extended.edx, 22) && bit(extended.edx, 24) && bit(extended.edx, 25);
  if (tiles_saved && amx && found.avx512_bf16 && request_tiles()) found.isa = Isa::kAmx;
  return found;
}

#else

CpuFeatures probe() { return {}; }

#endif

Isa parse_isa(std::string_view name) {
  if (name == "baseline") return Isa::kBaseline;
  if (name == "avx2") return Isa::kAvx2;
  if (name == "avx512") return Isa::kAvx512;
  if (name.empty() || name == "amx") return Isa::kAmx;
  fail(ErrorCode::kInvalidArgument,
       "instruction set \"{}\" is not known: give baseline, avx2, avx512 or amx", name);
}

}  // namespace

CpuFeatures CpuFeatures::detect(std::string_view max_isa) {
  static const CpuFeatures machine = probe();
  CpuFeatures features = machine;
  const Isa limit = parse_isa(max_isa);
  if (features.isa > limit) features.isa = limit;
  if (features.isa < Isa::kAvx512) features.avx512_vnni = features.avx512_bf16 = false;
  return features;
}

std::string CpuFeatures::describe() const {
  constexpr const char* kNames[] = {"baseline", "avx2", "avx512", "amx"};
  std::string text = kNames[static_cast<int>(isa)];
  if (avx512_vnni) text += " vnni";
  if (avx512_bf16) text += " bf16";
  return text;
}

}  // namespace tenon::cpu
