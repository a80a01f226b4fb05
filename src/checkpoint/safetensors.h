// safetensors files: 8 bytes of header length, a JSON header, then the tensors without a gap.
// Every claim of the header is checked against the file before it is used.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/tensor_source.h"
#include "core/mapped_file.h"

namespace tenon {

struct SafetensorsEntry {
  std::string name;
  DataType type = DataType::kFloat32;
  Shape shape;
  std::uint64_t offset = 0;  ///< from the start of the file
  std::uint64_t bytes = 0;
};

using SafetensorsMetadata = std::vector<std::pair<std::string, std::string>>;

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order of their data
  SafetensorsMetadata metadata;
  std::uint64_t data_offset = 0;
};

/// The header of a whole file in memory; `where` names it in errors. Throws Error{kCorrupt}, or
/// Error{kUnsupported} for an element type that Tenon does not know.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view where);

class SafetensorsFile : public TensorTable {
 public:
  static std::unique_ptr<SafetensorsFile> open(const std::filesystem::path& path);

  const SafetensorsMetadata& metadata() const { return header_.metadata; }
  const std::vector<SafetensorsEntry>& entries() const { return header_.tensors; }

 private:
  SafetensorsFile() = default;
  QuantizedTensor load_at(std::size_t index) const override;
  void drop_at(std::size_t index) const override;

  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
};

/// The format's name of an element type: "BF16".
const char* safetensors_type_name(DataType type) noexcept;

}  // namespace tenon
