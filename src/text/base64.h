// Base64 (RFC 4648) to bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace tenon {

/// Throws Error{kCorrupt} for characters outside the alphabet.
std::string decode_base64(std::string_view text, std::string_view where);
std::string encode_base64(std::string_view bytes);

}  // namespace tenon
