// PyTorch .bin / .pt files: zip archives with one pickle and one stored entry a storage.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "checkpoint/tensor_source.h"
#include "checkpoint/torch_pickle.h"

namespace tenon {

struct TorchTensor {
  PickledTensor pickled;
  std::uint64_t storage_offset = 0;  ///< of the storage, from the start of the file
  std::uint64_t storage_bytes = 0;   ///< of the archive's entry
};

/// The tensors of a whole file in memory; `where` names it in errors. No code is ever run. Throws
/// Error{kCorrupt}; Error{kUnsupported} for files of PyTorch before 1.6, big-endian ones,
/// compressed ones, TorchScript, and pickles that want more than weights need.
std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> file, std::string_view where);

/// Contiguous tensors are views of the mapping; transposed and other strided ones are gathered.
std::unique_ptr<TensorSource> open_torch_file(const std::filesystem::path& path);

}  // namespace tenon
