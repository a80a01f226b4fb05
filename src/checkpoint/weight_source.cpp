// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/weight_source.h"

#include <map>
#include <set>

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {

const WeightInfo* WeightSource::find(std::string_view name) const {
  for (const WeightInfo& info : weights())
    if (info.name == name) return &info;
  return nullptr;
}

const WeightInfo& WeightSource::at(std::string_view name) const {
  if (const WeightInfo* info = find(name)) return *info;
  std::vector<std::string> names;
  for (const WeightInfo& info : weights()) names.push_back(info.name);
  fail(ErrorCode::kNotFound, "there is no weight \"{}\"{}", name, did_you_mean(name, names));
}

QuantizedTensor cut_weight(const QuantizedTensor& whole, const Cut& cut) {
  TENON_CHECK(cut.empty() || cut.size() == whole.shape.size(), ErrorCode::kInvalidArgument,
              "a cut of {} dimensions, the weight is {}", cut.size(), to_string(whole.shape));
  bool all = true;
  for (std::size_t d = 0; d < cut.size(); ++d)
    all &= cut[d].begin == 0 && cut[d].end == whole.shape[d];
  if (all) return whole;
  TENON_CHECK(cut.size() == 2 || (cut.size() == 1 && whole.spec.is_float()),
              ErrorCode::kUnsupported,
              "a weight {} ({}) cannot be cut; plain vectors and matrices can",
              to_string(whole.shape), to_string(whole.spec));
  if (cut.size() == 1) {  // a vector: its one dimension counts as rows of one column
    QuantizedTensor column = whole;
    column.shape = {whole.shape[0], 1};
    column.codes = Tensor({whole.codes.data(), whole.codes.dtype(), column.shape},
                          std::make_shared<Tensor>(whole.codes));
    QuantizedTensor part = slice(column, cut[0], {0, 1});
    part.shape = {cut[0].size()};
    part.codes = Tensor({part.codes.data(), part.codes.dtype(), part.shape},
                        std::make_shared<Tensor>(part.codes));
    return part;
  }
  return slice(whole, cut[0], cut[1]);
}

void check_weights(std::span<const Graph* const> graphs, const WeightSource& source,
                   std::string_view where) {
  std::map<std::string, Shape> wanted;
  for (const Graph* graph : graphs)
    for (const Weight& weight : graph->weights) wanted.emplace(weight.name, weight.shape);
  std::vector<std::string> faults;
  std::set<std::string> had;
  for (const WeightInfo& info : source.weights()) {
    had.insert(info.name);
    const auto found = wanted.find(info.name);
    if (found == wanted.end())
      faults.push_back(fmt::format("unused: {} {}", info.name, to_string(info.shape)));
    else if (found->second != info.shape)
      faults.push_back(fmt::format("wrong shape: {} is {}, expected {}", info.name,
                                   to_string(info.shape), to_string(found->second)));
  }
  for (const auto& [name, shape] : wanted)
    if (!had.contains(name))
      faults.push_back(fmt::format("missing: {} {}", name, to_string(shape)));
  if (faults.empty()) return;
  std::string message = fmt::format(
      "{}: the weights do not fit the model's configuration ({} fault{}); is config.json that of "
      "these weights?",
      where, faults.size(), faults.size() == 1 ? "" : "s");
  for (const std::string& fault : faults) message += "\n  " + fault;
  throw Error(ErrorCode::kCorrupt, message);
}

}  // namespace tenon
