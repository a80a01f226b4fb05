// NumPy's .npy files: one array, little-endian, C order (format version 1.0).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "core/shape.h"

namespace tenon::cli {

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const float> values);
void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const std::int32_t> values);

struct NpyIds {
  Shape shape;  ///< one or two dimensions
  std::vector<std::int64_t> values;
};

/// Token ids of any integer type. Throws Error{kCorrupt} where the file is not such an array.
NpyIds read_npy_ids(const std::filesystem::path& path);

}  // namespace tenon::cli
