// SPDX-License-Identifier: Apache-2.0
#include "api/random_weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <span>
#include <thread>
#include <vector>

#include "core/half.h"
#include "core/hash.h"
#include "core/thread_pool.h"
#include "quant/bit_packing.h"
#include "quant/formats/scaled_float.h"

namespace tenon {
namespace {

constexpr float kDeviation = 0.02F;
constexpr std::int64_t kChunk = std::int64_t{1} << 20;  // values of a run of rows, about

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

/// Largest magnitude of random_value().
constexpr float kLargest = kDeviation * 1.7320508F * 2.0F;

/// Billions of values: all cores take part, a run of rows at a time. `run(begin, end, values)` gets
/// the values of rows [begin, end) and puts them where they belong.
template <class F>
void fill_rows(std::int64_t rows, std::int64_t columns, std::uint64_t seed, const F& run) {
  const std::int64_t each = std::max<std::int64_t>(1, kChunk / std::max<std::int64_t>(columns, 1));
  const std::int64_t runs = (rows + each - 1) / each;
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    std::vector<float> values(static_cast<std::size_t>(std::min(each, rows) * columns));
    for (std::int64_t i = next++; i < runs; i = next++) {
      const std::int64_t begin = i * each;
      const std::int64_t end = std::min(rows, begin + each);
      const auto first = static_cast<std::uint64_t>(begin * columns);
      for (std::int64_t v = 0; v < (end - begin) * columns; ++v)
        values[static_cast<std::size_t>(v)] =
            random_value(seed, first + static_cast<std::uint64_t>(v));
      run(begin, end, std::span<float>(values));
    }
  };
  std::vector<std::jthread> helpers;
  for (std::int64_t t = 1; t < std::min<std::int64_t>(runs, available_cores()); ++t)
    helpers.emplace_back(work);
  work();
}

void put_floats(Tensor& to, std::int64_t begin, std::span<const float> values,
                std::int64_t columns) {
  const auto size = static_cast<std::int64_t>(size_of(to.dtype()));
  convert_from_float(to.dtype(), values.data(), to.mutable_data() + begin * columns * size,
                     values.size());
}

/// Codes of rows [begin, …): numbers over `scale`, within the codes' range.
void put_codes(QuantizedTensor& to, std::int64_t begin, std::span<float> values, float scale) {
  const QuantSpec& spec = to.spec;
  const std::int64_t columns = to.columns();
  for (float& value : values) value /= scale;
  if (spec.kind == QuantKind::kScaledFloat) {
    convert_from_float(spec.float_type, values.data(), to.codes.mutable_data() + begin * columns,
                       values.size());
    return;
  }
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
  const std::int64_t rows = std::ssize(values) / columns;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t c = 0; c < columns; ++c)
      codes[static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(
          static_cast<int>(std::lrintf(values[static_cast<std::size_t>(row * columns + c)])) +
          spec.code_offset);
    pack_bits(spec.bits, codes.data(), columns,
              to.codes.mutable_data() + (begin + row) * spec.code_bytes(columns));
  }
}

QuantizedTensor random_codes(const QuantSpec& spec, const Shape& shape, std::uint64_t seed,
                             std::string_view name) {
  QuantizedTensor out = QuantizedTensor::empty(spec, shape, name);
  const float largest_code = spec.kind == QuantKind::kScaledFloat
                                 ? kLargestE4M3
                                 : static_cast<float>((1 << (spec.bits - 1)) - 1);
  const std::vector<float> scales(static_cast<std::size_t>(out.scale.view().elements()),
                                  kLargest / largest_code);
  convert_from_float(spec.scale_type, scales.data(), out.scale.mutable_data(), scales.size());
  fill_rows(out.rows(), out.columns(), seed,
            [&](std::int64_t begin, std::int64_t end, std::span<float> values) {
              put_codes(out, begin,
                        values.first(static_cast<std::size_t>((end - begin) * out.columns())),
                        kLargest / largest_code);
            });
  return out;
}

class RandomWeights : public WeightSource {
 public:
  RandomWeights(const ModelGraphs& graphs, DataType dtype, std::uint64_t seed,
                const std::map<std::string, QuantSpec>& specs)
      : seed_(seed) {
    std::map<std::string, Shape> shapes;
    for (const auto& [name, graph] : graphs.programs)
      for (const Weight& weight : graph.weights) shapes.emplace(weight.name, weight.shape);
    for (const auto& [name, shape] : shapes) {
      const auto found = specs.find(name);
      infos_.push_back(
          {name, shape, found == specs.end() ? QuantSpec::floating(dtype) : found->second});
    }
  }

  const std::vector<WeightInfo>& weights() const override { return infos_; }

  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    const WeightInfo& info = at(name);
    const std::uint64_t seed = hash64(std::as_bytes(std::span(name.data(), name.size())), seed_);
    if (!info.spec.is_float())
      return cut_weight(random_codes(info.spec, info.shape, seed, name), cut);
    Tensor tensor(info.spec.float_type, info.shape);
    if (info.shape.size() > 1) {
      const std::int64_t columns = info.shape.back();
      const std::int64_t rows = columns == 0 ? 0 : element_count(info.shape, name) / columns;
      fill_rows(
          rows, columns, seed, [&](std::int64_t begin, std::int64_t end, std::span<float> values) {
            put_floats(tensor, begin,
                       values.first(static_cast<std::size_t>((end - begin) * columns)), columns);
          });
    } else {
      const std::vector<float> values(static_cast<std::size_t>(element_count(info.shape, name)),
                                      is_gain(name) ? 1.0F : 0.0F);
      put_floats(tensor, 0, values, 1);
    }
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
                                                  std::uint64_t seed,
                                                  const std::map<std::string, QuantSpec>& specs) {
  return std::make_unique<RandomWeights>(graphs, dtype, seed, specs);
}

}  // namespace tenon
