// Little-endian numbers and strings taken one after another from bytes that may lie.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "core/check.h"

namespace tenon {

class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view where)
      : bytes_(bytes), where_(where) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }
  std::string_view where() const { return where_; }

  /// The next `count` bytes; throws Error{kCorrupt} naming `what` where the file ends before.
  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    TENON_CHECK(count <= remaining(), ErrorCode::kCorrupt,
                "{}: {} at byte {} takes {} bytes, but only {} are left; the file is cut short or "
                "damaged",
                where_, what, position_, count, remaining());
    const auto part = bytes_.subspan(position_, count);
    position_ += count;
    return part;
  }

  template <class T>
  T number(std::string_view what) {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view text(std::uint64_t length, std::string_view what) {
    const auto part = take(length, what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  void seek(std::uint64_t position, std::string_view what) {
    position_ = 0;
    take(position, what);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view where_;
  std::uint64_t position_ = 0;
};

}  // namespace tenon
