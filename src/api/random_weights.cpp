// SPDX-License-Identifier: Apache-2.0
#include "api/random_weights.h"

#include <map>
#include <random>
#include <vector>

#include "core/half.h"
#include "core/hash.h"

namespace tenon {
namespace {

class RandomWeights : public WeightSource {
 public:
  RandomWeights(const ModelGraphs& graphs, DataType dtype, std::uint64_t seed) : seed_(seed) {
    std::map<std::string, Shape> shapes;
    for (const auto& [name, graph] : graphs.programs)
      for (const Weight& weight : graph.weights) shapes.emplace(weight.name, weight.shape);
    for (const auto& [name, shape] : shapes)
      infos_.push_back({name, shape, QuantSpec::floating(dtype)});
  }

  const std::vector<WeightInfo>& weights() const override { return infos_; }

  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    const WeightInfo& info = at(name);
    const auto count = static_cast<std::size_t>(element_count(info.shape, name));
    std::vector<float> values(count, is_gain(name) ? 1.0F : 0.0F);
    if (info.shape.size() > 1) {
      std::mt19937_64 generator(hash64(std::as_bytes(std::span(name.data(), name.size())), seed_));
      std::normal_distribution<float> normal(0.0F, 0.02F);
      for (float& value : values) value = normal(generator);
    }
    Tensor tensor(info.spec.float_type, info.shape);
    convert_from_float(info.spec.float_type, values.data(), tensor.mutable_data(), count);
    return cut_weight(QuantizedTensor::from(std::move(tensor)), cut);
  }

 private:
  static bool is_gain(std::string_view name) {
    return name.ends_with("norm.weight") || name.ends_with("ln_f.weight");
  }

  std::uint64_t seed_;
  std::vector<WeightInfo> infos_;
};

}  // namespace

std::unique_ptr<WeightSource> make_random_weights(const ModelGraphs& graphs, DataType dtype,
                                                  std::uint64_t seed) {
  return std::make_unique<RandomWeights>(graphs, dtype, seed);
}

}  // namespace tenon
