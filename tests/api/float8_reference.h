// A Llama computed by its formulas in double, for models whose linear layers read float8_e4m3: no
// code of the backends, and the nearest number found by trying all of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "api/model_source.h"
#include "core/half.h"

namespace tenon::test {

using Rows = std::vector<std::vector<double>>;

/// Magnitudes of float8_e4m3 in ascending order: index 0 is 0, even indices have a last bit of 0.
inline const std::vector<double>& float8_magnitudes() {
  static const std::vector<double> magnitudes = [] {
    std::vector<double> all;
    for (int bits = 0; bits < 127; ++bits)
      all.push_back(bits < 8 ? std::ldexp(bits, -9) : std::ldexp(8 + bits % 8, bits / 8 - 10));
    return all;
  }();
  return magnitudes;
}

inline double nearest_float8(double value) {
  const std::vector<double>& all = float8_magnitudes();
  const double magnitude = std::fabs(value);
  const auto above = std::lower_bound(all.begin(), all.end(), magnitude);
  if (above == all.begin()) return value < 0 ? -all.front() : all.front();
  if (above == all.end()) return value < 0 ? -all.back() : all.back();
  const double up = *above - magnitude;
  const double down = magnitude - *(above - 1);
  const bool take_up = up < down || (up == down && (above - all.begin()) % 2 == 0);
  return std::copysign(take_up ? *above : *(above - 1), value);
}

/// Codes times the row's scale, both as fp32 has them.
inline std::vector<double> rounded_to_float8(const std::vector<double>& x) {
  float largest = 0.0F;
  for (const double value : x) largest = std::max(largest, std::fabs(static_cast<float>(value)));
  const float scale = largest / 448.0F;
  std::vector<double> out;
  for (const double value : x)
    out.push_back(scale == 0.0F ? 0.0 : nearest_float8(static_cast<float>(value) / scale) * scale);
  return out;
}

inline double rounded_to_bfloat16(double value) {
  return bf16_to_float(float_to_bf16(static_cast<float>(value)));
}

class Float8Reference {
 public:
  /// How a backend keeps what linear layers read: as it was computed, or in bfloat16; kWithGates:
  /// gate and up too, before they meet.
  enum class Storage { kAsComputed, kBFloat16, kBFloat16WithGates };
  explicit Float8Reference(const ModelSource& source, Storage storage = Storage::kAsComputed)
      : source_(source), c_(source.config), storage_(storage) {}

  /// Logits of every position, of one sequence.
  Rows logits(const std::vector<std::int32_t>& ids) const {
    const std::string table = "transformer.vocab_embedding.weight";
    Rows x;
    {
      const QuantizedTensor embedding = source_.weights->load(table, {});
      std::vector<float> row(static_cast<std::size_t>(c_.hidden_size));
      for (const std::int32_t id : ids) {
        dequantize_row(embedding, id, 0, c_.hidden_size, row.data());
        x.emplace_back(row.begin(), row.end());
      }
    }
    for (std::int64_t layer = 0; layer < c_.num_hidden_layers; ++layer) {
      const std::string at = "transformer.layers." + std::to_string(layer) + ".";
      add(x, attention(norm(x, at + "input_layernorm.weight"), at + "attention."));
      add(x, mlp(norm(x, at + "post_layernorm.weight"), at + "mlp."));
    }
    return linear(norm(x, "transformer.ln_f.weight"),
                  c_.share_embedding_table ? table : "lm_head.weight");
  }

 private:
  void store(Rows& x) const {
    if (storage_ == Storage::kAsComputed) return;
    for (std::vector<double>& row : x)
      for (double& value : row) value = rounded_to_bfloat16(value);
  }

  static void add(Rows& x, const Rows& y) {
    for (std::size_t r = 0; r < x.size(); ++r)
      for (std::size_t i = 0; i < x[r].size(); ++i) x[r][i] += y[r][i];
  }

  Rows norm(const Rows& x, const std::string& name) const {
    const Tensor gain = dequantize(source_.weights->load(name, {}));
    Rows out = x;
    for (std::vector<double>& row : out) {
      double sum = 0.0;
      for (const double value : row) sum += value * value;
      const double factor =
          1.0 / std::sqrt(sum / static_cast<double>(row.size()) + c_.norm_epsilon);
      for (std::size_t i = 0; i < row.size(); ++i) row[i] *= factor * gain.view().as<float>()[i];
    }
    return out;
  }

