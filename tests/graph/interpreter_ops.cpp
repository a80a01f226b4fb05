// Each op by its formula, as slowly as it likes.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <stdexcept>

#include "interpreter.h"

namespace tenon::interpreter {
namespace {

using Inputs = std::vector<const Array*>;
using Outputs = std::vector<Array>;

struct Context {
  const Inputs& in;
  const Inputs& weights;
  const Step& step;
  Cache& cache;
};

double activate(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kIdentity: return x;
    case ActivationKind::kRelu: return x > 0 ? x : 0;
    case ActivationKind::kRelu2: return x > 0 ? x * x : 0;
    case ActivationKind::kSilu: return x / (1 + std::exp(-x));
    case ActivationKind::kGelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kQuickGelu: return x / (1 + std::exp(-1.702 * x));
    case ActivationKind::kSigmoid: return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh: return std::tanh(x);
  }
  throw std::runtime_error("unknown activation");
}

template <class F>
Array each(const Array& x, F&& f) {
  Array y = x;
  for (float& v : y.data) v = static_cast<float>(f(static_cast<double>(v)));
  return y;
}

template <class F>
Array each(const Array& a, const Array& b, F&& f) {
  Array y = a;
  for (std::size_t i = 0; i < y.data.size(); ++i)
    y.data[i] = static_cast<float>(f(double{a.data[i]}, double{b.data.at(i)}));
  return y;
}

Array affine(const Array& x, const Array& weight, const Array* bias) {
  Array y(x.rows, weight.rows);
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t o = 0; o < weight.rows; ++o) {
      double sum = bias != nullptr ? bias->data.at(static_cast<std::size_t>(o)) : 0.0;
      for (std::int64_t i = 0; i < x.width; ++i) sum += double{x.at(r, i)} * weight.at(o, i);
      y.at(r, o) = static_cast<float>(sum);
    }
  return y;
}

Array normalise(const Norm& op, const Array& x, const Inputs& weights) {
  const std::int64_t groups = op.kind == NormKind::kGroup ? op.groups : 1;
  const std::int64_t width = x.width / groups;
  Array y = x;
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t g = 0; g < groups; ++g) {
      double mean = 0;
      for (std::int64_t c = 0; c < width; ++c) mean += x.at(r, g * width + c);
      mean = op.kind == NormKind::kRms ? 0 : mean / static_cast<double>(width);
      double variance = 0;
      for (std::int64_t c = 0; c < width; ++c)
        variance += std::pow(x.at(r, g * width + c) - mean, 2);
      const double inverse = 1 / std::sqrt(variance / static_cast<double>(width) + op.eps);
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        const auto at = static_cast<std::size_t>(c);
        const double gain = weights[0]->data.at(at) + op.weight_offset;
        const double bias = op.has_bias ? weights[1]->data.at(at) : 0.0;
        y.at(r, c) = static_cast<float>((x.at(r, c) - mean) * inverse * gain + bias);
      }
    }
  return y;
}

const SequenceRows& sequence_of(const Step& step, std::int64_t row) {
  for (const SequenceRows& sequence : step.sequences)
    if (row >= sequence.begin && row < sequence.begin + sequence.count) return sequence;
  throw std::runtime_error("a row of no sequence");
}

Array rotate(const Rope& op, const Array& x, const Array& positions, const Step& step) {
  Array y = x;
  const std::int64_t half = op.rotary_dim / 2;
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const SequenceRows& sequence = sequence_of(step, r);
    const bool beyond =
        op.length == RopeLength::kSwitch && sequence.past + sequence.count > op.original_length;
    const auto& frequencies = beyond ? op.long_inv_freq : op.inv_freq;
    const double amplitude = beyond ? op.long_amplitude : op.amplitude;
    for (std::int64_t h = 0; h < op.heads; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle =
            double{positions.at(r, 0)} * frequencies.at(static_cast<std::size_t>(i));
        const bool neox = op.style == RopeStyle::kNeox;
        const std::int64_t a = h * op.head_dim + (neox ? i : 2 * i);
        const std::int64_t b = h * op.head_dim + (neox ? i + half : 2 * i + 1);
        const double cosine = amplitude * std::cos(angle);
        const double sine = amplitude * std::sin(angle);
        y.at(r, a) = static_cast<float>(x.at(r, a) * cosine - x.at(r, b) * sine);
        y.at(r, b) = static_cast<float>(x.at(r, b) * cosine + x.at(r, a) * sine);
      }
  }
  return y;
}

