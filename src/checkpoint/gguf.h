// GGUF files, versions 2 and 3: metadata, tensor records, data; models split over several files.
// Every count and length is checked against the file's size before anything is allocated for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_value.h"
#include "checkpoint/tensor_source.h"
#include "quant/formats/gguf_types.h"

namespace tenon {

struct GgufTensor {
  std::string name;
  GgufTensorType type = GgufTensorType::kF32;
  Shape shape;               ///< outermost first: the reverse of the file's order
  std::uint64_t offset = 0;  ///< from the start of the file
  std::uint64_t bytes = 0;
};

struct GgufHeader {
  std::uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;
  std::uint64_t data_offset = 0;
};

/// The header of a whole file in memory; `where` names it in errors. Throws Error{kCorrupt}, or
/// Error{kUnsupported} for other versions, big-endian files and tensor types that Tenon lacks.
GgufHeader parse_gguf(std::span<const std::byte> file, std::string_view where);

struct GgufModel {
  GgufMetadata metadata;                     ///< of the first part
  std::vector<std::filesystem::path> parts;  ///< in order
  std::unique_ptr<TensorSource> tensors;
};

/// Opens a file, and where it is one part of a split model all its parts (any of them may be named:
/// NAME-00001-of-00003.gguf). Throws one error naming every missing part.
GgufModel open_gguf(const std::filesystem::path& path);

}  // namespace tenon
