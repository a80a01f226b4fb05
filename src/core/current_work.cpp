// SPDX-License-Identifier: Apache-2.0
#include "core/current_work.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <initializer_list>

namespace tenon {
namespace {

std::atomic<const char*> work{nullptr};
static_assert(std::atomic<const char*>::is_always_lock_free, "a signal handler reads it");

void say(const char* text) { (void)!::write(STDERR_FILENO, text, ::strlen(text)); }

void on_crash(int signal) {
  if (const char* text = work.load()) {
    say("crashed in ");
    say(text);
    say("\n");
  }
  ::raise(signal);  // by now its own effect again: SA_RESETHAND
}

}  // namespace

void note_current_work(const char* text) noexcept { work.store(text, std::memory_order_relaxed); }
const char* current_work() noexcept { return work.load(std::memory_order_relaxed); }

void tell_current_work_in_crashes() noexcept {
  struct sigaction mine {};
  mine.sa_handler = on_crash;
  mine.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    struct sigaction before {};
    if (::sigaction(signal, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) continue;
    ::sigaction(signal, &mine, nullptr);
  }
}

}  // namespace tenon
