// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <signal.h>

#include <atomic>

namespace tenon::cli {
namespace {

constexpr int kPatience = 3;

// A signal handler reaches nothing else; lock-free, so it may touch it.
std::atomic<int> presses{0};
static_assert(std::atomic<int>::is_always_lock_free);
struct sigaction before;

void on_interrupt(int) {
  if (presses.fetch_add(1) + 1 >= kPatience) {
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
  }
}

}  // namespace

InterruptGuard::InterruptGuard() {
  clear();
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read that waits for input must return
  sigaction(SIGINT, &action, &before);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &before, nullptr); }

bool InterruptGuard::pending() { return presses.load() > 0; }
void InterruptGuard::clear() { presses.store(0); }

}  // namespace tenon::cli
