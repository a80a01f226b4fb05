// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/paged_cache.h"

#include <sys/mman.h>

#include <array>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/half.h"

namespace tenon::cpu {
namespace {

std::int64_t key_stride(std::int64_t block_tokens) { return (block_tokens + 15) / 16 * 16; }

bool known(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kFloat16 || type == DataType::kBFloat16 ||
         type == DataType::kFloat8E4M3 || type == DataType::kInt8;
}

struct PoolBytes {
  std::int64_t keys = 0;
  std::int64_t values = 0;
  std::int64_t scales = 0;  // of keys; as many again of values
};

std::int64_t whole_lines(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

PoolBytes pool_bytes(const CacheGroupDescription& group) {
  TENON_CHECK(known(group.dtype), ErrorCode::kUnsupported,
              "a CPU cache holds float32, float16, bfloat16, float8_e4m3 or int8, not {}",
              to_string(group.dtype));
  TENON_ASSERT(group.tokens_per_block > 0 && group.kv_heads > 0 && group.head_dim > 0);
  const std::int64_t stride = key_stride(group.tokens_per_block);
  PoolBytes out;
  out.keys =
      byte_count(group.dtype, {group.blocks, group.kv_heads, group.head_dim, stride}, "keys");
  out.values =
      byte_count(group.dtype,
                 {group.blocks, group.kv_heads, group.tokens_per_block, group.head_dim}, "values");
  if (group.dtype == DataType::kInt8)
    out.scales = byte_count(DataType::kFloat32, {group.blocks, group.kv_heads, stride}, "scales");
  return {whole_lines(out.keys), whole_lines(out.values), whole_lines(out.scales)};
}

// Kernels load whole vectors, up to 32 elements past the last key of the last block.
constexpr std::int64_t kSlack = 256;

std::int64_t layer_bytes(const PoolBytes& pool) {
  return pool.keys + pool.values + 2 * pool.scales + kSlack;
}

// What one block has in one layer: `bytes` from base + block * bytes.
struct BlockPart {
  std::byte* base = nullptr;
  std::int64_t bytes = 0;
};

std::array<BlockPart, 4> parts_of(const CacheLayer& layer) {
  const std::int64_t rows = layer.kv_heads * layer.head_dim;
  const auto size = static_cast<std::int64_t>(size_of(layer.dtype));
  const std::int64_t scales =
      layer.dtype == DataType::kInt8
          ? layer.kv_heads * layer.key_stride * static_cast<std::int64_t>(sizeof(float))
          : 0;
  return {{{layer.keys, rows * layer.key_stride * size},
           {layer.values, rows * layer.block_tokens * size},
           {reinterpret_cast<std::byte*>(layer.key_scales), scales},
           {reinterpret_cast<std::byte*>(layer.value_scales), scales}}};
}

// Of all layers of the group.
std::int64_t swapped_block_bytes(const CacheGroupDescription& group) {
  std::int64_t bytes = 0;
  for (const BlockPart& part : parts_of({.dtype = group.dtype,
                                         .kv_heads = group.kv_heads,
                                         .head_dim = group.head_dim,
                                         .block_tokens = group.tokens_per_block,
                                         .key_stride = key_stride(group.tokens_per_block)}))
    bytes += part.bytes;
  return bytes * static_cast<std::int64_t>(group.layers.size());
}

// Large pages save page walks: attention reads blocks in no order. A refusal costs speed alone.
std::shared_ptr<std::byte> allocate_pool(std::int64_t bytes) {
  auto memory = allocate_aligned(static_cast<std::size_t>(bytes));
  constexpr std::uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory.get()) + kPage - 1) / kPage * kPage;
  const auto end =
      (reinterpret_cast<std::uintptr_t>(memory.get()) + static_cast<std::uintptr_t>(bytes)) /
      kPage * kPage;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  return memory;
}

// int8: one scale a token and head, symmetric. Returns the factor that a code is multiplied with.
float quantize(const float* source, std::int64_t count, std::int8_t* codes) {
  float largest = 0.F;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(source[i]));
  const float inverse = largest > 0.F ? 127.F / largest : 0.F;
  for (std::int64_t i = 0; i < count; ++i)
    codes[i] = static_cast<std::int8_t>(std::nearbyintf(source[i] * inverse));
  return largest / 127.F;
}

