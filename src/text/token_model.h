// The algorithm at the heart of a tokenizer: one piece of normalized text in, ids out.
// Implementations are immutable and thread-safe.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace tenon {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of `piece`, which is not empty and valid UTF-8 (raw bytes for a byte-level
  /// model).
  virtual void encode(std::string_view piece, std::vector<std::int32_t>& out) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  Vocabulary vocabulary_;
};

}  // namespace tenon
