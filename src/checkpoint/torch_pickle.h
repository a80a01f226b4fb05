// What a PyTorch state dict's pickle says: names, element types, shapes, strides and where in which
// storage each tensor lies. The allowed globals are a closed list.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace tenon {

struct PickledTensor {
  std::string name;  ///< keys of nested dicts joined with "."
  DataType type = DataType::kFloat32;
  Shape shape;
  std::vector<std::int64_t> strides;  ///< in elements, one an extent, not negative
  std::int64_t offset = 0;            ///< in elements, from the start of the storage
  std::string storage;                ///< its key: the entry "data/KEY"
  std::int64_t storage_bytes = 0;     ///< as the pickle claims

  bool is_contiguous() const;
};

/// All tensors of the pickle, in its order; a dict under "state_dict", "model_state_dict", "model"
/// or "module" is taken for the whole where the outer dict holds no tensors itself. Every tensor is
/// checked to lie in its storage and to have no more elements than it. Throws Error{kCorrupt} or
/// Error{kUnsupported}.
std::vector<PickledTensor> read_torch_pickle(std::span<const std::byte> pickle,
                                             std::string_view where);

}  // namespace tenon
