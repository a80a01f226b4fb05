// Symbolic extents of a step as numbers.
// SPDX-License-Identifier: Apache-2.0
#include "backends/backend.h"
#include "core/check.h"

namespace tenon {

std::int64_t StepSizes::of(Symbol symbol) const {
  switch (symbol) {
    case Symbol::kNone: break;
    case Symbol::kTokens: return tokens;
    case Symbol::kSequences: return sequences;
    case Symbol::kLogitRows: return logit_rows;
    case Symbol::kEncoderTokens: return encoder_tokens;
  }
  fail(ErrorCode::kInternal, "a constant extent has no symbol");
}

std::int64_t StepSizes::extent(const Dim& dim) const {
  return dim.is_constant() ? dim.extent : of(dim.symbol);
}

std::int64_t StepSizes::elements(const ValueType& type) const {
  if (type.kind == ValueKind::kCache) return 0;
  Shape shape;
  for (const Dim& dim : type.shape) shape.push_back(extent(dim));
  return element_count(shape);
}

}  // namespace tenon
