// KvCache::Impl: sequences over a KvStore. Split over kv_cache.cpp (life of a sequence),
// kv_cache_start.cpp (finding and taking a prefix) and kv_cache_check.cpp (the invariants).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <vector>

#include "runtime/kv_cache.h"
#include "runtime/kv_sequence.h"
#include "runtime/kv_store.h"

namespace tenon {

struct KvCache::Impl {
  explicit Impl(const KvCacheSettings& given) : settings(given), store(given) {}

  /// A prefix that can be restored: `nodes` whole blocks, and `partial_tokens` of one more.
  struct Prefix {
    std::vector<KvNode*> nodes;
    KvNode* partial = nullptr;
    std::int64_t partial_tokens = 0;
    std::int64_t tokens(std::int64_t block_tokens) const {
      return static_cast<std::int64_t>(nodes.size()) * block_tokens + partial_tokens;
    }
  };
  Prefix find(const KvStart& start) const;
  bool has_room(const Prefix& prefix, std::int64_t reserve) const;
  void take_prefix(KvSequence& sequence, const Prefix& prefix);

  std::int64_t blocks_of(std::int64_t tokens) const {
    return (tokens + settings.tokens_per_block - 1) / settings.tokens_per_block;
  }
  KvTable& table(KvSequence& sequence, const KvPool& pool) const {
    return sequence.tables[static_cast<std::size_t>(pool.group())];
  }
  const KvTable& table(const KvSequence& sequence, const KvPool& pool) const {
    return sequence.tables[static_cast<std::size_t>(pool.group())];
  }
  /// Blocks of the pool's promise that this sequence stands for.
  static std::int64_t outstanding(const KvPool& pool, const KvTable& table) {
    return pool.whole_context() ? table.promised - table.held() : table.promised;
  }

  KvGlance& glance(Handle handle);
  KvGlance& glance(const KvSequence& sequence) {
    return glances[static_cast<std::size_t>(&sequence - sequences.data())];
  }
  bool is_live(const KvSequence& sequence) const {
    return glances[static_cast<std::size_t>(&sequence - sequences.data())].live;
  }
  KvSequence& live(Handle handle) {
    glance(handle);
    return sequences[static_cast<std::size_t>(handle)];
  }
  /// Tokens that its tables reach over.
  std::int64_t room(const KvSequence& sequence) const;
  Handle new_handle();
  /// The block that the next token is written to: where it is there, the sequence is its writer.
  void mark_writer(KvSequence& sequence, int count);
  void settle(KvSequence& sequence, std::int64_t tokens);
  void update_quiet(KvSequence& sequence);
  void set_tail(KvSequence& sequence, KvNode* tail);
  /// As KvCache::grow(), where there is something to do.
  bool grow(KvSequence& sequence, std::int64_t tokens, double now, std::int64_t issued);
  /// Lets go of all that it holds; its handle is the caller's to use again.
  void release(KvSequence& sequence, double now);
  void slide(KvPool& pool, KvSequence& sequence, double now);
  void extend(KvPool& pool, KvSequence& sequence, std::int64_t tokens, double now);
  bool raise_promises(KvSequence& sequence, std::int64_t tokens);
  void commit_block(KvSequence& sequence, std::span<const std::int32_t> tokens, double now);
  void retain(const KvSequence& sequence, std::int64_t block, KvNode& node);

  enum class Doubt : std::uint8_t { kNone, kRecent, kAll };
  /// Ends every sequence and forgets what the steps under way were to do.
  void forget_recent(double now);

  /// Stands in every operation that changes something: one that is cut short leaves doubt.
  class Change {
   public:
    explicit Change(Impl& impl) : impl_(impl) {}
    ~Change() {
      if (std::uncaught_exceptions() > before_) impl_.doubt = Doubt::kAll;
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    Impl& impl_;
    int before_ = std::uncaught_exceptions();
  };

  Doubt doubt = Doubt::kNone;
  KvCacheSettings settings;
  KvStore store;
  std::vector<KvSequence> sequences;
  std::vector<KvGlance> glances;  // of each
  std::vector<Handle> unused;
};

}  // namespace tenon
