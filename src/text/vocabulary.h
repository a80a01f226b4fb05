// The pieces of a tokenizer and their ids, both ways. Text lies in one buffer.
// Invariant: no piece and no id stands twice; ids are dense enough for a plain array.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

/// Finds the number stored for a string; the strings live elsewhere.
class StringIndex {
 public:
  StringIndex() = default;
  explicit StringIndex(std::size_t expected);
  /// False where the string is there already.
  bool insert(std::string_view text, std::int32_t value);
  std::int32_t find(std::string_view text) const;  ///< -1 where it is missing

 private:
  struct Slot {
    const char* data = nullptr;
    std::uint32_t size = 0;
    std::uint32_t hash = 0;
    std::int32_t value = -1;
  };
  void grow();
  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

struct VocabularyEntry {
  std::string_view text;
  std::int64_t id;
};

class Vocabulary {
 public:
  Vocabulary() = default;
  /// Throws Error{kCorrupt} for a piece or an id that stands twice, for an id out of range and
  /// for ids so sparse that the file cannot be meant.
  Vocabulary(const std::vector<VocabularyEntry>& entries, std::string_view where);

  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  std::int32_t find(std::string_view text) const { return index_.find(text); }  ///< -1: missing
  bool contains(std::int64_t id) const {
    return id >= 0 && id < id_end() && present_[static_cast<std::size_t>(id)];
  }
  std::string_view text(std::int32_t id) const {  ///< of an id that contains() knows
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(buffer_).substr(begin_[i], size_[i]);
  }
  std::int32_t id_end() const { return static_cast<std::int32_t>(begin_.size()); }
  std::int32_t size() const { return count_; }

 private:
  std::string buffer_;
  std::vector<std::uint32_t> begin_, size_;
  std::vector<bool> present_;
  std::int32_t count_ = 0;
  StringIndex index_;
};

}  // namespace tenon