  Rows linear(const Rows& x, const std::string& name) const {
    const QuantizedTensor weight = source_.weights->load(name, {});
    const bool rounds = weight.spec.suits_float8_inputs(weight.columns());
    Rows in = x;
    if (weight.spec != QuantSpec::floating(DataType::kFloat32)) store(in);
    for (std::vector<double>& row : in)
      if (rounds) row = rounded_to_float8(row);
    Rows out(x.size(), std::vector<double>(static_cast<std::size_t>(weight.rows())));
    std::vector<float> w(static_cast<std::size_t>(weight.columns()));
    for (std::int64_t n = 0; n < weight.rows(); ++n) {
      dequantize_row(weight, n, 0, weight.columns(), w.data());
      for (std::size_t r = 0; r < in.size(); ++r) {
        double sum = 0.0;
        for (std::size_t k = 0; k < w.size(); ++k) sum += in[r][k] * w[k];
        out[r][static_cast<std::size_t>(n)] = sum;
      }
    }
    return out;
  }

  void rotate(Rows& x) const {
    const auto half = static_cast<std::size_t>(c_.head_size / 2);
    for (std::size_t position = 0; position < x.size(); ++position)
      for (std::size_t head = 0; head < x[position].size(); head += 2 * half)
        for (std::size_t i = 0; i < half; ++i) {
          const double angle =
              static_cast<double>(position) *
              std::pow(c_.rotary_base, -static_cast<double>(i) / static_cast<double>(half));
          double& a = x[position][head + i];
          double& b = x[position][head + half + i];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = turned;
        }
  }

  Rows attention(const Rows& x, const std::string& at) const {
    Rows q = linear(x, at + "q.weight");
    Rows k = linear(x, at + "k.weight");
    const Rows v = linear(x, at + "v.weight");
    rotate(q);
    rotate(k);
    const auto width = static_cast<std::size_t>(c_.head_size);
    const auto share = static_cast<std::size_t>(c_.num_attention_heads / c_.num_key_value_heads);
    Rows out(x.size(), std::vector<double>(q[0].size()));
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t h = 0; h < static_cast<std::size_t>(c_.num_attention_heads); ++h) {
        const std::size_t kv = h / share * width;
        std::vector<double> share_of(t + 1);
        double total = 0.0;
        double top = -INFINITY;
        for (std::size_t s = 0; s <= t; ++s) {
          for (std::size_t i = 0; i < width; ++i) share_of[s] += q[t][h * width + i] * k[s][kv + i];
          share_of[s] /= std::sqrt(static_cast<double>(width));
          top = std::max(top, share_of[s]);
        }
        for (double& value : share_of) total += value = std::exp(value - top);
        for (std::size_t s = 0; s <= t; ++s)
          for (std::size_t i = 0; i < width; ++i)
            out[t][h * width + i] += share_of[s] / total * v[s][kv + i];
      }
    return linear(out, at + "dense.weight");
  }

  Rows mlp(const Rows& x, const std::string& at) const {
    Rows inner = linear(x, at + "fc.weight");
    Rows up = linear(x, at + "gate.weight");
    if (storage_ == Storage::kBFloat16WithGates) {
      store(inner);
      store(up);
    }
    for (std::size_t r = 0; r < inner.size(); ++r)
      for (std::size_t i = 0; i < inner[r].size(); ++i)
        inner[r][i] *= up[r][i] / (1.0 + std::exp(-inner[r][i]));
    return linear(inner, at + "proj.weight");
  }

  const ModelSource& source_;
  const PretrainedConfig& c_;
  Storage storage_;
};

/// Mean over positions of KL(expected || got), of softmaxed logits.
inline double kl_of_logits(const Rows& expected, const std::vector<float>& got) {
  const auto log_softmax = [](std::vector<double> row) {
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0.0;
    for (const double value : row) sum += std::exp(value - top);
    for (double& value : row) value -= top + std::log(sum);
    return row;
  };
  double total = 0.0;
  for (std::size_t t = 0; t < expected.size(); ++t) {
    const std::size_t vocab = expected[t].size();
    const std::vector<double> p = log_softmax(expected[t]);
    const std::vector<double> q =
        log_softmax({got.begin() + static_cast<std::ptrdiff_t>(t * vocab),
                     got.begin() + static_cast<std::ptrdiff_t>((t + 1) * vocab)});
    for (std::size_t i = 0; i < vocab; ++i) total += std::exp(p[i]) * (p[i] - q[i]);
  }
  return total / static_cast<double>(expected.size());
}

}  // namespace tenon::test
