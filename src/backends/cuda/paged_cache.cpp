// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/paged_cache.h"

#include <cstring>

#include "core/check.h"

namespace tenon::cuda {
namespace {

struct PoolBytes {
  std::int64_t data = 0;    // of keys; as many again of values
  std::int64_t scales = 0;  // likewise
  std::int64_t block = 0;   // of one block in keys
  std::int64_t scale_block = 0;
  std::int64_t layer() const { return 2 * (data + scales); }
};

PoolBytes pool_bytes(const CacheGroupDescription& group) {
  const bool known = group.dtype == DataType::kFloat32 || group.dtype == DataType::kFloat16 ||
                     group.dtype == DataType::kBFloat16 || group.dtype == DataType::kFloat8E4M3 ||
                     group.dtype == DataType::kInt8;
  TENON_CHECK(known, ErrorCode::kUnsupported,
              "a CUDA cache holds float32, float16, bfloat16, float8_e4m3 or int8, not {}",
              to_string(group.dtype));
  PoolBytes out;
  out.block =
      byte_count(group.dtype, {group.kv_heads, group.tokens_per_block, group.head_dim}, "block");
  out.data = aligned(element_count({group.blocks, out.block}, "cache"));
  if (group.dtype == DataType::kInt8) {
    out.scale_block = byte_count(DataType::kFloat32, {group.kv_heads, group.tokens_per_block});
    out.scales = aligned(element_count({group.blocks, out.scale_block}, "cache scales"));
  }
  return out;
}

// Bytes of one block in all pools of all layers of its group: a swapped block.
std::int64_t whole_block(const CacheGroupDescription& group) {
  const PoolBytes pool = pool_bytes(group);
  return 2 * (pool.block + pool.scale_block) * static_cast<std::int64_t>(group.layers.size());
}

void copy(void* to, const void* from, std::int64_t bytes, cudaStream_t stream) {
  if (bytes > 0)
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream),
          "move a cache block");
}

}  // namespace

std::int64_t PagedCache::bytes(std::span<const CacheGroupDescription> groups) {
  std::int64_t total = 0;
  for (const CacheGroupDescription& group : groups)
    if (!group.layers.empty())
      total += pool_bytes(group).layer() * static_cast<std::int64_t>(group.layers.size());
  return total;
}

PagedCache::PagedCache(std::span<const CacheGroupDescription> groups,
                       std::span<const std::int32_t* const> tables, std::int32_t table_stride,
                       const std::string& swap_directory)
    : groups_(groups.begin(), groups.end()), faults_(std::make_shared<StreamFaults>()) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroupDescription& group = groups_[g];
    const std::int64_t swapped = group.layers.empty() ? 0 : whole_block(group);
    swapped_.emplace_back(swapped > 0 ? group.host_blocks : 0, swapped > 0 ? group.disk_blocks : 0,
                          swapped, swap_directory, faults_);
    if (group.layers.empty()) continue;
    const PoolBytes pool = pool_bytes(group);
    memory_.emplace_back(pool.layer() * static_cast<std::int64_t>(group.layers.size()),
                         "the cache");
    std::byte* next = memory_.back().data();
    for (const std::int64_t index : group.layers) {
      if (index >= static_cast<std::int64_t>(layers_.size()))
        layers_.resize(static_cast<std::size_t>(index) + 1);
      CacheLayer& layer = layers_[static_cast<std::size_t>(index)];
      layer.dtype = group.dtype;
      layer.group = static_cast<std::int32_t>(g);
      layer.kv_heads = static_cast<std::int32_t>(group.kv_heads);
      layer.head_dim = static_cast<std::int32_t>(group.head_dim);
      layer.block_tokens = static_cast<std::int32_t>(group.tokens_per_block);
      layer.blocks = static_cast<std::int32_t>(group.blocks);
      layer.table_stride = table_stride;
      layer.tables = tables[g];
      layer.keys = next;
      layer.values = next + pool.data;
      layer.key_scales = reinterpret_cast<float*>(next + 2 * pool.data);
      layer.value_scales = reinterpret_cast<float*>(next + 2 * pool.data + pool.scales);
      next += pool.layer();
    }
  }
}

const CacheLayer& PagedCache::layer(std::int64_t cache_layer) const {
  TENON_ASSERT(cache_layer >= 0 && cache_layer < static_cast<std::int64_t>(layers_.size()));
  return layers_[static_cast<std::size_t>(cache_layer)];
}

void PagedCache::run(const CacheCommand& command, cudaStream_t stream) {
  TENON_ASSERT(command.group >= 0 && command.group < static_cast<int>(groups_.size()));
  const auto g = static_cast<std::size_t>(command.group);
  const CacheGroupDescription& group = groups_[g];
  if (group.layers.empty()) return;
  using Kind = CacheCommand::Kind;
  SwappedBlocks& swapped = swapped_[g];
  const bool from_device = command.kind == Kind::kCopyBlock || command.kind == Kind::kSwapOut;
  const bool to_device = command.kind == Kind::kCopyBlock || command.kind == Kind::kSwapIn;
  const auto within = [&](std::int64_t block, bool on_device) {
    const std::int64_t blocks = on_device ? group.blocks : swapped.blocks();
    TENON_CHECK(block >= 0 && block < blocks, ErrorCode::kInternal,
                "[cache] block {} of {} is not there", block, blocks);
  };
  within(command.source, from_device);
  within(command.destination, to_device);
  if (command.kind == Kind::kMoveSwapped)
    return swapped.move(command.source, command.destination, stream);
  if (command.kind == Kind::kCopyBlock && command.source == command.destination) return;

  std::byte* outside = command.kind == Kind::kSwapOut  ? swapped.place(command.destination)
                       : command.kind == Kind::kSwapIn ? swapped.load(command.source, stream)
                                                       : nullptr;
  const auto move = [&](void* pool, std::int64_t bytes) {
    auto* const base = static_cast<std::byte*>(pool);
    copy(to_device ? base + command.destination * bytes : outside,
         from_device ? base + command.source * bytes : outside, bytes, stream);
    if (outside != nullptr) outside += bytes;
  };
  const PoolBytes pool = pool_bytes(group);
  for (const std::int64_t index : group.layers) {
    const CacheLayer& layer = this->layer(index);
    move(layer.keys, pool.block);
    move(layer.values, pool.block);
    move(layer.key_scales, pool.scale_block);
    move(layer.value_scales, pool.scale_block);
  }
  if (command.kind == Kind::kSwapOut) swapped.store(command.destination, stream);
}

}  // namespace tenon::cuda