template <class T>
void scatter(const CacheLayer& layer, std::int64_t row, std::int64_t offset, const T* key,
             const T* value) {
  auto* keys = reinterpret_cast<T*>(layer.keys) + row * layer.head_dim * layer.key_stride + offset;
  for (std::int64_t d = 0; d < layer.head_dim; ++d) keys[d * layer.key_stride] = key[d];
  auto* values =
      reinterpret_cast<T*>(layer.values) + (row * layer.block_tokens + offset) * layer.head_dim;
  std::memcpy(values, value, static_cast<std::size_t>(layer.head_dim) * sizeof(T));
}

constexpr std::int64_t kChunk = 64;  // features converted at a time, on the stack

template <class T>
void write_rounded(const CacheLayer& layer, std::int64_t row, std::int64_t offset, const float* key,
                   const float* value) {
  auto* keys = reinterpret_cast<T*>(layer.keys) + row * layer.head_dim * layer.key_stride + offset;
  auto* values =
      reinterpret_cast<T*>(layer.values) + (row * layer.block_tokens + offset) * layer.head_dim;
  T rounded[kChunk];
  for (std::int64_t d = 0; d < layer.head_dim; d += kChunk) {
    const std::int64_t count = std::min(kChunk, layer.head_dim - d);
    convert_from_float(layer.dtype, key + d, rounded, static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) keys[(d + i) * layer.key_stride] = rounded[i];
    convert_from_float(layer.dtype, value + d, values + d, static_cast<std::size_t>(count));
  }
}

void write_int8(const CacheLayer& layer, std::int64_t row, std::int64_t offset, const float* key,
                const float* value) {
  auto* values = reinterpret_cast<std::int8_t*>(layer.values) +
                 (row * layer.block_tokens + offset) * layer.head_dim;
  auto* keys =
      reinterpret_cast<std::int8_t*>(layer.keys) + row * layer.head_dim * layer.key_stride + offset;
  // The value's place serves as scratch for the key's codes before they are spread.
  layer.key_scales[row * layer.key_stride + offset] = quantize(key, layer.head_dim, values);
  for (std::int64_t d = 0; d < layer.head_dim; ++d) keys[d * layer.key_stride] = values[d];
  layer.value_scales[row * layer.key_stride + offset] = quantize(value, layer.head_dim, values);
}

}  // namespace

std::int64_t PagedCache::bytes(std::span<const CacheGroupDescription> groups) {
  std::int64_t total = 0;
  for (const CacheGroupDescription& group : groups)
    total += layer_bytes(pool_bytes(group)) * static_cast<std::int64_t>(group.layers.size());
  return total;
}

std::int64_t PagedCache::swapped_bytes(std::span<const CacheGroupDescription> groups) {
  std::int64_t total = 0;
  for (const CacheGroupDescription& group : groups)
    total += swapped_block_bytes(group) * group.host_blocks;
  return total;
}

PagedCache::PagedCache(std::span<const CacheGroupDescription> groups,
                       const std::string& swap_directory)
    : groups_(groups.begin(), groups.end()) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroupDescription& group = groups_[g];
    const PoolBytes pool = pool_bytes(group);
    swapped_.push_back(std::make_unique<SwapSpace>(group.host_blocks, group.disk_blocks,
                                                   swapped_block_bytes(group), swap_directory));
    for (const std::int64_t index : group.layers) {
      if (index >= static_cast<std::int64_t>(layers_.size()))
        layers_.resize(static_cast<std::size_t>(index) + 1);
      memory_.push_back(allocate_pool(layer_bytes(pool)));
      std::byte* base = memory_.back().get();
      std::byte* scales = base + pool.keys + pool.values;
      CacheLayer& layer = layers_[static_cast<std::size_t>(index)];
      layer = {.dtype = group.dtype,
               .group = static_cast<int>(g),
               .blocks = group.blocks,
               .kv_heads = group.kv_heads,
               .head_dim = group.head_dim,
               .block_tokens = group.tokens_per_block,
               .key_stride = key_stride(group.tokens_per_block),
               .keys = base,
               .values = base + pool.keys,
               .key_scales = reinterpret_cast<float*>(scales),
               .value_scales = reinterpret_cast<float*>(scales + pool.scales)};
    }
  }
}

