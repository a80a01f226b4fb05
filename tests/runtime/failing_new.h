// Allocations that fail on purpose: the test binary's operator new asks the calling thread's
// switch.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tenon::test {

/// While one lives, the n-th allocation (from 0) of the thread that made it fails, and `count` - 1
/// more after it. Deallocations never fail.
class FailingNew {
 public:
  explicit FailingNew(std::int64_t n, std::int64_t count = 1);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;
  /// Whether one has failed yet.
  bool failed() const;
};

}  // namespace tenon::test
