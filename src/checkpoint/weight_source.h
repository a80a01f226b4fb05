// WeightSource: a model's weights by logical name, whole or any rectangle of them, wherever they
// come from: a Hugging Face or GGUF model through its weight map, or rank files of any mapping.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapping.h"
#include "graph/graph.h"
#include "quant/quantized_tensor.h"

namespace tenon {

struct WeightInfo {
  std::string name;
  Shape shape;  ///< of the whole
  QuantSpec spec;
};

/// One range per dimension; empty: the whole weight.
using Cut = std::vector<Range>;

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual const std::vector<WeightInfo>& weights() const = 0;

  /// Throws Error{kNotFound} for an unknown name, Error{kInvalidArgument} where the cut does not
  /// fit the shape or the quantization groups, Error{kCorrupt} where the file is damaged.
  virtual QuantizedTensor load(std::string_view name, const Cut& cut) const = 0;

  /// Null where there is none. Linear in the number of weights.
  const WeightInfo* find(std::string_view name) const;
  /// Throws Error{kNotFound} with the nearest name.
  const WeightInfo& at(std::string_view name) const;
};

/// The rectangle `cut` of a whole part.
QuantizedTensor cut_weight(const QuantizedTensor& whole, const Cut& cut);

/// Compares what graphs ask for with what a source has. Throws one Error{kCorrupt} that lists every
/// missing, unused and wrongly shaped weight; `where` names the model.
void check_weights(std::span<const Graph* const> graphs, const WeightSource& source,
                   std::string_view where);

}  // namespace tenon
