// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "core/check.h"
#include "core/utf8.h"

namespace tenon {
namespace {

/// Seeded at random, so that no file can be made whose pieces all collide.
std::uint64_t seed() {
  static const std::uint64_t value = [] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }();
  return value;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint32_t hash_of(std::string_view text) {
  constexpr std::uint64_t kFirst = 0x9E3779B97F4A7C15, kSecond = 0xD6E8FEB86659FD93;
  std::uint64_t state = seed() ^ (text.size() * kSecond);
  const char* p = text.data();
  std::size_t left = text.size();
  std::uint64_t word = 0;
  for (; left >= 8; left -= 8, p += 8) {
    std::memcpy(&word, p, 8);
    state = mix(state ^ word, kFirst);
  }
  word = 0;
  std::memcpy(&word, p, left);
  state = mix(state ^ word ^ kSecond, kFirst);
  return static_cast<std::uint32_t>(state ^ (state >> 32));
}

}  // namespace

StringIndex::StringIndex(std::size_t expected) {
  std::size_t size = 16;
  while (size < expected * 2) size *= 2;
  slots_.resize(size);
}

void StringIndex::grow() {
  std::vector<Slot> old(std::max<std::size_t>(16, slots_.size() * 2));
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.value < 0) continue;
    std::size_t at = slot.hash & (slots_.size() - 1);
    while (slots_[at].value >= 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

bool StringIndex::insert(std::string_view text, std::int32_t value) {
  if (count_ * 2 >= slots_.size()) grow();
  const std::uint32_t hash = hash_of(text);
  std::size_t at = hash & (slots_.size() - 1);
  for (; slots_[at].value >= 0; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].hash == hash && std::string_view(slots_[at].data, slots_[at].size) == text)
      return false;
  slots_[at] = {text.data(), static_cast<std::uint32_t>(text.size()), hash, value};
  ++count_;
  return true;
}

std::int32_t StringIndex::find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const std::uint32_t hash = hash_of(text);
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at].value >= 0;
       at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].hash == hash && std::string_view(slots_[at].data, slots_[at].size) == text)
      return slots_[at].value;
  return -1;
}

Vocabulary::Vocabulary(const std::vector<VocabularyEntry>& entries, std::string_view where) {
  std::size_t bytes = 0;
  std::int64_t last = -1;
  for (const VocabularyEntry& entry : entries) {
    bytes += entry.text.size();
    last = std::max(last, entry.id);
    TENON_CHECK(entry.id >= 0, ErrorCode::kCorrupt, "{}: the piece \"{}\" has the id {}", where,
                entry.text, entry.id);
  }
  const auto limit = static_cast<std::int64_t>(entries.size()) * 4 + 100'000;
  TENON_CHECK(last < limit, ErrorCode::kCorrupt,
              "{}: an id of {} among {} pieces, expected less than {}", where, last, entries.size(),
              limit);
  TENON_CHECK(bytes < (std::size_t{1} << 31), ErrorCode::kCorrupt,
              "{}: the pieces have {} bytes together, expected less than 2 GiB", where, bytes);
  buffer_.reserve(std::max<std::size_t>(bytes, 64));  // beyond the small-string size: it may move
  begin_.resize(static_cast<std::size_t>(last + 1));
  size_.resize(begin_.size());
  present_.resize(begin_.size());
  index_ = StringIndex(entries.size());
  for (const VocabularyEntry& entry : entries) {
    const auto i = static_cast<std::size_t>(entry.id);
    TENON_CHECK(!present_[i], ErrorCode::kCorrupt,
                "{}: the id {} stands twice, for \"{}\" and \"{}\"", where, entry.id,
                text(static_cast<std::int32_t>(i)), entry.text);
    begin_[i] = static_cast<std::uint32_t>(buffer_.size());
    size_[i] = static_cast<std::uint32_t>(entry.text.size());
    present_[i] = true;
    TENON_CHECK(utf8::is_valid(entry.text), ErrorCode::kCorrupt,
                "{}: the piece with id {} is not valid UTF-8", where, entry.id);
    buffer_ += entry.text;
    const auto id = static_cast<std::int32_t>(i);
    TENON_CHECK(index_.insert(text(id), id), ErrorCode::kCorrupt,
                "{}: the piece \"{}\" stands twice", where, entry.text);
  }
  count_ = static_cast<std::int32_t>(entries.size());
}

}  // namespace tenon
