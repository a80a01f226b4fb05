// SPDX-License-Identifier: Apache-2.0
#include "api/quantized_weights.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "core/check.h"
#include "core/thread_pool.h"
#include "quant/formats/scaled_float.h"
#include "quant/quant_algo.h"

namespace tenon {
namespace {

constexpr std::int64_t kChunkValues = std::int64_t{1} << 20;

/// Runs of rows on all cores; the first exception is thrown here.
template <class F>
void for_row_runs(std::int64_t rows, std::int64_t columns, const F& run) {
  const std::int64_t each =
      std::max<std::int64_t>(1, kChunkValues / std::max<std::int64_t>(columns, 1));
  const std::int64_t runs = (rows + each - 1) / each;
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < runs; i = next++)
        run(Range{i * each, std::min(rows, (i + 1) * each)});
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      next = runs;
    }
  };
  std::vector<std::thread> helpers;
  const std::int64_t threads = std::min<std::int64_t>(runs, available_cores());
  for (std::int64_t t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

class QuantizedWeights : public WeightSource {
 public:
  QuantizedWeights(std::shared_ptr<const WeightSource> source, QuantAlgo algo,
                   const std::map<std::string, QuantSpec>& specs)
      : source_(std::move(source)), algo_(std::move(algo)), infos_(source_->weights()) {
    for (WeightInfo& info : infos_) {
      const auto found = specs.find(info.name);
      if (found == specs.end() || found->second == info.spec) continue;
      info.spec = found->second;
      made_.insert(info.name);
    }
  }

  const std::vector<WeightInfo>& weights() const override { return infos_; }

  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    if (!made_.contains(name)) return source_->load(name, cut);
    const WeightInfo& info = at(name);
    TENON_CHECK(cut.empty() || cut.size() == 2, ErrorCode::kInvalidArgument,
                "{}: a cut of {} dimensions, the weight has 2", name, cut.size());
    // Scales of whole rows, or of all of them, are those of the whole, whatever is cut out.
    const Range columns{0, info.shape[1]};
    const Cut rows = cut.empty() ? Cut{} : Cut{cut[0], columns};
    const float largest = algo_.one_scale() ? largest_of(info) : 0.0F;
    const QuantizedTensor weight = source_->load(name, rows);
    QuantizedTensor out = QuantizedTensor::empty(info.spec, weight.shape, name);
    for_row_runs(out.rows(), out.columns(),
                 [&](Range run) { algo_.quantize_rows(weight, run, largest, out, name); });
    if (cut.empty()) return out;
    return cut_weight(out, {{0, out.rows()}, cut[1]});
  }

 private:
  /// Ranks load the same weight in turn: its largest magnitude is looked for once.
  float largest_of(const WeightInfo& info) const {
    {
      const std::lock_guard lock(mutex_);
      if (const auto known = largest_.find(info.name); known != largest_.end())
        return known->second;
    }
    const QuantizedTensor weight = source_->load(info.name, {});
    float largest = 0.0F;
    std::mutex mutex;
    for_row_runs(weight.rows(), weight.columns(), [&](Range run) {
      const float mine = largest_magnitude(weight, run, info.name);
      const std::lock_guard lock(mutex);
      largest = std::max(largest, mine);
    });
    const std::lock_guard lock(mutex_);
    largest_.emplace(info.name, largest);
    return largest;
  }

  std::shared_ptr<const WeightSource> source_;
  QuantAlgo algo_;
  std::vector<WeightInfo> infos_;
  std::set<std::string, std::less<>> made_;  // names of weights that are quantized here
  mutable std::mutex mutex_;
  mutable std::map<std::string, float> largest_;
};

/// Matrices that linear layers of any program read, by name.
std::map<std::string, Shape> linear_matrices(const ModelGraphs& graphs) {
  std::map<std::string, Shape> matrices;
  for (const auto& [program, graph] : graphs.programs)
    for (const Node& node : graph.nodes) {
      const auto* linear = std::get_if<Linear>(&node.op);
      if (linear == nullptr) continue;
      for (std::int64_t i = 0; i < linear->segments; ++i) {
        const Weight& weight = graph.weight(node.weights[static_cast<std::size_t>(i)]);
        matrices.emplace(weight.name, weight.shape);
      }
    }
  return matrices;
}

std::string_view module_of(std::string_view weight) {
  constexpr std::string_view kSuffix = ".weight";
  return weight.ends_with(kSuffix) ? weight.substr(0, weight.size() - kSuffix.size()) : weight;
}

}  // namespace

std::map<std::string, QuantSpec> quantized_specs(const ModelGraphs& graphs,
                                                 const QuantConfig& config,
                                                 const std::string& where) {
  std::map<std::string, QuantSpec> specs;
  if (config.quant_algo.empty()) return specs;
  const QuantAlgo algo(config.quant_algo, config.group_size, where);
  const std::vector<std::string>& excluded =
      config.exclude_modules.empty() ? default_exclude_modules() : config.exclude_modules;
  std::map<std::string, Shape> matrices = linear_matrices(graphs);
  std::erase_if(matrices,
                [&](const auto& entry) { return matches_any(module_of(entry.first), excluded); });
  std::int64_t divisor = 0;
  for (const auto& [name, shape] : matrices) divisor = std::gcd(divisor, shape[1]);
  for (const auto& [name, shape] : matrices) {
    algo.check_columns(name, shape[1], divisor);
    specs.emplace(name, algo.spec());
  }
  TENON_CHECK(!specs.empty(), ErrorCode::kInvalidArgument,
              "{}: quantization.exclude_modules leaves no weight to quantize", where);
  return specs;
}

std::shared_ptr<const WeightSource> quantize_weights(std::shared_ptr<const WeightSource> source,
                                                     const ModelGraphs& graphs,
                                                     const QuantConfig& config,
                                                     const std::string& where) {
  const std::map<std::string, QuantSpec> specs = quantized_specs(graphs, config, where);
  const bool done = std::ranges::all_of(source->weights(), [&](const WeightInfo& info) {
    const auto found = specs.find(info.name);
    return found == specs.end() || found->second == info.spec;
  });
  if (done) return source;
  return std::make_shared<QuantizedWeights>(
      std::move(source), QuantAlgo(config.quant_algo, config.group_size, where), specs);
}

}  // namespace tenon