std::vector<float> row_of(const Array& x, std::int64_t row) {
  std::vector<float> out;
  for (std::int64_t c = 0; c < x.width; ++c) out.push_back(x.at(row, c));
  return out;
}

void write_cache(const CacheWrite& op, const Array& k, const Array& v, Context& context) {
  for (const SequenceRows& sequence : context.step.sequences) {
    CacheRows& rows = context.cache[{op.cache_layer, sequence.id}];
    if (static_cast<std::int64_t>(rows.keys.size()) != sequence.past)
      throw std::runtime_error("the cache holds another number of tokens");
    for (std::int64_t i = 0; i < sequence.count; ++i) {
      rows.keys.push_back(row_of(k, sequence.begin + i));
      rows.values.push_back(row_of(v, sequence.begin + i));
    }
  }
}

/// Keys and values that a sequence's queries may look at.
CacheRows seen_by(const Attention& op, const SequenceRows& sequence, Context& context) {
  if (op.source == AttentionSource::kPagedCache)
    return context.cache.at({op.cache_layer, sequence.id});
  CacheRows rows;
  const bool cross = op.source == AttentionSource::kCross;
  const std::int64_t begin = cross ? 0 : sequence.begin;
  const std::int64_t end = cross ? context.in[1]->rows : sequence.begin + sequence.count;
  for (std::int64_t r = begin; r < end; ++r) {
    rows.keys.push_back(row_of(*context.in[1], r));
    rows.values.push_back(row_of(*context.in[2], r));
  }
  return rows;
}

/// Score of one key, or nothing where it is masked.
std::optional<double> score(const Attention& op, const Array& q, std::int64_t row,
                            std::int64_t head, const std::vector<float>& key, std::int64_t distance,
                            const Inputs& weights) {
  const bool cross = op.source == AttentionSource::kCross;
  if (!cross && op.mask == AttentionMask::kCausal && distance > 0) return std::nullopt;
  if (!cross && op.window > 0 && -distance >= op.window) return std::nullopt;
  const std::int64_t group = head / (op.heads / op.kv_heads);
  double dot = 0;
  for (std::int64_t d = 0; d < op.head_dim; ++d)
    dot += double{q.at(row, head * op.head_dim + d)} *
           key.at(static_cast<std::size_t>(group * op.head_dim + d));
  dot *= op.scale;
  if (op.softcap > 0) dot = op.softcap * std::tanh(dot / op.softcap);
  if (op.alibi)
    dot += alibi_slope(op.head_begin + head, op.total_heads) * static_cast<double>(distance);
  if (op.relative_bias)
    dot += weights[0]->at(relative_bucket(distance, op.mask == AttentionMask::kBidirectional,
                                          op.relative_buckets, op.relative_max_distance),
                          head);
  return dot;
}

Array attend(const Attention& op, Context& context) {
  const Array& q = *context.in[0];
  Array y(q.rows, q.width);
  for (const SequenceRows& sequence : context.step.sequences) {
    const CacheRows rows = seen_by(op, sequence, context);
    const std::int64_t past = op.source == AttentionSource::kPagedCache ? sequence.past : 0;
    for (std::int64_t i = 0; i < sequence.count; ++i)
      for (std::int64_t h = 0; h < op.heads; ++h) {
        const std::int64_t group = h / (op.heads / op.kv_heads);
        double total = 0;
        std::vector<double> sum(static_cast<std::size_t>(op.head_dim));
        for (std::size_t j = 0; j < rows.keys.size(); ++j) {
          const auto value = score(op, q, sequence.begin + i, h, rows.keys[j],
                                   static_cast<std::int64_t>(j) - (past + i), context.weights);
          if (!value) continue;
          const double weight = std::exp(*value);  // test numbers are small
          total += weight;
          for (std::size_t d = 0; d < sum.size(); ++d)
            sum[d] += weight * rows.values[j].at(static_cast<std::size_t>(group * op.head_dim) + d);
        }
        for (std::size_t d = 0; d < sum.size(); ++d)
          y.at(sequence.begin + i, h * op.head_dim + static_cast<std::int64_t>(d)) =
              static_cast<float>(sum[d] / total);
      }
  }
  return y;
}

struct Run {
  Context& c;
  const Array& x() const { return *c.in[0]; }

