// SPDX-License-Identifier: Apache-2.0
#include "ops/shape_rule.h"

#include <cmath>

namespace tenon::shape_rule {
namespace {

bool is_activation_type(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kFloat16 || type == DataType::kBFloat16;
}

}  // namespace

void counts(std::string_view op, std::span<const ValueType> inputs, std::size_t expected_inputs,
            std::span<const Shape> weights, std::size_t expected_weights) {
  TENON_CHECK(inputs.size() == expected_inputs, ErrorCode::kCorrupt,
              "[{}] has {} inputs, expected {}", op, inputs.size(), expected_inputs);
  TENON_CHECK(weights.size() == expected_weights, ErrorCode::kCorrupt,
              "[{}] has {} weights, expected {}", op, weights.size(), expected_weights);
}

void float_tensor(std::string_view op, std::string_view what, const ValueType& type) {
  TENON_CHECK(
      type.kind == ValueKind::kTensor && is_activation_type(type.dtype) && !type.shape.empty(),
      ErrorCode::kCorrupt, "[{}] {} is {}, expected a tensor of float32, float16 or bfloat16", op,
      what, to_string(type));
}

std::int64_t float_matrix(std::string_view op, std::string_view what, const ValueType& type) {
  float_tensor(op, what, type);
  TENON_CHECK(type.shape.size() == 2 && type.shape[1].is_constant() && type.shape[1].extent > 0,
              ErrorCode::kCorrupt, "[{}] {} is {}, expected [rows, a constant width]", op, what,
              to_string(type));
  return type.shape[1].extent;
}

void float_columns(std::string_view op, std::string_view what, const ValueType& type,
                   std::int64_t width) {
  const std::int64_t got = float_matrix(op, what, type);
  TENON_CHECK(got == width, ErrorCode::kCorrupt, "[{}] {} is {}, expected {} columns", op, what,
              to_string(type), width);
}

void index_vector(std::string_view op, std::string_view what, const ValueType& type) {
  TENON_CHECK(
      type.kind == ValueKind::kTensor && type.dtype == DataType::kInt32 && type.shape.size() == 1,
      ErrorCode::kCorrupt, "[{}] {} is {}, expected int32 [rows]", op, what, to_string(type));
}

void same_rows(std::string_view op, std::string_view what_a, const ValueType& a,
               std::string_view what_b, const ValueType& b) {
  TENON_CHECK(a.shape.front() == b.shape.front(), ErrorCode::kCorrupt,
              "[{}] {} is {} but {} is {}, expected the same rows", op, what_a, to_string(a),
              what_b, to_string(b));
}

void same_type(std::string_view op, std::string_view what_a, const ValueType& a,
               std::string_view what_b, const ValueType& b) {
  TENON_CHECK(a == b, ErrorCode::kCorrupt, "[{}] {} is {} but {} is {}, expected the same type", op,
              what_a, to_string(a), what_b, to_string(b));
}

void weight(std::string_view op, std::string_view what, const Shape& got, const Shape& expected) {
  TENON_CHECK(got == expected, ErrorCode::kCorrupt, "[{}] weight {} is {}, expected {}", op, what,
              to_string(got), to_string(expected));
}

std::int64_t in_range(std::string_view op, std::string_view field, std::int64_t value,
                      std::int64_t low, std::int64_t high) {
  TENON_CHECK(value >= low && value <= high, ErrorCode::kCorrupt,
              "[{}] {} is {}, expected {} to {}", op, field, value, low, high);
  return value;
}

void finite(std::string_view op, std::string_view field, float value) {
  TENON_CHECK(std::isfinite(value), ErrorCode::kCorrupt, "[{}] {} is {}, expected a finite number",
              op, field, value);
}

void positive(std::string_view op, std::string_view field, float value) {
  TENON_CHECK(std::isfinite(value) && value > 0.F, ErrorCode::kCorrupt,
              "[{}] {} is {}, expected a positive number", op, field, value);
}

void norm_weights(std::string_view op, std::span<const Shape> weights, std::int64_t width,
                  bool has_bias) {
  weight(op, "gain", weights[0], {width});
  if (has_bias) weight(op, "bias", weights[1], {width});
}

}  // namespace tenon::shape_rule
