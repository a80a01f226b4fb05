// Memory of one rendering: handed out, never taken back before the end, up to a limit. Values
// are plain pointers into it, so cycles and deep nests cost nothing to free.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <new>
#include <utility>
#include <vector>

#include "text/jinja/site.h"

namespace tenon::jinja {

class Arena final : public std::pmr::memory_resource {
 public:
  /// `site` (kept by reference) names the place in the error when `limit` bytes are spent.
  Arena(const Site& site, std::size_t limit) : site_(site), limit_(limit) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Objects made here are never destroyed: they may own memory of this arena alone.
  template <class T, class... Args>
  T* make(Args&&... args) {
    return new (allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }

  char* bytes(std::size_t count) { return static_cast<char*>(allocate(count, 1)); }

  /// Throws when `count` more bytes would pass the limit, without taking them.
  void require(std::size_t count) const;

 private:
  void* do_allocate(std::size_t count, std::size_t alignment) override;
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  const Site& site_;
  std::size_t limit_;
  std::size_t used_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
};

}  // namespace tenon::jinja
