// Sequence: one sample of a request on its way through the cache. Owned by the executor's thread.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/request.h"

namespace tenon {

struct Sequence {
  RequestId request = 0;
  int sample = 0;
  std::shared_ptr<const Request> spec;
  std::uint64_t seed = 0;
  std::int64_t longest = 0;  ///< tokens, prompt and output, it may come to
  std::int64_t max_new_tokens = 0;

  std::vector<std::int32_t> tokens;  ///< prompt and output
  std::int64_t prompt_length = 0;
  std::int64_t cached = 0;  ///< tokens whose keys and values are in the cache
  std::int32_t slot = -1;
  std::vector<std::vector<std::int32_t>> blocks;  ///< per cache group
  bool announced = false;                         ///< its slot update went out

  std::int64_t pending() const { return static_cast<std::int64_t>(tokens.size()) - cached; }
  std::int64_t generated() const {
    return static_cast<std::int64_t>(tokens.size()) - prompt_length;
  }
};

}  // namespace tenon
