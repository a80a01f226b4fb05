// SPDX-License-Identifier: Apache-2.0
#include "layers/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace tenon {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

double original_length(const RopeSettings& settings) {
  const std::int64_t original = settings.scaling.original_max_position_embeddings;
  return static_cast<double>(original > 0 ? original : settings.max_position_embeddings);
}

/// base^(2i / rotary_dim), rounded to float32 where PyTorch rounds.
std::vector<float> wavelengths(double base, std::int64_t rotary_dim) {
  std::vector<float> result(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    const double rounded_base = static_cast<float>(base);
    result[i] = static_cast<float>(std::pow(rounded_base, static_cast<double>(exponent)));
  }
  return result;
}

std::vector<float> plain(double base, std::int64_t rotary_dim) {
  std::vector<float> result = wavelengths(base, rotary_dim);
  for (float& value : result) value = 1.F / value;
  return result;
}

/// Llama 3.1: long waves are stretched by factor, short ones kept, those between blended.
void scale_llama3(const RopeSettings& settings, std::vector<float>& inv_freq) {
  const RopeScaling& s = settings.scaling;
  const double length = original_length(settings);
  const auto low = static_cast<float>(s.low_freq_factor);
  const auto factor = static_cast<float>(s.factor);
  const auto span = static_cast<float>(s.high_freq_factor - s.low_freq_factor);
  const auto longest = static_cast<float>(length / s.low_freq_factor);
  const auto shortest = static_cast<float>(length / s.high_freq_factor);
  for (float& value : inv_freq) {
    const float wavelength = static_cast<float>(kTwoPi) / value;
    if (wavelength < shortest) continue;
    if (wavelength > longest) {
      value /= factor;
      continue;
    }
    const float keep = (static_cast<float>(length) / wavelength - low) / span;
    value = (1.F - keep) * value / factor + keep * value;
  }
}

/// YaRN: features that turn less than beta_slow times in the original length are interpolated,
/// those that turn more than beta_fast times kept, a ramp between.
std::vector<float> yarn(const RopeSettings& settings) {
  const RopeScaling& s = settings.scaling;
  const auto dim = static_cast<double>(settings.rotary_dim);
  const auto feature_turning = [&](double turns) {
    return dim * std::log(original_length(settings) / (turns * kTwoPi)) /
           (2.0 * std::log(settings.base));
  };
  double low = feature_turning(s.beta_fast);
  double high = feature_turning(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;  // a step, without dividing by zero

  std::vector<float> result = wavelengths(settings.base, settings.rotary_dim);
  const auto factor = static_cast<float>(s.factor);
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float position =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1.F - std::clamp(position, 0.F, 1.F);
    const float interpolated = 1.F / (factor * result[i]);
    const float extrapolated = 1.F / result[i];
    result[i] = interpolated * (1.F - keep) + extrapolated * keep;
  }
  return result;
}

double yarn_magnitude(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

float amplitude_of(const RopeSettings& settings) {
  const RopeScaling& s = settings.scaling;
  if (s.type != "yarn" && s.type != "longrope") return 1.F;
  if (s.attention_factor) return static_cast<float>(*s.attention_factor);
  if (s.type == "longrope")
    return s.factor <= 1.0 ? 1.F
                           : static_cast<float>(std::sqrt(
                                 1.0 + std::log(s.factor) / std::log(original_length(settings))));
  if (s.mscale != 0.0 && s.mscale_all_dim != 0.0)
    return static_cast<float>(yarn_magnitude(s.factor, s.mscale) /
                              yarn_magnitude(s.factor, s.mscale_all_dim));
  return static_cast<float>(yarn_magnitude(s.factor, 1.0));
}

std::vector<float> longrope(const RopeSettings& settings, const std::vector<double>& factors) {
  std::vector<float> result = wavelengths(settings.base, settings.rotary_dim);
  TENON_CHECK(factors.size() == result.size(), ErrorCode::kInvalidArgument,
              "longrope has {} factors for {} rotated features, expected {}", factors.size(),
              settings.rotary_dim, result.size());
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = 1.F / (static_cast<float>(factors[i]) * result[i]);
  return result;
}

/// Dynamic NTK: the base grows with the length.
double dynamic_base(const RopeSettings& settings, std::int64_t length) {
  const double original = original_length(settings);
  const double now = std::max(static_cast<double>(length), original);
  const auto dim = static_cast<double>(settings.rotary_dim);
  const double factor = settings.scaling.factor;
  return settings.base * std::pow(factor * now / original - (factor - 1.0), dim / (dim - 2.0));
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeSettings& settings, std::int64_t length) {
  const RopeScaling& s = settings.scaling;
  TENON_CHECK(settings.rotary_dim >= 2 && settings.rotary_dim % 2 == 0, ErrorCode::kInvalidArgument,
              "rotary embedding of {} features: expected an even number", settings.rotary_dim);
  RopeFrequencies result;
  result.amplitude = amplitude_of(settings);
  if (s.type == "yarn") {
    result.inv_freq = yarn(settings);
  } else if (s.type == "longrope") {
    const bool beyond = static_cast<double>(length) > original_length(settings);
    result.inv_freq = longrope(settings, beyond ? s.long_factor : s.short_factor);
  } else if (s.type == "dynamic" && settings.rotary_dim > 2) {
    result.inv_freq = plain(dynamic_base(settings, length), settings.rotary_dim);
  } else {
    result.inv_freq = plain(settings.base, settings.rotary_dim);
    if (s.type == "linear")
      for (float& value : result.inv_freq) value /= static_cast<float>(s.factor);
    if (s.type == "llama3") scale_llama3(settings, result.inv_freq);
    TENON_CHECK(
        s.type == "default" || s.type == "linear" || s.type == "llama3" || s.type == "dynamic",
        ErrorCode::kUnsupported, "rope type \"{}\" is not supported", s.type);
  }
  TENON_CHECK(s.frequency_factors.empty() || s.frequency_factors.size() == result.inv_freq.size(),
              ErrorCode::kInvalidArgument, "{} frequency factors for {} rotated features",
              s.frequency_factors.size(), settings.rotary_dim);
  for (std::size_t i = 0; i < s.frequency_factors.size(); ++i)
    result.inv_freq[i] /= static_cast<float>(s.frequency_factors[i]);
  return result;
}

Rope rope_op(const RopeSettings& settings, std::int64_t heads, std::int64_t head_dim,
             RopeStyle style) {
  const RopeFrequencies normal = rope_frequencies(settings);
  Rope op{.heads = heads, .head_dim = head_dim, .rotary_dim = settings.rotary_dim, .style = style};
  op.inv_freq = normal.inv_freq;
  op.amplitude = normal.amplitude;
  const bool by_length = settings.scaling.type == "longrope" || settings.scaling.type == "dynamic";
  if (!by_length) return op;

  op.original_length = static_cast<std::int64_t>(original_length(settings));
  TENON_CHECK(op.original_length > 0, ErrorCode::kInvalidArgument,
              "rope type \"{}\" needs original_max_position_embeddings or max_position_embeddings",
              settings.scaling.type);
  if (settings.scaling.type == "dynamic") {
    op.length = RopeLength::kDynamic;
    op.base = static_cast<float>(settings.base);
    op.dynamic_factor = static_cast<float>(settings.scaling.factor);
    return op;
  }
  const RopeFrequencies beyond = rope_frequencies(settings, op.original_length + 1);
  op.length = RopeLength::kSwitch;
  op.long_inv_freq = beyond.inv_freq;
  op.long_amplitude = beyond.amplitude;
  return op;
}

}  // namespace tenon