  Outputs operator()(const Embedding& op) const {
    const Array& table = *c.weights[0];
    Array y(x().rows, table.width);
    for (std::int64_t r = 0; r < y.rows; ++r) {
      const auto row = static_cast<std::int64_t>(x().at(r, 0)) - op.row_begin;
      for (std::int64_t i = 0; i < y.width; ++i)
        y.at(r, i) = row >= 0 && row < table.rows ? table.at(row, i) : 0.F;
    }
    return {y};
  }
  Outputs operator()(const Linear& op) const {
    Outputs out;
    for (std::size_t s = 0; s < static_cast<std::size_t>(op.segments); ++s)
      out.push_back(
          affine(x(), *c.weights[s],
                 op.has_bias ? c.weights[static_cast<std::size_t>(op.segments) + s] : nullptr));
    return out;
  }
  Outputs operator()(const Norm& op) const { return {normalise(op, x(), c.weights)}; }
  Outputs operator()(const Activation& op) const {
    return {each(x(), [&](double v) { return activate(op.kind, v); })};
  }
  Outputs operator()(const GatedActivation& op) const {
    return {each(x(), *c.in[1], [&](double g, double u) { return activate(op.kind, g) * u; })};
  }
  Outputs operator()(const Add&) const {
    return {each(x(), *c.in[1], [](double a, double b) { return a + b; })};
  }
  Outputs operator()(const Mul&) const {
    return {each(x(), *c.in[1], [](double a, double b) { return a * b; })};
  }
  Outputs operator()(const Scale& op) const {
    return {each(x(), [&](double v) { return v * op.factor; })};
  }
  Outputs operator()(const Softcap& op) const {
    return {each(x(), [&](double v) { return op.cap * std::tanh(v / op.cap); })};
  }
  Outputs operator()(const Concat&) const {
    Array y(x().rows, 0);
    for (const Array* one : c.in) y.width += one->width;
    for (std::int64_t r = 0; r < y.rows; ++r)
      for (const Array* one : c.in)
        for (std::int64_t i = 0; i < one->width; ++i) y.data.push_back(one->at(r, i));
    return {y};
  }
  Outputs operator()(const Slice& op) const {
    Array y(x().rows, op.end - op.begin);
    for (std::int64_t r = 0; r < y.rows; ++r)
      for (std::int64_t i = 0; i < y.width; ++i) y.at(r, i) = x().at(r, op.begin + i);
    return {y};
  }
  Outputs operator()(const Cast&) const { return {x()}; }
  Outputs operator()(const GatherRows&) const {
    Array y(c.in[1]->rows, x().width);
    for (std::int64_t r = 0; r < y.rows; ++r)
      for (std::int64_t i = 0; i < y.width; ++i)
        y.at(r, i) = x().at(static_cast<std::int64_t>(c.in[1]->at(r, 0)), i);
    return {y};
  }
  Outputs operator()(const Rope& op) const { return {rotate(op, x(), *c.in[1], c.step)}; }
  Outputs operator()(const CacheWrite& op) const {
    write_cache(op, x(), *c.in[1], c);
    return {Array()};
  }
  Outputs operator()(const Attention& op) const { return {attend(op, c)}; }
  Outputs operator()(const AddNorm& op) const {
    const Array sum = (*this)(Add{}).front();
    return {sum, normalise({op.kind, op.eps, 1, op.weight_offset, op.has_bias}, sum, c.weights)};
  }
  Outputs operator()(const GatedLinear& op) const {
    const Array gate = affine(x(), *c.weights[0], op.has_bias ? c.weights[2] : nullptr);
    const Array up = affine(x(), *c.weights[1], op.has_bias ? c.weights[3] : nullptr);
    return {each(gate, up, [&](double g, double u) { return activate(op.kind, g) * u; })};
  }
  Outputs operator()(const RopeCacheWrite& op) const {
    Rope rotate_k = op.rope;
    rotate_k.heads = op.write.kv_heads;
    write_cache(op.write, rotate(rotate_k, *c.in[1], *c.in[3], c.step), *c.in[2], c);
    return {rotate(op.rope, x(), *c.in[3], c.step), Array()};
  }
  template <class Transfer>
  Outputs operator()(const Transfer&) const {
    throw std::runtime_error("a transfer is no op of one rank");
  }
};

}  // namespace

std::vector<Array> run_op(const Op& op, const std::vector<const Array*>& inputs,
                          const std::vector<const Array*>& weights, const Step& step,
                          Cache& cache) {
  Context context{inputs, weights, step, cache};
  return std::visit(Run{context}, op);
}

}  // namespace tenon::interpreter
