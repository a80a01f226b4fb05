// Whether this build runs under AddressSanitizer or ThreadSanitizer. Their own memory (shadow,
// quarantine of freed blocks, stacks of each allocation) is resident and in no plan, and grows with
// what the process did before: no test may hold a process's memory to a bound there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tenon::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace tenon::test
