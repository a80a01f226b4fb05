// What this process holds of the machine's memory, and giving back what it does not need.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tenon {

/// Resident bytes that no file stands behind (RssAnon); mapped files are not counted, the system
/// takes them back when it needs room. 0 where the system does not tell.
std::int64_t anonymous_memory();

/// Gives the allocator's free pages back to the system. Slow (milliseconds): after a load.
void give_back_free_memory();

}  // namespace tenon
