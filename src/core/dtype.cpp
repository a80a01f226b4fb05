// SPDX-License-Identifier: Apache-2.0
#include "core/dtype.h"

#include <array>
#include <string>

#include "core/check.h"

namespace tenon {
namespace {

struct Row {
  DataType type;
  const char* name;
  std::size_t size;
  std::array<const char*, 3> aliases;  // safetensors' name first
};

constexpr Row kRows[] = {
    {DataType::kFloat32, "float32", 4, {"F32", "fp32", "float"}},
    {DataType::kFloat16, "float16", 2, {"F16", "fp16", "half"}},
    {DataType::kBFloat16, "bfloat16", 2, {"BF16", "bf16", ""}},
    {DataType::kFloat64, "float64", 8, {"F64", "fp64", "double"}},
    {DataType::kFloat8E4M3, "float8_e4m3", 1, {"F8_E4M3", "fp8", "float8_e4m3fn"}},
    {DataType::kFloat8E5M2, "float8_e5m2", 1, {"F8_E5M2", "", ""}},
    {DataType::kInt8, "int8", 1, {"I8", "", ""}},
    {DataType::kUInt8, "uint8", 1, {"U8", "", ""}},
    {DataType::kInt16, "int16", 2, {"I16", "short", ""}},
    {DataType::kUInt16, "uint16", 2, {"U16", "", ""}},
    {DataType::kInt32, "int32", 4, {"I32", "int", ""}},
    {DataType::kUInt32, "uint32", 4, {"U32", "", ""}},
    {DataType::kInt64, "int64", 8, {"I64", "long", ""}},
    {DataType::kUInt64, "uint64", 8, {"U64", "", ""}},
    {DataType::kBool, "bool", 1, {"BOOL", "", ""}},
};

const Row& row(DataType type) { return kRows[static_cast<std::size_t>(type)]; }

}  // namespace

const char* to_string(DataType type) noexcept { return row(type).name; }

std::size_t size_of(DataType type) noexcept { return row(type).size; }

bool is_floating_point(DataType type) noexcept {
  return static_cast<int>(type) <= static_cast<int>(DataType::kFloat8E5M2);
}

DataType parse_data_type(std::string_view name, std::string_view what) {
  std::string_view bare = name;
  if (bare.starts_with("torch.")) bare.remove_prefix(6);
  for (const Row& candidate : kRows) {
    if (bare == candidate.name) return candidate.type;
    for (const char* alias : candidate.aliases)
      if (!bare.empty() && bare == alias) return candidate.type;
  }
  fail(ErrorCode::kInvalidArgument,
       "{}: unknown element type \"{}\"; expected float32, float16, bfloat16, float8_e4m3, int8, …",
       what, name);
}

}  // namespace tenon
