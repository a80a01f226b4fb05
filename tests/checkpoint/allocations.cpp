// operator new that counts, for the tests that hostile claims allocate nothing.
// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstdlib>
#include <new>

#include "hostile.h"

namespace tenon {
namespace {
std::atomic<std::uint64_t> total_bytes{0};
std::atomic<std::uint64_t> largest_bytes{0};

void* counted_or_null(std::size_t size) noexcept {
  total_bytes += size;
  if (size > largest_bytes) largest_bytes = size;
  return std::malloc(size == 0 ? 1 : size);
}

void* counted(std::size_t size) {
  void* memory = counted_or_null(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void reset_allocations() {
  total_bytes = 0;
  largest_bytes = 0;
}

Allocations allocations() { return {total_bytes, largest_bytes}; }

}  // namespace tenon

void* operator new(std::size_t size) { return tenon::counted(size); }
void* operator new[](std::size_t size) { return tenon::counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return tenon::counted_or_null(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return tenon::counted_or_null(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
