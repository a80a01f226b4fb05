// SPDX-License-Identifier: Apache-2.0
#include "core/shape.h"

#include "core/check.h"

namespace tenon {

std::int64_t element_count(const Shape& shape, std::string_view what) {
  std::int64_t count = 1;
  bool overflow = false;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    TENON_CHECK(extent >= 0, ErrorCode::kCorrupt, "{}: shape {} has a negative extent", what,
                to_string(shape));
    empty |= extent == 0;
    overflow |= __builtin_mul_overflow(count, extent, &count);
  }
  if (empty) return 0;
  TENON_CHECK(!overflow, ErrorCode::kCorrupt, "{}: shape {} has more elements than 2^63", what,
              to_string(shape));
  return count;
}

std::int64_t byte_count(DataType type, const Shape& shape, std::string_view what) {
  std::int64_t bytes = 0;
  const bool overflow = __builtin_mul_overflow(element_count(shape, what),
                                               static_cast<std::int64_t>(size_of(type)), &bytes);
  TENON_CHECK(!overflow, ErrorCode::kCorrupt, "{}: shape {} needs more than 2^63 bytes", what,
              to_string(shape));
  return bytes;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace tenon
