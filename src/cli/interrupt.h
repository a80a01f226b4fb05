// Ctrl-C as a count instead of an end: the answer stops, the program goes on. A third one while
// nobody looked ends the program as usual.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tenon::cli {

/// Counts SIGINT while it lives; the handler before it comes back after.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool pending();
  static void clear();
};

}  // namespace tenon::cli
