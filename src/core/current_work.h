// What this process is at work on, for the last words of a process that crashes: an op, its kernel.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tenon {

/// `text` must live until another is noted; null: nothing worth telling. With several ranks, what
/// one of them does. From any thread; a store.
void note_current_work(const char* text) noexcept;
const char* current_work() noexcept;

/// Signals that end this process as a crash does (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) write
/// it on standard error first. Handlers that are there already (a sanitizer's) stay.
void tell_current_work_in_crashes() noexcept;

}  // namespace tenon
