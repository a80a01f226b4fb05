// Partition of all code points into classes by membership in the sets of one pattern.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "core/check.h"
#include "text/pattern_translator.h"

namespace tenon {

ClassAlphabet::ClassAlphabet(const std::vector<CodePointSet>& sets, std::string_view where) {
  // Between two neighbouring borders of any set, all code points have the same memberships.
  std::vector<char32_t> borders = {0, kMaxCodePoint + 1};
  for (const CodePointSet& set : sets) {
    for (const CodePointRange& range : set.ranges()) {
      borders.push_back(range.first);
      borders.push_back(range.last + 1);
    }
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());

  std::map<std::vector<bool>, std::uint8_t> class_of_signature;
  std::vector<std::size_t> next_range(sets.size(), 0);
  members_.resize(sets.size());
  std::map<Page, std::uint16_t> page_index;
  Page page{};
  for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
    std::vector<bool> signature(sets.size());
    for (std::size_t s = 0; s < sets.size(); ++s) {
      const auto& ranges = sets[s].ranges();
      std::size_t& at = next_range[s];
      while (at < ranges.size() && ranges[at].last < borders[i]) ++at;
      signature[s] = at < ranges.size() && ranges[at].first <= borders[i];
    }
    auto found = class_of_signature.find(signature);
    if (found == class_of_signature.end()) {
      TENON_CHECK(class_of_signature.size() < 256, ErrorCode::kUnsupported,
                  "{}: the pattern tells more than 256 kinds of characters apart", where);
      const auto id = static_cast<std::uint8_t>(class_of_signature.size());
      for (std::size_t s = 0; s < sets.size(); ++s)
        if (signature[s]) members_[s].push_back(id);
      found = class_of_signature.emplace(std::move(signature), id).first;
    }
    for (char32_t c = borders[i]; c < borders[i + 1];) {
      const char32_t page_end = std::min<char32_t>((c | 0xFF) + 1, borders[i + 1]);
      std::fill(page.begin() + (c & 0xFF), page.begin() + ((page_end - 1) & 0xFF) + 1,
                found->second);
      if ((page_end & 0xFF) == 0) {
        const auto [entry, added] =
            page_index.emplace(page, static_cast<std::uint16_t>(pages_.size()));
        if (added) pages_.push_back(page);
        page_of_[c >> 8] = entry->second;
      }
      c = page_end;
    }
  }
}

}  // namespace tenon
