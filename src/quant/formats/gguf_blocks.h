// GGUF blocks to the canonical form of quant_spec.h and nothing else: bit-exact, within 4 % of the
// size in the file (docs/file-formats-gguf-table.md has the figures).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "quant/formats/gguf_types.h"
#include "quant/quantized_tensor.h"

namespace tenon {

/// The spec that tensors of `type` get.
QuantSpec gguf_quant_spec(GgufTensorType type);

/// Bytes of a tensor of `shape` (outermost first) in a file. Throws Error{kCorrupt} naming `name`
/// where the last extent is no multiple of the block, or the product overflows.
std::int64_t gguf_byte_count(GgufTensorType type, const Shape& shape, std::string_view name);

/// `bytes` (gguf_byte_count of them) as a part of `shape`. Plain types view the bytes, kept alive
/// by `owner`, unless they lie unaligned; block types are repacked into memory of their own.
QuantizedTensor from_gguf_blocks(GgufTensorType type, Shape shape, std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, std::string_view name);

}  // namespace tenon
