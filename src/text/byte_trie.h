// A set of byte strings with a number each: walks along a text byte by byte.
// Built once from sorted strings; children of a node lie side by side, ordered by their byte.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon {

class ByteTrie {
 public:
  ByteTrie() : ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>>{}) {}
  /// Of a string that stands twice the last value counts. Empty strings are left out.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries);

  static constexpr std::uint32_t kRoot = 0;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  /// The node behind `node` and `byte`, kNone where there is none.
  std::uint32_t step(std::uint32_t node, std::uint8_t byte) const {
    if (node == kRoot) return root_[byte];
    const Node& at = nodes_[node];
    std::uint32_t low = at.first_child, high = at.first_child + at.child_count;
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (nodes_[middle].label < byte)
        low = middle + 1;
      else
        high = middle;
    }
    return low < at.first_child + at.child_count && nodes_[low].label == byte ? low : kNone;
  }
  /// The number of the string that ends at `node`, -1 where none does.
  std::int32_t value(std::uint32_t node) const { return nodes_[node].value; }
  bool empty() const { return nodes_.size() == 1; }

  struct Match {
    std::size_t length = 0;  // 0: none
    std::int32_t value = -1;
  };
  /// The longest string that `text` begins with.
  Match longest_prefix(std::string_view text) const;

 private:
  struct Node {
    std::uint32_t first_child = 0;
    std::int32_t value = -1;
    std::uint16_t child_count = 0;
    std::uint8_t label = 0;
  };
  std::vector<Node> nodes_;
  std::uint32_t root_[256] = {};  // kNone where no string begins so; set by the constructors
};

}  // namespace tenon
