// The version of this Tenon.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tenon {

inline constexpr const char* kVersion = "0.1.0";  ///< major.minor.patch

}  // namespace tenon
