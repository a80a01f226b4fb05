// The element and block types of GGUF files: numbers, names, block sizes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace tenon {

/// Types that Tenon reads; the values are those of the file format.
enum class GgufTensorType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
};

struct GgufTypeInfo {
  std::uint32_t id;
  const char* name;            ///< as tools print it: "Q4_K"
  std::int64_t block_columns;  ///< elements in one block, 1 for plain types
  std::int64_t block_bytes;
  bool supported;
};

/// The row of type `id`, also for known types that are not supported; null where it is unknown.
const GgufTypeInfo* find_gguf_type(std::uint32_t id);
const GgufTypeInfo& gguf_type_info(GgufTensorType type);

/// "F32, F16, Q4_0, …": the supported types, for messages.
std::string supported_gguf_types();

}  // namespace tenon