const CacheLayer& PagedCache::layer(std::int64_t cache_layer) const {
  TENON_ASSERT(cache_layer >= 0 && cache_layer < static_cast<std::int64_t>(layers_.size()));
  return layers_[static_cast<std::size_t>(cache_layer)];
}

void PagedCache::run(const CacheCommand& command) {
  using Kind = CacheCommand::Kind;
  TENON_ASSERT(command.group >= 0 && command.group < static_cast<int>(groups_.size()));
  const CacheGroupDescription& group = groups_[static_cast<std::size_t>(command.group)];
  SwapSpace& swapped = *swapped_[static_cast<std::size_t>(command.group)];
  const auto check = [&](const char* what, std::int32_t block, bool on_device) {
    const std::int64_t count = on_device ? group.blocks : swapped.blocks();
    TENON_CHECK(block >= 0 && block < count, ErrorCode::kInternal,
                "[kv cache] {} {} of {} is not there in group {}", what, block, count,
                command.group);
  };
  check("source block", command.source,
        command.kind == Kind::kCopyBlock || command.kind == Kind::kSwapOut);
  check("destination block", command.destination,
        command.kind == Kind::kCopyBlock || command.kind == Kind::kSwapIn);
  if (command.kind == Kind::kMoveSwapped) return swapped.move(command.source, command.destination);

  std::int64_t offset = 0;  // in a swapped block
  for (const std::int64_t index : group.layers)
    for (const BlockPart& part : parts_of(layer(index))) {
      std::byte* source = part.base + command.source * part.bytes;
      std::byte* destination = part.base + command.destination * part.bytes;
      if (command.kind == Kind::kSwapOut)
        swapped.store(command.destination, offset, source, part.bytes);
      else if (command.kind == Kind::kSwapIn)
        swapped.load(command.source, offset, destination, part.bytes);
      else if (source != destination && part.bytes > 0)
        std::memcpy(destination, source, static_cast<std::size_t>(part.bytes));
      offset += part.bytes;
    }
}

void write_token(const CacheLayer& layer, std::int32_t block, std::int64_t offset,
                 std::int64_t head, const float* key, const float* value) {
  const std::int64_t row = block * layer.kv_heads + head;
  switch (layer.dtype) {
    case DataType::kFloat32: return scatter<float>(layer, row, offset, key, value);
    case DataType::kInt8: return write_int8(layer, row, offset, key, value);
    case DataType::kFloat8E4M3: return write_rounded<std::uint8_t>(layer, row, offset, key, value);
    default: return write_rounded<std::uint16_t>(layer, row, offset, key, value);
  }
}

void read_key(const CacheLayer& layer, std::int32_t block, std::int64_t offset, std::int64_t head,
              float* out) {
  const std::int64_t row = block * layer.kv_heads + head;
  const std::size_t size = size_of(layer.dtype);
  const std::byte* keys =
      layer.keys +
      static_cast<std::size_t>(row * layer.head_dim * layer.key_stride + offset) * size;
  for (std::int64_t d = 0; d < layer.head_dim; ++d)
    convert_to_float(layer.dtype, keys + static_cast<std::size_t>(d * layer.key_stride) * size,
                     out + d, 1);
  if (layer.dtype != DataType::kInt8) return;
  const float scale = layer.key_scales[row * layer.key_stride + offset];
  for (std::int64_t d = 0; d < layer.head_dim; ++d) out[d] *= scale;
}

void read_value(const CacheLayer& layer, std::int32_t block, std::int64_t offset, std::int64_t head,
                float* out) {
  const std::int64_t row = block * layer.kv_heads + head;
  const std::byte* values =
      layer.values +
      static_cast<std::size_t>((row * layer.block_tokens + offset) * layer.head_dim) *
          size_of(layer.dtype);
  convert_to_float(layer.dtype, values, out, static_cast<std::size_t>(layer.head_dim));
  if (layer.dtype != DataType::kInt8) return;
  const float scale = layer.value_scales[row * layer.key_stride + offset];
  for (std::int64_t d = 0; d < layer.head_dim; ++d) out[d] *= scale;
}

}  // namespace tenon::cpu
