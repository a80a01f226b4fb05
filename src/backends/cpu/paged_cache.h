// PagedCache: keys and values of every cached layer in blocks, and the block tables of the step.
// Keys lie transposed inside a block, so that a vector register holds one feature of 16 tokens.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/swap_space.h"

namespace tenon::cpu {

/// Pools of one cache layer. Element (token o of a block, feature d) of a head lies at
///   keys    ((block * kv_heads + head) * head_dim + d) * key_stride + o
///   values  ((block * kv_heads + head) * block_tokens + o) * head_dim + d
///   scales  (block * kv_heads + head) * key_stride + o          (int8 alone, fp32)
struct CacheLayer {
  DataType dtype = DataType::kFloat32;
  int group = 0;
  std::int64_t blocks = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t block_tokens = 0;
  std::int64_t key_stride = 0;  ///< block_tokens, rounded up to 16
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  float* key_scales = nullptr;
  float* value_scales = nullptr;
};

class PagedCache {
 public:
  /// Bytes of all pools, and of the swapped blocks in memory, for the plan.
  static std::int64_t bytes(std::span<const CacheGroupDescription> groups);
  static std::int64_t swapped_bytes(std::span<const CacheGroupDescription> groups);

  /// Throws Error{kUnsupported} for an element type it does not know, Error{kResourceExhausted};
  /// Error{kIo} or Error{kInvalidArgument} where disk blocks find no place in `swap_directory`.
  explicit PagedCache(std::span<const CacheGroupDescription> groups,
                      const std::string& swap_directory = {});

  const CacheLayer& layer(std::int64_t cache_layer) const;
  std::span<const CacheGroupDescription> groups() const { return groups_; }

  /// Throws Error{kInternal} for a block that is not there, Error{kIo}.
  void run(const CacheCommand& command);

  /// Tables of the step: [group][sequence], views that stay valid during the step. A block that
  /// fell out of the window may be -1.
  void bind(std::vector<std::vector<std::span<const std::int32_t>>> tables) {
    tables_ = std::move(tables);
  }
  std::span<const std::int32_t> table(int group, std::int64_t sequence) const {
    return tables_[static_cast<std::size_t>(group)][static_cast<std::size_t>(sequence)];
  }

 private:
  std::vector<CacheGroupDescription> groups_;
  std::vector<CacheLayer> layers_;  // by cache_layer; blocks 0 where there is none
  std::vector<std::shared_ptr<std::byte>> memory_;
  std::vector<std::unique_ptr<SwapSpace>> swapped_;  // by group
  std::vector<std::vector<std::span<const std::int32_t>>> tables_;
};

/// Writes one token's key and value of one head, rounded to the layer's element type.
void write_token(const CacheLayer& layer, std::int32_t block, std::int64_t offset,
                 std::int64_t head, const float* key, const float* value);
/// Key and value of one token and head as fp32.
void read_key(const CacheLayer& layer, std::int32_t block, std::int64_t offset, std::int64_t head,
              float* out);
void read_value(const CacheLayer& layer, std::int32_t block, std::int64_t offset, std::int64_t head,
                float* out);

}  // namespace tenon::cpu
