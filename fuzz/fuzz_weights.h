// Loads what a WeightSource promises: whole, and each half along each dimension.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "checkpoint/weight_source.h"
#include "fuzz_input.h"

namespace tenon {

/// A weight may refuse to load or to be cut there; one that loads must be of the promised shape.
inline void load_and_check(const WeightSource& source, const WeightInfo& info, const Cut& cut) {
  fuzz([&] {
    const QuantizedTensor part = source.load(info.name, cut);
    validate(part, info.name);
    Shape expected = info.shape;
    for (std::size_t d = 0; d < cut.size(); ++d) expected[d] = cut[d].size();
    if (part.shape != expected) std::abort();
    if (part.bytes() <= 1 << 16) dequantize(part);
  });
}

inline void load_weights(const WeightSource& source) {
  for (const WeightInfo& info : source.weights()) {
    load_and_check(source, info, {});
    for (std::size_t d = 0; d < info.shape.size(); ++d) {
      Cut cut;
      for (const std::int64_t extent : info.shape) cut.push_back({0, extent});
      cut[d].end = info.shape[d] / 2;
      load_and_check(source, info, cut);
      cut[d] = {info.shape[d] / 2, info.shape[d]};
      load_and_check(source, info, cut);
    }
  }
}

}  // namespace tenon
