// A cache whose content can be looked at: each token's entry is a hash of all tokens up to it, so
// that a block that was reused, overwritten, moved or copied wrongly shows. Sequences check, before
// each step, everything that the step would read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>

#include <utility>
#include <vector>

#include "runtime/kv_cache.h"

namespace tenon {

using Tokens = std::vector<std::int32_t>;

inline std::uint64_t content_of(const Tokens& tokens, std::int64_t position) {
  std::uint64_t hash = 0x9e3779b97f4a7c15U;
  for (std::int64_t i = 0; i <= position; ++i)
    hash = (hash ^ static_cast<std::uint64_t>(tokens[static_cast<std::size_t>(i)] + 1)) *
           0xff51afd7ed558ccdU;
  return hash;
}

/// Memory of one group: blocks and swapped blocks of `tokens_per_block` entries.
class SimulatedMemory {
 public:
  explicit SimulatedMemory(const KvCacheSettings& settings) : size_(settings.tokens_per_block) {
    for (const KvCacheGroup& group : settings.groups) {
      device_.emplace_back(static_cast<std::size_t>(group.blocks), Block(size_, 0));
      swapped_.emplace_back(static_cast<std::size_t>(group.host_blocks + group.disk_blocks),
                            Block(size_, 0));
    }
  }
  void run(const CacheCommand& command) {
    const auto g = static_cast<std::size_t>(command.group);
    const auto from = static_cast<std::size_t>(command.source);
    const auto to = static_cast<std::size_t>(command.destination);
    const bool to_device = command.kind == CacheCommand::Kind::kCopyBlock ||
                           command.kind == CacheCommand::Kind::kSwapIn;
    for (std::uint64_t& each : (to_device ? device_ : swapped_)[g].at(to)) note(each);
    switch (command.kind) {
      case CacheCommand::Kind::kCopyBlock: device_[g].at(to) = device_[g].at(from); break;
      case CacheCommand::Kind::kSwapOut: swapped_[g].at(to) = device_[g].at(from); break;
      case CacheCommand::Kind::kSwapIn: device_[g].at(to) = swapped_[g].at(from); break;
      case CacheCommand::Kind::kMoveSwapped: swapped_[g].at(to) = swapped_[g].at(from); break;
    }
  }
  std::uint64_t& at(int group, std::int32_t block, std::int64_t offset) {
    return device_[static_cast<std::size_t>(group)]
        .at(static_cast<std::size_t>(block))
        .at(static_cast<std::size_t>(offset));
  }
  /// It changes in the step at hand.
  void note(std::uint64_t& entry) { changed_.push_back(&entry); }
  void next_step() {
    changed_before_.swap(changed_);
    changed_.clear();
  }
  /// The step at hand and the one before failed: what they were to change holds no content.
  void spoil() {
    for (auto* changed : {&changed_, &changed_before_}) {
      for (std::uint64_t* entry : *changed) *entry = 0;
      changed->clear();
    }
  }

 private:
  using Block = std::vector<std::uint64_t>;
  std::size_t size_;
  std::vector<std::uint64_t*> changed_;
  std::vector<std::uint64_t*> changed_before_;
  std::vector<std::vector<Block>> device_;
  std::vector<std::vector<Block>> swapped_;
};

/// A sequence as the executor and the device see it together.
struct ModelSequence {
  KvCache::Handle handle = -1;
  Tokens tokens;            ///< known ones
  std::int64_t cached = 0;  ///< of them, in the cache
  std::int64_t reserve = 0;
  std::vector<std::vector<std::int32_t>> tables{};  ///< what the device knows
};

/// Runs steps of a KvCache over SimulatedMemory.
class CacheModel {
 public:
  explicit CacheModel(const KvCacheSettings& settings)
      : cache(settings), settings_(settings), memory_(settings) {}

  KvCache cache;
  double now = 0;
  /// Whole blocks alone are committed, when the step after theirs has been planned.
  bool one_step_behind = false;

  std::optional<ModelSequence> start(const Tokens& tokens, std::int64_t reserve,
                                     std::string_view salt = {},
                                     const KvRetention* retention = nullptr) {
    const KvStart start{
        .tokens = tokens, .salt = salt, .retention = retention, .reserve_tokens = reserve};
    const std::int64_t reusable = cache.reusable_tokens(start);
    const auto started = cache.start(start, now);
    if (!started) return std::nullopt;
    EXPECT_LE(started->cached_tokens, reusable);
    EXPECT_LT(started->cached_tokens, static_cast<std::int64_t>(tokens.size()));
    ModelSequence out{started->handle, tokens, started->cached_tokens,
                      std::max(reserve, static_cast<std::int64_t>(tokens.size()))};
    out.tables.resize(settings_.groups.size());
    return out;
  }

  std::optional<ModelSequence> fork(ModelSequence& parent, std::int64_t tokens,
                                    std::int64_t reserve) {
    const auto handle = cache.fork(parent.handle, tokens, reserve, now);
    if (!handle) return std::nullopt;
    ModelSequence out{*handle, parent.tokens, tokens, std::max(reserve, tokens)};
    out.tokens.resize(static_cast<std::size_t>(tokens));
    out.tables.resize(settings_.groups.size());
    return out;
  }

