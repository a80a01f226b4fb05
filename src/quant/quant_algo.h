// QuantAlgo: TensorRT-LLM's names of ways to quantize weights, and what each makes of a matrix. One
// pass over the weights, no calibration.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quant/quantized_tensor.h"

namespace tenon {

class QuantAlgo {
 public:
  /// `name`: "W8A16" (int8, a float32 scale a row), "W4A16" (int4, a float16 scale for
  /// `group_size` columns; 0: for a row) or "FP8" (float8_e4m3, one scale). Throws
  /// Error{kUnsupported} naming `where`, and what to use instead.
  QuantAlgo(std::string_view name, std::int64_t group_size, std::string_view where);

  /// The form that weights get.
  const QuantSpec& spec() const { return spec_; }

  /// One scale for the whole weight: quantize_rows() wants its largest magnitude.
  bool one_scale() const { return spec_.kind == QuantKind::kScaledFloat; }

  /// Throws Error{kInvalidArgument} naming the weight where its columns cannot be grouped, with the
  /// sizes that divide the columns of all `weights` of the model.
  void check_columns(std::string_view name, std::int64_t columns,
                     std::int64_t common_divisor) const;

  /// Rows `rows` of `weight`, plain or of any form, to the nearest codes, into those of `out` (of
  /// the same shape and of spec()). `largest`: of the whole weight, where one_scale(). Threads may
  /// do rows apart. Throws Error{kInvalidArgument} naming `name` where a value is not finite.
  void quantize_rows(const QuantizedTensor& weight, Range rows, float largest, QuantizedTensor& out,
                     std::string_view name) const;

  /// "FP8", "W8A16", "W4A16".
  static std::vector<std::string> names();

 private:
  QuantSpec spec_;
};

/// Whether a module's name ("transformer.layers.0.mlp.fc", "lm_head") is one of `patterns`, in
/// which
/// '*' stands for any run of characters and '?' for one.
bool matches_any(std::string_view module, const std::vector<std::string>& patterns);

/// TensorRT-LLM's exclude_modules where a config names none: what it never quantizes.
const std::vector<std::string>& default_exclude_modules();

}  // namespace tenon
