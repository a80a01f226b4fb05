// Types of graph values. Extents are constants or the symbolic sizes of a packed batch; there is no
// padding anywhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"

namespace tenon {

/// A size that each step decides.
enum class Symbol : std::uint8_t {
  kNone,           ///< a constant extent
  kTokens,         ///< T: tokens of all sequences of the step, packed
  kSequences,      ///< S: sequences of the step
  kLogitRows,      ///< L: rows whose logits are wanted
  kEncoderTokens,  ///< E: packed tokens that cross-attention reads
};

struct Dim {
  Symbol symbol = Symbol::kNone;
  std::int64_t extent = 0;  ///< where symbol is kNone

  Dim() = default;
  Dim(std::int64_t constant) : extent(constant) {}
  Dim(Symbol s) : symbol(s) {}
  bool is_constant() const { return symbol == Symbol::kNone; }
  bool operator==(const Dim&) const = default;
};

enum class ValueKind : std::uint8_t {
  kTensor,
  kCache,  ///< no data: orders the readers of a layer's cache after its writer
};

struct ValueType {
  ValueKind kind = ValueKind::kTensor;
  DataType dtype = DataType::kFloat32;
  std::vector<Dim> shape;

  static ValueType tensor(DataType dtype, std::vector<Dim> shape) {
    return {ValueKind::kTensor, dtype, std::move(shape)};
  }
  static ValueType cache() { return {ValueKind::kCache, DataType::kUInt8, {}}; }
  bool operator==(const ValueType&) const = default;
};

/// "float32 [T, 576]", "cache"
std::string to_string(const ValueType& type);
/// Inverse of to_string; throws Error{kCorrupt} naming `where`.
ValueType parse_value_type(std::string_view text, std::string_view where);

}  // namespace tenon
