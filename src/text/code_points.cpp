// SPDX-License-Identifier: Apache-2.0
#include "text/code_points.h"

#include <algorithm>

namespace tenon {

bool CodePointSet::contains(char32_t c) const {
  const auto next = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                     [](char32_t x, const auto& range) { return x < range.first; });
  return next != ranges_.begin() && c <= std::prev(next)->last;
}

CodePointSet CodePointSet::operator|(const CodePointSet& other) const {
  std::vector<CodePointRange> all(ranges_);
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.first < b.first; });
  CodePointSet out;
  for (const CodePointRange& range : all) {
    if (!out.ranges_.empty() && range.first <= out.ranges_.back().last + 1)
      out.ranges_.back().last = std::max(out.ranges_.back().last, range.last);
    else
      out.ranges_.push_back(range);
  }
  return out;
}

CodePointSet CodePointSet::operator~() const {
  CodePointSet out;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) out.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) out.ranges_.push_back({next, kMaxCodePoint});
  return out;
}

CodePointSet CodePointSet::operator&(const CodePointSet& other) const { return ~(~*this | ~other); }

CodePointBitmap::CodePointBitmap(const CodePointSet& set) {
  pages_.push_back(Page{});
  Page full;
  full.fill(~std::uint64_t{0});
  pages_.push_back(full);
  for (const CodePointRange& range : set.ranges()) {
    for (char32_t page = range.first >> 8; page <= range.last >> 8; ++page) {
      const char32_t first = std::max<char32_t>(range.first, page << 8);
      const char32_t last = std::min<char32_t>(range.last, (page << 8) + 0xFF);
      if (last - first == 0xFF) {
        page_of_[page] = 1;
        continue;
      }
      if (page_of_[page] == 0) {
        page_of_[page] = static_cast<std::uint16_t>(pages_.size());
        pages_.push_back(Page{});
      }
      for (char32_t c = first; c <= last; ++c)
        pages_[page_of_[page]][(c & 0xFF) >> 6] |= std::uint64_t{1} << (c & 63);
    }
  }
}

}  // namespace tenon
