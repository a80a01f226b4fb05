// SPDX-License-Identifier: Apache-2.0
#include "api/eval_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/check.h"

namespace tenon {

std::vector<double> log_softmax(std::span<const float> logits) {
  std::vector<double> out(logits.begin(), logits.end());
  if (out.empty()) return out;
  const double largest = *std::max_element(out.begin(), out.end());
  double total = 0;
  for (const double value : out) total += std::exp(value - largest);
  const double shift = largest + std::log(total);
  for (double& value : out) value -= shift;
  return out;
}

TopLogprobs top_of(std::span<const double> logprobs, std::size_t count) {
  std::vector<std::int32_t> order(logprobs.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const double left = logprobs[static_cast<std::size_t>(a)];
                      const double right = logprobs[static_cast<std::size_t>(b)];
                      return left != right ? left > right : a < b;
                    });
  TopLogprobs top;
  double inside = 0;
  for (std::size_t i = 0; i < count; ++i) {
    top.ids.push_back(order[i]);
    const double logprob = logprobs[static_cast<std::size_t>(order[i])];
    top.logprobs.push_back(static_cast<float>(logprob));
    inside += std::exp(logprob);
  }
  top.rest_mass = static_cast<float>(std::max(0.0, 1.0 - inside));
  return top;
}

double kl_divergence(const TopLogprobs& reference, std::span<const double> model) {
  constexpr double kLeast = 1e-12;  // mass that rounding may have eaten
  double sum = 0;
  double inside = 0;
  for (std::size_t i = 0; i < reference.ids.size(); ++i) {
    const double mine = model[static_cast<std::size_t>(reference.ids[i])];
    const double theirs = reference.logprobs[i];
    sum += std::exp(theirs) * (theirs - mine);
    inside += std::exp(mine);
  }
  if (reference.rest_mass > 0)
    sum += double{reference.rest_mass} *
           (std::log(double{reference.rest_mass}) - std::log(std::max(1.0 - inside, kLeast)));
  return sum;
}

double kl_divergence(std::span<const double> reference, std::span<const double> model) {
  double sum = 0;
  for (std::size_t v = 0; v < reference.size(); ++v)
    if (const double mass = std::exp(reference[v]); mass > 0)
      sum += mass * (reference[v] - model[v]);
  return sum;
}

EvalFigures summarise(std::vector<PositionFigures> positions, bool has_reference,
                      std::size_t worst) {
  EvalFigures figures;
  figures.positions = static_cast<std::int64_t>(positions.size());
  figures.has_reference = has_reference;
  if (positions.empty()) return figures;
  const auto count = static_cast<double>(positions.size());
  for (const PositionFigures& position : positions) {
    figures.mean_nll -= position.logprob / count;
    figures.mean_kl += position.kl / count;
    figures.top1_agreement += position.top1_agrees ? 1 / count : 0;
  }
  figures.perplexity = std::exp(figures.mean_nll);
  std::sort(positions.begin(), positions.end(),
            [&](const PositionFigures& a, const PositionFigures& b) {
              return has_reference ? a.kl > b.kl : a.logprob < b.logprob;
            });
  if (has_reference) {
    figures.max_kl = positions.front().kl;
    figures.median_kl = positions[positions.size() / 2].kl;
    figures.p99_kl = positions[positions.size() / 100].kl;
  }
  positions.resize(std::min(worst, positions.size()));
  figures.worst = std::move(positions);
  return figures;
}

StoredLogprobs read_logprobs(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  const auto load = [&](const char* name, DataType type, std::size_t dims) {
    Tensor tensor = file->load(name).codes;
    TENON_CHECK(tensor.dtype() == type && tensor.shape().size() == dims, ErrorCode::kCorrupt,
                "{}: {} is {} {}, expected {} with {} dimensions", path.string(), name,
                to_string(tensor.dtype()), to_string(tensor.shape()), to_string(type), dims);
    return tensor;
  };
  const Tensor ids = load("input_ids", DataType::kInt64, 1);
  const Tensor top_ids = load("top_ids", DataType::kInt32, 2);
  const Tensor top = load("top_logprobs", DataType::kFloat32, 2);
  const Tensor rest = load("rest_mass", DataType::kFloat32, 1);
  const Tensor next = load("next_logprob", DataType::kFloat32, 1);
  const std::int64_t count = top_ids.shape()[0];
  const std::int64_t k = top_ids.shape()[1];
  TENON_CHECK(top.shape() == top_ids.shape() && rest.shape()[0] == count &&
                  next.shape()[0] == count && ids.shape()[0] == count + 1,
              ErrorCode::kCorrupt, "{}: the tensors' lengths contradict each other", path.string());
  StoredLogprobs stored;
  for (std::int64_t t = 0; t <= count; ++t)
    stored.input_ids.push_back(static_cast<std::int32_t>(ids.view().as<std::int64_t>()[t]));
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int32_t* id = top_ids.view().as<std::int32_t>() + t * k;
    const float* logprob = top.view().as<float>() + t * k;
    stored.top.push_back({{id, id + k}, {logprob, logprob + k}, rest.view().as<float>()[t]});
    stored.next_logprob.push_back(next.view().as<float>()[t]);
  }
  return stored;
}

void write_logprobs(const std::filesystem::path& path, const StoredLogprobs& logprobs) {
  const auto count = static_cast<std::int64_t>(logprobs.top.size());
  const std::int64_t k =
      logprobs.top.empty() ? 0 : static_cast<std::int64_t>(logprobs.top.front().ids.size());
  SafetensorsWriter writer(path, {{"input_ids", DataType::kInt64, {count + 1}},
                                  {"top_ids", DataType::kInt32, {count, k}},
                                  {"top_logprobs", DataType::kFloat32, {count, k}},
                                  {"rest_mass", DataType::kFloat32, {count}},
                                  {"next_logprob", DataType::kFloat32, {count}}});
  const auto write = [&](const char* name, const auto& values) {
    writer.write(name, std::as_bytes(std::span(values)));
  };
  write("input_ids",
        std::vector<std::int64_t>(logprobs.input_ids.begin(), logprobs.input_ids.end()));
  for (const TopLogprobs& row : logprobs.top) {
    write("top_ids", row.ids);
    write("top_logprobs", row.logprobs);
    write("rest_mass", std::vector<float>{row.rest_mass});
  }
  write("next_logprob", logprobs.next_logprob);
  writer.close();
}

void for_each_position(LLM& llm, std::span<const std::int32_t> ids, std::int64_t window,
                       const std::function<void(std::int64_t, std::span<const double>)>& each) {
  const std::int64_t count = static_cast<std::int64_t>(ids.size()) - 1;
  for (std::int64_t begin = 0; begin < count; begin += window) {
    const std::int64_t length = std::min(window, count - begin);
    const auto part =
        ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(length));
    const TokenLogits logits = llm.logits({part.begin(), part.end()});
    for (std::int64_t t = 0; t < length; ++t) {
      const std::span<const float> row(logits.values.data() + t * logits.vocab_size,
                                       static_cast<std::size_t>(logits.vocab_size));
      each(begin + t, log_softmax(row));
    }
  }
}

}  // namespace tenon
