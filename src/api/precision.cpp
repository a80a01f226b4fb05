// SPDX-License-Identifier: Apache-2.0
#include "api/precision.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <vector>

#include "core/shape.h"

namespace tenon {
namespace {

/// Mean KL divergence from transformers in fp32, over 500 tokens of tests/data/real_model/text.txt.
struct Measured {
  const char* model;
  const char* weights;
  DataType activations;
  DataType cache;
  const char* mean_kl;
};

constexpr const char* kSmolLm = "SmolLM2-135M-Instruct";
constexpr const char* kQ41 =
    "int4 group 32 scale float16 minimum, int8 group 32 scale float16";  // its file of Q4_1

// What `convert --use_weight_only` makes of that file; its table of int8 stays.
constexpr const char* kW8 = "int8 group row scale float32, int8 group 32 scale float16";
constexpr const char* kW4 = "int4 group 64 scale float16 offset 8, int8 group 32 scale float16";
constexpr const char* kFp8 = "float8_e4m3 group row scale float32, int8 group 32 scale float16";

/// The one list of what was measured; docs/running.md has it too, with the command.
constexpr Measured kMeasured[] = {
    {kSmolLm, kQ41, DataType::kFloat32, DataType::kFloat32, "4.9e-10"},
    {kSmolLm, kQ41, DataType::kFloat32, DataType::kFloat16, "3.4e-7"},
    {kSmolLm, kQ41, DataType::kFloat32, DataType::kBFloat16, "2.2e-5"},
    {kSmolLm, kQ41, DataType::kFloat32, DataType::kInt8, "6.3e-4"},
    {kSmolLm, kQ41, DataType::kBFloat16, DataType::kFloat32, "1.2e-4"},
    {kSmolLm, kQ41, DataType::kBFloat16, DataType::kFloat16, "1.2e-4"},
    {kSmolLm, kQ41, DataType::kBFloat16, DataType::kBFloat16, "1.3e-4"},
    {kSmolLm, kQ41, DataType::kBFloat16, DataType::kInt8, "7.2e-4"},
    {kSmolLm, kW8, DataType::kFloat32, DataType::kFloat32, "2.3e-3"},
    {kSmolLm, kW4, DataType::kFloat32, DataType::kFloat32, "3.1e-1"},
    {kSmolLm, kFp8, DataType::kFloat32, DataType::kFloat32, "1.1e-2"},
    {kSmolLm, kFp8, DataType::kFloat8E4M3, DataType::kFloat32, "1.9e-2"},
};

}  // namespace

std::string weight_formats(std::span<const WeightInfo> weights) {
  std::map<std::string, std::int64_t> sizes;
  for (const WeightInfo& weight : weights)
    if (weight.shape.size() > 1)
      sizes[to_string(weight.spec)] += element_count(weight.shape, weight.name);
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (const auto& [format, size] : sizes) order.emplace_back(-size, format);
  std::sort(order.begin(), order.end());
  std::string text;
  for (const auto& [size, format] : order) text += (text.empty() ? "" : ", ") + format;
  return text;
}

std::string describe(const Precision& precision) {
  std::string text = fmt::format(
      "precision: weights as stored ({}), activations {}, cache {}; ", precision.weights,
      precision.activations == DataType::kFloat32 ? "float32 exact"
                                                  : to_string(precision.activations),
      to_string(precision.cache));
  const auto* const measured =
      std::find_if(std::begin(kMeasured), std::end(kMeasured), [&](const Measured& row) {
        return row.weights == precision.weights && row.activations == precision.activations &&
               row.cache == precision.cache;
      });
  if (measured == std::end(kMeasured))
    return text + "its distance is not measured; tenon eval measures it";
  return text + fmt::format("mean KL {} to transformers fp32 on {} (docs/running.md)",
                            measured->mean_kl, measured->model);
}

}  // namespace tenon
