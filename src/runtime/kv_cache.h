// KvCache: who holds which block of the cache. Pure bookkeeping with a given clock, no device: it
// hands out block tables and the commands (copy, swap) that make them true before the next step.
//
// Blocks with tokens_per_block known tokens are found again by later sequences: a tree whose edges
// are the tokens of one block, rooted at the salt. A block is named by the chain of hashes of its
// prefix; a hit counts only where the tokens themselves are equal. Blocks that nobody holds stay
// in the tree until room is needed: lowest priority first, least recently used first, never one
// whose continuation is still there. A prefix is reused as far as every cache group can restore it;
// a sliding-window group needs only the blocks its window still reaches.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "backends/batch.h"
#include "tenon/kv_cache.h"

namespace tenon {

/// Names the prefix that ends with a block, given the name of the prefix before it (0: none). Never
/// 0. Equal names are a hint alone: tokens are compared.
using KvBlockHash = std::uint64_t (*)(std::uint64_t parent, std::span<const std::int32_t> tokens);
std::uint64_t kv_block_hash(std::uint64_t parent, std::span<const std::int32_t> tokens);

/// One cache group, as the session has it.
struct KvCacheGroup {
  std::int64_t window = 0;  ///< 0: the whole context
  std::int64_t blocks = 0;
  std::int64_t host_blocks = 0;  ///< swapped blocks in memory: numbers [0, host_blocks)
  std::int64_t disk_blocks = 0;  ///< and in a file: [host_blocks, host_blocks + disk_blocks)
};

struct KvCacheSettings {
  std::vector<KvCacheGroup> groups;
  std::int64_t tokens_per_block = 32;
  bool reuse = true;          ///< finished blocks can be found again
  bool partial_reuse = true;  ///< a block that begins alike is copied
  /// Tokens of one step at most: a window group holds window + this many, and a block.
  std::int64_t max_step_tokens = 512;
  std::int64_t event_capacity = 0;  ///< events kept for take_events(); older ones are dropped
  KvBlockHash block_hash = kv_block_hash;
};

/// What one sequence asks for at its start.
struct KvStart {
  std::span<const std::int32_t> tokens;  ///< prompt, and output so far where it comes back
  std::string_view salt;                 ///< who may share: equal salts alone
  const KvRetention* retention = nullptr;
  bool reuse = true;  ///< false: every token has to be computed (its logits are wanted)
  /// Tokens that grow() is sure to have room for. At least tokens.size().
  std::int64_t reserve_tokens = 0;
  /// How many of `tokens` are the prompt, where output came back with it; -1: all. Blocks past them
  /// have the retention's decode priority.
  std::int64_t prompt_tokens = -1;
};

class KvCache {
 public:
  using Handle = std::int32_t;

  explicit KvCache(const KvCacheSettings& settings);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  /// Tokens of the prefix that a start now would find, at most tokens.size() - 1: the last token
  /// always runs. Changes nothing.
  std::int64_t reusable_tokens(const KvStart& start) const;

  /// Takes references to the reusable blocks and reserves the rest. Returns how many tokens are in
  /// the cache, or nothing where there is no room (and then nothing has changed).
  struct Started {
    Handle handle = -1;
    std::int64_t cached_tokens = 0;
  };
  std::optional<Started> start(const KvStart& start, double now);
  /// Whether a start could ever succeed on an empty cache.
  bool fits(std::int64_t reserve_tokens) const;

  /// Makes room for tokens [0, tokens): takes blocks, copies a shared block that would be written,
  /// gives back what fell out of a window. Tokens before `issued` are computed by steps that have
  /// been issued already: none of them is written again, and the next step's first token, from
  /// which windows are counted, is no earlier (those cached at the start or committed count as
  /// issued without it). False: no room, nothing has changed; never within the reservation (in a
  /// window group: for at most max_step_tokens + 1 tokens that are not issued). Beyond it, success
  /// makes `tokens` the reservation.
  bool grow(Handle handle, std::int64_t tokens, double now, std::int64_t issued = 0);
  /// The first `known` tokens of the sequence are these and a step that computes them has been
  /// issued: whole blocks can be found by others from now on. `tokens` must
  /// begin with what was committed before. Where another sequence that has committed an equal
  /// block still holds it, this one gives up its own for that one (the table changes), so that
  /// equal prefixes share their blocks even where they ran at the same time.
  void commit(Handle handle, std::span<const std::int32_t> tokens, std::int64_t known, double now);
  /// Whether `handle` still holds what the next step after its first `tokens` tokens reads.
  bool can_fork(Handle handle, std::int64_t tokens) const;
  /// A sequence that holds the first `tokens` tokens of `handle`, all shared, as a beam continues
  /// another: a step that computes them has been issued. Its whole table counts as changed.
  /// nullopt: no room for its reservation. Throws Error{kInternal} where a window has moved past
  /// `tokens`. `later_shared`: for one that only keeps a place, blocks that will be shared when it
  /// is released and another fork takes its room (in a window group none counts: shared blocks are
  /// given up at different times).
  std::optional<Handle> fork(Handle handle, std::int64_t tokens, std::int64_t reserve_tokens,
                             double now, std::int64_t later_shared = 0);
  void release(Handle handle, double now);

  bool has_table_changes(Handle handle) const;
  /// Changes of its tables since the last call, for SlotUpdate::tables. `whole`: everything, for a
  /// slot that was reset.
  std::vector<BlockTableChange> take_table_changes(Handle handle, bool whole = false);
  /// The sequence (-1: none) will be looked at soon: asks the memory for it.
  void prefetch(Handle handle) const noexcept;
  /// The sequence is at hand, and a new block of it will be committed soon.
  void prefetch_tail(Handle handle) const noexcept;
  /// For Batch::commands of the next step.
  std::vector<CacheCommand> take_commands();

  /// Blocks that nobody holds, and how many of them running sequences are promised: a start has
  /// room in what lies between.
  std::int64_t available_blocks(int group) const;
  std::int64_t reserved_blocks(int group) const;

  const KvCacheSettings& settings() const;
  KvCacheStatistics statistics() const;
  std::vector<KvCacheEvent> take_events();
  /// A step begins to be planned. At most two may be under way: the one before it, and this one.
  void begin_step() noexcept;
  /// An operation was cut short (memory ran out in it), or one of the next two was called: reset()
  /// has to be called before anything else.
  bool in_doubt() const;
  /// Nothing is to be relied on: counts, or what the blocks hold.
  void doubt();
  /// A step failed: counts are right, but nobody knows what became of the blocks that the steps
  /// under way were to write, copy or swap.
  void doubt_recent();
  /// No sequence is left, and no content that doubt was about; statistics and events go on.
  /// Allocates nothing that it needs, so it succeeds where memory ran out.
  void reset(double now) noexcept;
  /// Forgets everything that nobody holds.
  void clear_reusable();
  /// Throws Error{kInternal} where counts contradict each other: for tests, O(blocks).
  void check_invariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon
