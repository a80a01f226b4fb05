// Chunked bump allocation with one limit over everything.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/arena.h"

#include <algorithm>
#include <cstdint>

namespace tenon::jinja {
namespace {
constexpr std::size_t kFirstChunk = std::size_t{16} << 10;
constexpr std::size_t kChunk = std::size_t{256} << 10;
}  // namespace

void Arena::require(std::size_t count) const {
  if (count > limit_ || used_ > limit_ - count)
    fail_at(site_, ErrorCode::kResourceExhausted,
            "the template needs more than {} MiB of memory; expected less", limit_ >> 20);
}

void* Arena::do_allocate(std::size_t count, std::size_t alignment) {
  require(count);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(next_) & (alignment - 1);
  const std::size_t padding = misaligned == 0 ? 0 : alignment - misaligned;
  if (next_ == nullptr || static_cast<std::size_t>(end_ - next_) < count + padding) {
    const std::size_t chunk = chunks_.empty() ? kFirstChunk : kChunk;
    if (count > chunk / 4) {  // large ones stand alone and leave the open chunk in place
      used_ += count;
      chunks_.emplace_back(new std::byte[count]);
      return chunks_.back().get();
    }
    chunks_.emplace_back(new std::byte[chunk]);
    next_ = chunks_.back().get();
    end_ = next_ + chunk;
    used_ += count;
    return std::exchange(next_, next_ + count);
  }
  used_ += count + padding;
  std::byte* result = next_ + padding;
  next_ = result + count;
  return result;
}

}  // namespace tenon::jinja
