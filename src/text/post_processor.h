// Puts special tokens around the ids of one text: what is left of post-processing without offsets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/json.h"

namespace tenon {

struct PostProcessor {
  std::vector<std::int32_t> prefix;
  std::vector<std::int32_t> suffix;
};

/// From the "post_processor" member of a tokenizer.json, for a single text. Throws
/// Error{kUnsupported} naming an unknown type.
PostProcessor make_post_processor(const Json& json, std::string_view where);

}  // namespace tenon
