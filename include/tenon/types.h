// Plain value types that cross the public boundary: element types and the parallel mapping.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tenon/export.h"

namespace tenon {

/// Element type of a tensor. Names in files and flags: to_string() below.
enum class DataType : std::uint8_t {
  kFloat32,     ///< IEEE 754, 32 bits
  kFloat16,     ///< IEEE 754, 16 bits
  kBFloat16,    ///< the upper half of a float32
  kFloat64,     ///< IEEE 754, 64 bits
  kFloat8E4M3,  ///< OCP E4M3 ("fn": no infinities, maximum 448)
  kFloat8E5M2,  ///< OCP E5M2, with infinities
  kInt8,        ///< two's complement
  kUInt8,       ///< 0 to 255
  kInt16,       ///< two's complement
  kUInt16,      ///< 0 to 65535
  kInt32,       ///< two's complement
  kUInt32,      ///< 0 to 2^32 - 1
  kInt64,       ///< two's complement
  kUInt64,      ///< 0 to 2^64 - 1
  kBool,        ///< a byte, 0 or 1
};

/// "float32", "bfloat16", "float8_e4m3", "int8", …
TENON_API const char* to_string(DataType type) noexcept;

/// How a model is spread over ranks. Rank order is that of TensorRT-LLM:
/// rank = (pp_rank * cp_size + cp_rank) * tp_size + tp_rank.
struct TENON_API Mapping {
  int world_size = 1;    ///< all ranks; 1: the product of the others
  int tp_size = 1;       ///< tensor parallelism: each weight is cut along a named axis
  int pp_size = 1;       ///< pipeline parallelism: each stage holds a run of layers
  int cp_size = 1;       ///< context parallelism (not supported yet: must be 1)
  int moe_tp_size = -1;  ///< tensor parallelism inside experts; -1: follows tp_size
  int moe_ep_size = -1;  ///< expert parallelism; -1: 1

  bool operator==(const Mapping&) const = default;
};

}  // namespace tenon