  /// Plans `count` more tokens of the sequence in the step at hand, and `drafts` after them that
  /// will be refused. False: no room. `late`: the last token is not committed with the step.
  bool plan(ModelSequence& sequence, std::int64_t count, std::int64_t drafts = 0,
            bool late = false) {
    const std::int64_t end = sequence.cached + count;
    const bool room =
        cache.grow(sequence.handle, end + drafts, now, one_step_behind ? sequence.cached : 0);
    EXPECT_TRUE(room || end + drafts > sequence.reserve) << "a reservation was not honoured";
    if (room) planned_.push_back({&sequence, sequence.cached, end, drafts, late});
    return room;
  }

  /// Runs what was planned: commands, table changes, reads, writes, commits.
  void step() {
    for (Planned& each : planned_) update_tables(*each.sequence);
    const auto commands = cache.take_commands();
    for (const CacheCommand& command : commands) memory_.run(command);
    for (const Planned& each : planned_) write(each);
    for (const Planned& each : planned_) read(each);
    const std::vector<Planned> before = std::exchange(to_commit_, planned_);
    for (const Planned& each : planned_) each.sequence->cached = each.end;
    for (const Planned& each : one_step_behind ? before : planned_) commit(each);
    planned_.clear();
    next_step();
  }

  /// The step that ran last failed, and the one before with it: no sequence is left.
  void fail() {
    memory_.spoil();
    planned_.clear();
    to_commit_.clear();
    cache.doubt_recent();
    EXPECT_TRUE(cache.in_doubt());
    cache.reset(now);
    EXPECT_FALSE(cache.in_doubt());
    next_step();
  }

  /// One token at a time, or a chunk, until every known token is cached.
  bool run(ModelSequence& sequence) {
    while (sequence.cached < static_cast<std::int64_t>(sequence.tokens.size())) {
      const std::int64_t rest = static_cast<std::int64_t>(sequence.tokens.size()) - sequence.cached;
      if (!plan(sequence, std::min(rest, settings_.max_step_tokens))) return false;
      step();
    }
    return true;
  }

  void release(ModelSequence& sequence) {
    const auto is_its = [&](const Planned& each) { return each.sequence == &sequence; };
    std::erase_if(planned_, is_its);
    std::erase_if(to_commit_, is_its);
    cache.release(sequence.handle, now);
  }

  /// Start, run, release: how many tokens were found.
  std::int64_t serve(const Tokens& tokens, std::string_view salt = {},
                     const KvRetention* retention = nullptr) {
    auto sequence = start(tokens, static_cast<std::int64_t>(tokens.size()), salt, retention);
    if (!sequence) return -1;
    const std::int64_t found = sequence->cached;
    EXPECT_TRUE(run(*sequence));
    release(*sequence);
    cache.check_invariants();
    return found;
  }

 private:
  struct Planned {
    ModelSequence* sequence;
    std::int64_t begin;
    std::int64_t end;
    std::int64_t drafts;
    bool late;
  };

  void next_step() {
    memory_.next_step();
    cache.begin_step();
  }

  void commit(const Planned& each) {
    std::int64_t known = each.end - (each.late ? 1 : 0);
    if (one_step_behind) known -= known % settings_.tokens_per_block;
    cache.commit(each.sequence->handle, each.sequence->tokens, known, now);
  }

  void update_tables(ModelSequence& sequence) {
    const auto changes = cache.take_table_changes(sequence.handle);
    for (const BlockTableChange& change : changes) {
      auto& table = sequence.tables[static_cast<std::size_t>(change.group)];
      const auto begin = static_cast<std::size_t>(change.begin);
      ASSERT_LE(begin, table.size());
      if (begin + change.blocks.size() > table.size()) table.resize(begin + change.blocks.size());
      std::ranges::copy(change.blocks, table.begin() + change.begin);
    }
  }

  std::uint64_t& entry(const ModelSequence& sequence, std::size_t group, std::int64_t position) {
    const std::int64_t size = settings_.tokens_per_block;
    return memory_.at(static_cast<int>(group),
                      sequence.tables[group].at(static_cast<std::size_t>(position / size)),
                      position % size);
  }

  void write(const Planned& planned) {
    for (std::size_t g = 0; g < settings_.groups.size(); ++g)
      for (std::int64_t p = planned.begin; p < planned.end; ++p)
        write(entry(*planned.sequence, g, p), content_of(planned.sequence->tokens, p));
    for (std::size_t g = 0; g < settings_.groups.size(); ++g)
      for (std::int64_t p = planned.end; p < planned.end + planned.drafts; ++p)
        write(entry(*planned.sequence, g, p), 0);
  }
  void write(std::uint64_t& entry, std::uint64_t content) {
    memory_.note(entry);
    entry = content;
  }

  void read(const Planned& planned) {
    for (std::size_t g = 0; g < settings_.groups.size(); ++g) {
      const std::int64_t window = settings_.groups[g].window;
      const std::int64_t first =
          window > 0 ? std::max<std::int64_t>(0, planned.begin - window + 1) : 0;
      for (std::int64_t p = first; p < planned.end; ++p)
        ASSERT_EQ(entry(*planned.sequence, g, p), content_of(planned.sequence->tokens, p))
            << "sequence " << planned.sequence->handle << ", group " << g << ", token " << p
            << " of a step from " << planned.begin << " to " << planned.end;
    }
  }

  KvCacheSettings settings_;
  SimulatedMemory memory_;
  std::vector<Planned> planned_;
  std::vector<Planned> to_commit_;
};

inline Tokens tokens_from(std::int32_t begin, std::int64_t count) {
  Tokens out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(begin + static_cast<std::int32_t>(i));
  return out;
}

inline Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace tenon
