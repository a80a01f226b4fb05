// Round-to-nearest quantizers; see weight_only.h.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/weight_only.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/half.h"
#include "quant/bit_packing.h"

namespace tenon {
namespace {

/// Stores `value` in the scale's type and gives back what was stored.
float store(Tensor& to, std::int64_t index, float value, std::string_view name) {
  std::byte* place = to.mutable_data() + static_cast<std::size_t>(index) * size_of(to.dtype());
  convert_from_float(to.dtype(), &value, place, 1);
  float stored = 0.0F;
  convert_to_float(to.dtype(), place, &stored, 1);
  TENON_CHECK(std::isfinite(stored), ErrorCode::kInvalidArgument,
              "{}: a scale of {} does not fit into {}; use float32 scales", name, value,
              to_string(to.dtype()));
  return stored;
}

struct Scaling {
  float scale = 0.0F;
  float minimum = 0.0F;
  int lowest = 0;  // code that a value at the bottom gets, before the offset is added
  int highest = 0;
};

struct Products {
  float xq = 0.0F;  ///< sum of value times code
  float qq = 0.0F;  ///< sum of code squared
};

/// Of the codes that `values` get under the scale 1 / inverse. In lanes, which compile to vectors;
/// the sum of 1.5 * 2^23 rounds to nearest, where nearbyint() is a call.
Products products_of_codes(std::span<const float> values, float inverse, float low, float high) {
  constexpr std::size_t kLanes = 8;
  constexpr float kRound = 12582912.0F;
  float xq[kLanes] = {};
  float qq[kLanes] = {};
  const auto add = [&](float value, std::size_t lane) {
    const float code = std::min(std::max(value * inverse, low), high) + kRound - kRound;
    xq[lane] += value * code;
    qq[lane] += code * code;
  };
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) add(values[i + lane], lane);
  for (; i < values.size(); ++i) add(values[i], 0);
  Products out;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    out.xq += xq[lane];
    out.qq += qq[lane];
  }
  return out;
}

/// The scale that leaves the least squared error of those near `first`, which puts the extreme
/// value on the lowest code: a smaller one rounds most values more finely and clips a few. For the
/// codes q that a scale gives to values x, the best factor is (x.q) / (q.q), and it takes (x.q)^2 /
/// (q.q) off the squared error.
float least_error_scale(std::span<const float> values, float first, int lowest, int highest) {
  constexpr int kSteps = 8;  // to either side
  constexpr float kStep = 0.025F;
  float best = first;
  float most = -1;
  for (int step = -kSteps; step <= kSteps; ++step) {
    const float scale = first * (1.0F - kStep * static_cast<float>(step));
    const Products sums = products_of_codes(values, 1.0F / scale, static_cast<float>(lowest),
                                            static_cast<float>(highest));
    // Relative to the first scale: squares of tiny or huge values leave a float's range.
    const float factor = sums.qq == 0.0F ? 0.0F : sums.xq / sums.qq;
    const float taken_off = factor / first * (sums.xq / first);
    if (factor == 0.0F || !std::isfinite(factor) || !(taken_off > most)) continue;
    most = taken_off;
    best = factor;
  }
  return best;
}

Scaling symmetric(std::span<const float> values, int bits) {
  float extreme = 0.0F;
  for (const float value : values)
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  const int half = 1 << (bits - 1);
  if (bits == 8) return {std::fabs(extreme) / 127.0F, 0.0F, -127, 127};
  const float scale = extreme / static_cast<float>(-half);
  // Neither infinite nor so small that its inverse is.
  const bool searchable = std::isnormal(scale) && std::isfinite(1.0F / scale);
  return {searchable ? least_error_scale(values, scale, -half, half - 1) : scale, 0.0F, -half,
          half - 1};
}

Scaling asymmetric(std::span<const float> values, int bits) {
  const auto [low, high] = std::ranges::minmax(values);
  const int steps = (1 << bits) - 1;
  const int lowest = bits == 8 ? -128 : 0;  // 8-bit codes are signed: shift the minimum instead
  // Halved before subtracting: the range of two finite floats may overflow.
  const float scale = (high / 2 - low / 2) / static_cast<float>(steps) * 2;
  return {scale, low - scale * static_cast<float>(lowest), lowest, lowest + steps};
}

void quantize_group(std::span<const float> values, const QuantSpec& spec, std::int64_t index,
                    QuantizedTensor& out, std::string_view name, std::uint8_t* codes) {
  for (const float value : values)
    TENON_CHECK(std::isfinite(value), ErrorCode::kInvalidArgument,
                "{}: has the value {}; only finite weights can be quantized", name, value);
  Scaling scaling = spec.has_minimum ? asymmetric(values, spec.bits) : symmetric(values, spec.bits);
  scaling.scale = store(out.scale, index, scaling.scale, name);
  if (spec.has_minimum) scaling.minimum = store(out.minimum, index, scaling.minimum, name);
  const float inverse = scaling.scale == 0.0F ? 0.0F : 1.0F / scaling.scale;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float exact = (values[i] - scaling.minimum) * inverse;
    const float bounded =
        std::clamp(std::isnan(exact) ? 0.0F : std::nearbyint(exact),
                   static_cast<float>(scaling.lowest), static_cast<float>(scaling.highest));
    codes[i] = static_cast<std::uint8_t>(static_cast<int>(bounded) + spec.code_offset);
  }
}

}  // namespace

QuantSpec weight_only_spec(const WeightOnly& options) {
  const bool offset = !options.has_minimum && options.bits != 8;
  return {.kind = QuantKind::kInteger,
          .bits = options.bits,
          .code_offset = offset ? 1 << (options.bits - 1) : 0,
          .group_size = options.group_size,
          .scale_type = options.scale_type,
          .has_minimum = options.has_minimum};
}

void quantize_weight_only(const QuantizedTensor& weight, Range rows, QuantizedTensor& out,
                          std::string_view name) {
  TENON_ASSERT(weight.shape == out.shape && out.spec.kind == QuantKind::kInteger);
  const QuantSpec& spec = out.spec;
  const std::int64_t columns = out.columns();
  const std::int64_t group = spec.group_size == 0 ? columns : spec.group_size;
  const std::int64_t groups = spec.groups(columns);
  if (columns == 0) return;
  std::vector<float> row(static_cast<std::size_t>(columns));
  std::vector<std::uint8_t> codes(row.size());
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    dequantize_row(weight, r, 0, columns, row.data());
    for (std::int64_t g = 0; g < groups; ++g)
      quantize_group(std::span(row).subspan(static_cast<std::size_t>(g * group),
                                            static_cast<std::size_t>(group)),
                     spec, r * groups + g, out, name, codes.data() + g * group);
    pack_bits(spec.bits, codes.data(), columns,
              out.codes.mutable_data() + r * spec.code_bytes(columns));
  }
}

QuantizedTensor quantize_weight_only(const TensorView& weight, const WeightOnly& options,
                                     std::string_view name) {
  TENON_CHECK(is_floating_point(weight.dtype), ErrorCode::kInvalidArgument,
              "{}: only floating-point weights can be quantized, this is {}", name,
              to_string(weight.dtype));
  QuantizedTensor out;
  try {
    out = QuantizedTensor::empty(weight_only_spec(options), weight.shape, name);
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidArgument, error.what());
  }
  const QuantizedTensor plain = QuantizedTensor::from(Tensor(weight, nullptr));
  quantize_weight_only(plain, {0, out.rows()}, out, name);
  return out;
}

}  // namespace tenon
