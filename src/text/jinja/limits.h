// What one rendering may cost. Each limit ends a hostile template in an Error, never a crash.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenon::jinja {

struct Limits {
  int depth = 1200;                                   ///< nested expressions, blocks and calls
  std::uint64_t steps = 20'000'000;                   ///< nodes evaluated, items walked
  std::size_t output_bytes = std::size_t{64} << 20;   ///< text written, inner buffers included
  std::size_t memory_bytes = std::size_t{256} << 20;  ///< values made by the template
};

inline constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20;
inline constexpr int kMaxSyntaxDepth = 200;  ///< nesting the parser accepts
inline constexpr int kMaxValueDepth = 200;   ///< nesting of lists and dicts that can be printed
inline constexpr std::int64_t kMaxRange = 100'000;  ///< items of range(), as jinja2's sandbox

}  // namespace tenon::jinja
