// Rewrites text before it is split. Immutable and thread-safe; in and out is valid UTF-8.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/json.h"

namespace tenon {

struct NormalizedText {
  std::string text;
  bool front_removed = false;  // the first character that is left was not the first of the original
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& text) const = 0;
};

/// From the "normalizer" member of a tokenizer.json. Throws Error{kUnsupported} naming an unknown
/// type.
std::unique_ptr<const Normalizer> make_normalizer(const Json& json, std::string_view where);

}  // namespace tenon
