// SPDX-License-Identifier: Apache-2.0
#include "api/random_weights.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <span>
#include <thread>
#include <vector>

#include "core/half.h"
#include "core/hash.h"
#include "core/thread_pool.h"

namespace tenon {
namespace {

constexpr float kDeviation = 0.02F;
constexpr std::size_t kChunk = std::size_t{1} << 20;

/// Nearly normal: the sum of four uniform numbers of 16 bits, of mean 2 and variance 1/3. Each
/// value depends on the seed and its place alone, so that any number of threads writes the same.
float random_value(std::uint64_t seed, std::uint64_t place) {
  std::uint64_t x = seed + (place + 1) * 0x9E3779B97F4A7C15ULL;  // splitmix64 (Steele et al., 2014)
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  x ^= x >> 31;
  const std::uint64_t sum = (x & 0xFFFF) + (x >> 16 & 0xFFFF) + (x >> 32 & 0xFFFF) + (x >> 48);
  constexpr float kScale = kDeviation * 1.7320508F / 65536.0F;
  return (static_cast<float>(sum) - 131070.0F) * kScale;
}

/// Billions of values: all cores take part.
void fill_random(std::span<float> values, std::uint64_t seed) {
  const std::size_t chunks = (values.size() + kChunk - 1) / kChunk;
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t chunk = next++; chunk < chunks; chunk = next++)
      for (std::size_t i = chunk * kChunk; i < std::min(values.size(), (chunk + 1) * kChunk); ++i)
        values[i] = random_value(seed, i);
  };
  std::vector<std::jthread> helpers;
  for (std::size_t t = 1;
       t < std::min<std::size_t>(chunks, static_cast<std::size_t>(available_cores())); ++t)
    helpers.emplace_back(work);
  work();
}

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
    if (info.shape.size() > 1)
      fill_random(values, hash64(std::as_bytes(std::span(name.data(), name.size())), seed_));
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
