// Replaces the global operator new of the binary it is linked into.
// SPDX-License-Identifier: Apache-2.0
#include "failing_new.h"

#include <cstdlib>
#include <new>

namespace tenon::test {
namespace {

thread_local bool armed = false;
thread_local std::int64_t until_first = 0;
thread_local std::int64_t left = 0;
thread_local bool has_failed = false;

bool fails_now() {
  if (!armed || until_first-- > 0 || left == 0) return false;
  --left;
  has_failed = true;
  return true;
}

void* allocate(std::size_t size) noexcept {
  return fails_now() ? nullptr : std::malloc(size > 0 ? size : 1);
}
void* allocate_or_throw(std::size_t size) {
  void* const memory = allocate(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

FailingNew::FailingNew(std::int64_t n, std::int64_t count) {
  until_first = n;
  left = count;
  has_failed = false;
  armed = true;
}
FailingNew::~FailingNew() { armed = false; }
bool FailingNew::failed() const { return has_failed; }

}  // namespace tenon::test

void* operator new(std::size_t size) { return tenon::test::allocate_or_throw(size); }
void* operator new[](std::size_t size) { return tenon::test::allocate_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return tenon::test::allocate(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return tenon::test::allocate(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
