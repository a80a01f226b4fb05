// Writes a safetensors file: the header at once, then each tensor in any order and in any pieces,
// so that one tensor need be in memory at a time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tenon {

class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    DataType type = DataType::kFloat32;
    Shape shape;
  };

  /// Lays the tensors out so that each lies at a multiple of its element size (wide elements
  /// first), data starting at a multiple of 64 bytes. Throws Error{kIo} or, for a name given twice,
  /// Error{kInvalidArgument}.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<Tensor> tensors,
                    const SafetensorsMetadata& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// The next bytes of tensor `name`: all of it, or a piece after the piece written before.
  void write(std::string_view name, std::span<const std::byte> bytes);

  /// Throws Error{kInternal} where a tensor is not complete, Error{kIo} where the system failed.
  /// Without close() the file is not valid.
  void close();

  std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t written = 0;
  };
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t file_bytes_ = 0;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace tenon
