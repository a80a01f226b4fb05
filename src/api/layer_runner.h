// Runs one layer's graph on host rows, on the CPU backend, cut over ranks that are threads.
// Rows enter as the table of an embedding whose ids count them: a step fills no float inputs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/weight_source.h"
#include "core/tensor.h"
#include "graph/graph.h"

namespace tenon {

/// Weights that live in memory, by name.
class HostWeights : public WeightSource {
 public:
  void add(const std::string& name, const Shape& shape, std::span<const float> data) {
    infos_.push_back({name, shape, QuantSpec::floating(DataType::kFloat32)});
    tensors_.insert_or_assign(name, QuantizedTensor::from(Tensor::from_floats(shape, data)));
  }
  const std::vector<WeightInfo>& weights() const override { return infos_; }
  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    at(name);
    return cut_weight(tensors_.find(name)->second, cut);
  }

 private:
  std::vector<WeightInfo> infos_;
  std::map<std::string, QuantizedTensor, std::less<>> tensors_;
};

/// One step's rows, however they came.
struct LayerStep {
  std::vector<std::int32_t> token_ids;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> lengths;          ///< of the sequences
  std::vector<std::int32_t> encoder_lengths;  ///< empty: no encoder
};

/// What `graph` has under "output" after the step, on rank 0 of `tp_size`.
Tensor run_layer(const Graph& graph, const HostWeights& weights, const LayerStep& step,
                 int tp_size);

}  // namespace tenon
