// What all fuzz targets share: a parser may accept, or throw tenon::Error; anything else is a bug.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "tenon/error.h"

namespace tenon {

struct FuzzInput {
  const std::uint8_t* data;
  std::size_t size;

  std::span<const std::byte> bytes() const {
    return {reinterpret_cast<const std::byte*>(data), size};
  }
  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }
};

/// Runs body(); ErrorCode::kInternal means that input reached what input must not reach. Where
/// TENON_FUZZ_PRINT is set, each refusal is printed: to see that a seed is accepted.
template <class Body>
int fuzz(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    static const bool print = std::getenv("TENON_FUZZ_PRINT") != nullptr;
    if (print) std::fprintf(stderr, "%s\n", error.what());
    if (error.code() == ErrorCode::kInternal) std::abort();
  }
  return 0;
}

}  // namespace tenon
