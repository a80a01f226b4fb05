// Feeding parsers damaged bytes: whatever they are given, only tenon::Error may come out, and
// memory stays in proportion to the input.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tenon/error.h"

namespace tenon {

/// Bytes that operator new gave out since reset_allocations(), and the largest single piece.
struct Allocations {
  std::uint64_t total = 0;
  std::uint64_t largest = 0;
};
void reset_allocations();
Allocations allocations();

using Bytes = std::vector<std::byte>;
using Parse = std::function<void(std::span<const std::byte>)>;

/// Runs `parse`; true where it accepted. Anything but tenon::Error fails the test.
inline bool survives(const Parse& parse, std::span<const std::byte> bytes,
                     const std::string& what) {
  reset_allocations();
  bool accepted = false;
  try {
    // A copy of exactly this size, so that a sanitizer sees every byte read past the end.
    const Bytes copy(bytes.begin(), bytes.end());
    parse(copy);
    accepted = true;
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << what << ": " << error.what();
    EXPECT_FALSE(std::string(error.what()).empty());
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": not a tenon::Error: " << error.what();
  }
  EXPECT_LT(allocations().largest, (1U << 20) + 64 * bytes.size()) << what;
  return accepted;
}

/// Cut short at every byte of the first `header` bytes and at some after; then bits flipped, bytes
/// and words replaced by extremes, `rounds` times with a fixed seed.
inline void expect_survives_damage(const Parse& parse, const Bytes& good, std::size_t header,
                                   int rounds) {
  ASSERT_TRUE(survives(parse, good, "undamaged"));
  for (std::size_t length = 0; length < good.size(); length += length < header ? 1 : 97) {
    const std::string what = "cut short at " + std::to_string(length);
    const bool accepted = survives(parse, std::span(good).first(length), what);
    EXPECT_FALSE(accepted && length < header) << what;  // behind it, only padding may be missing
  }
  std::mt19937 random(42);
  const auto below = [&](std::size_t bound) { return random() % bound; };
  for (int round = 0; round < rounds; ++round) {
    Bytes bad = good;
    for (std::size_t hits = 1 + below(3); hits > 0; --hits) {
      const std::size_t at = below(std::min(header, bad.size()));
      switch (below(4)) {
        case 0: bad[at] ^= std::byte{1} << below(8); break;
        case 1: bad[at] = static_cast<std::byte>(random()); break;
        case 2:
          for (std::size_t i = at; i < std::min(at + 8, bad.size()); ++i) bad[i] = std::byte{0xFF};
          break;
        default: bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(at), bad[below(header)]);
      }
    }
    survives(parse, bad, "round " + std::to_string(round));
  }
}

/// Expects an Error of `code` whose message has every one of `parts`.
inline void expect_error(ErrorCode code, const std::function<void()>& body,
                         std::initializer_list<std::string_view> parts) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with " << *parts.begin();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string_view part : parts)
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "\"" << part << "\" is not in: " << error.what();
  }
}

}  // namespace tenon
