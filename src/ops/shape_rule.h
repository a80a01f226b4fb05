// The checks that shape rules share. Each throws Error{kCorrupt} "[op] what is …, expected …".
// Extents are bounded, so that products of two of them never overflow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/check.h"
#include "ops/op_common.h"

namespace tenon::shape_rule {

/// Largest count an attribute may give (heads, features of a head, columns …).
inline constexpr std::int64_t kMaxCount = std::int64_t{1} << 24;

void counts(std::string_view op, std::span<const ValueType> inputs, std::size_t expected_inputs,
            std::span<const Shape> weights, std::size_t expected_weights);

/// A tensor of float32, float16 or bfloat16 with at least one dimension.
void float_tensor(std::string_view op, std::string_view what, const ValueType& type);

/// The same with two dimensions, the last of them constant: [rows, width]. Gives the width.
std::int64_t float_matrix(std::string_view op, std::string_view what, const ValueType& type);

/// float_matrix of exactly `width` columns.
void float_columns(std::string_view op, std::string_view what, const ValueType& type,
                   std::int64_t width);

/// int32 [rows].
void index_vector(std::string_view op, std::string_view what, const ValueType& type);

/// Both have the same first dimension.
void same_rows(std::string_view op, std::string_view what_a, const ValueType& a,
               std::string_view what_b, const ValueType& b);

void same_type(std::string_view op, std::string_view what_a, const ValueType& a,
               std::string_view what_b, const ValueType& b);

void weight(std::string_view op, std::string_view what, const Shape& got, const Shape& expected);

/// An attribute in [low, high]. Gives it back.
std::int64_t in_range(std::string_view op, std::string_view field, std::int64_t value,
                      std::int64_t low, std::int64_t high = kMaxCount);

void finite(std::string_view op, std::string_view field, float value);
void positive(std::string_view op, std::string_view field, float value);

/// Columns of a value that float_matrix() accepted.
inline std::int64_t width_of(const ValueType& type) { return type.shape.back().extent; }

/// Gain and, where `has_bias`, bias of a normalisation of `width` columns.
void norm_weights(std::string_view op, std::span<const Shape> weights, std::int64_t width,
                  bool has_bias);

}  // namespace tenon::shape_rule
