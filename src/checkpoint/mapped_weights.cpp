// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/mapped_weights.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/check.h"

namespace tenon {
namespace {

/// Row `row` of our order in the file: halves of each head are interleaved there as pairs.
std::int64_t interleaved_row(std::int64_t row, std::int64_t head) {
  const std::int64_t in_head = row % head;
  const std::int64_t half = head / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

/// Rows of `tensor` [rows, …] picked in the given order, as owned memory.
Tensor pick_rows(const Tensor& tensor, std::span<const std::int64_t> rows) {
  if (tensor.shape().empty() || tensor.bytes() == 0) return tensor;
  Shape shape = tensor.shape();
  const std::size_t row_bytes = tensor.bytes() / static_cast<std::size_t>(shape[0]);
  shape[0] = static_cast<std::int64_t>(rows.size());
  Tensor out(tensor.dtype(), shape);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(out.mutable_data() + i * row_bytes,
                tensor.data() + static_cast<std::size_t>(rows[i]) * row_bytes, row_bytes);
  return out;
}

QuantizedTensor pick_rows(const QuantizedTensor& part, std::span<const std::int64_t> rows) {
  QuantizedTensor out = part;
  out.shape[0] = static_cast<std::int64_t>(rows.size());
  out.codes = pick_rows(part.codes, rows);
  if (!part.spec.is_float()) {
    out.scale = pick_rows(part.scale, rows);
    out.sub_scale = pick_rows(part.sub_scale, rows);
    out.minimum = pick_rows(part.minimum, rows);
    out.sub_minimum = pick_rows(part.sub_minimum, rows);
  }
  return out;
}

QuantizedTensor transposed(const QuantizedTensor& part, std::string_view name) {
  TENON_CHECK(part.spec.is_float() && part.shape.size() == 2, ErrorCode::kUnsupported,
              "{}: a quantized tensor cannot be transposed", name);
  const std::int64_t rows = part.shape[0];
  const std::int64_t columns = part.shape[1];
  const std::size_t size = size_of(part.codes.dtype());
  Tensor out(part.codes.dtype(), {columns, rows});
  std::byte* target = out.mutable_data();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      std::memcpy(target + static_cast<std::size_t>(c * rows + r) * size,
                  part.codes.data() + static_cast<std::size_t>(r * columns + c) * size, size);
  return QuantizedTensor::from(std::move(out));
}

class MappedWeights : public WeightSource {
 public:
  MappedWeights(std::shared_ptr<const TensorSource> files, WeightMap map, std::string where)
      : files_(std::move(files)), where_(std::move(where)) {
    std::map<std::string, const TensorInfo*> tensors;
    for (const TensorInfo& info : files_->tensors()) tensors[info.name] = &info;
    std::set<std::string> used;
    std::vector<std::string> faults;
    for (const WeightRule& rule : map.rules) {
      const auto found = tensors.find(rule.source);
      if (found == tensors.end()) {
        faults.push_back(fmt::format("missing: {} (for {})", rule.source, rule.name));
        continue;
      }
      used.insert(rule.source);
      add(rule, *found->second, faults);
    }
    for (const auto& [name, info] : tensors) {
      const bool ignored = std::any_of(
          map.ignored_suffixes.begin(), map.ignored_suffixes.end(),
          [&, &tensor = name](const std::string& suffix) { return tensor.ends_with(suffix); });
      if (!used.contains(name) && !ignored)
        faults.push_back(fmt::format("unused: {} {}", name, to_string(info->shape)));
    }
    if (faults.empty()) return;
    std::string message = fmt::format(
        "{}: the tensors are not those of the architecture ({}):", where_, faults.size());
    for (const std::string& fault : faults) message += "\n  " + fault;
    throw Error(ErrorCode::kCorrupt, message);
  }

  const std::vector<WeightInfo>& weights() const override { return infos_; }

  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    at(name);  // a good message where it is unknown
    const WeightRule& rule = rules_.find(name)->second;
    QuantizedTensor part = files_->load(rule.source);
    if (rule.transpose) part = transposed(part, rule.source);
    if (rule.rows) part = cut_rows(part, *rule.rows);
    if (rule.unpermute_head == 0) return cut_weight(part, cut);
    const Range rows = cut.empty() ? Range{0, part.shape[0]} : cut[0];
    std::vector<std::int64_t> order;
    for (std::int64_t row = rows.begin; row < rows.end; ++row)
      order.push_back(interleaved_row(row, rule.unpermute_head));
    QuantizedTensor picked = pick_rows(part, order);
    if (cut.size() < 2) return picked;
    return cut_weight(picked, {{0, rows.size()}, cut[1]});
  }

 private:
  void add(const WeightRule& rule, const TensorInfo& info, std::vector<std::string>& faults) {
    Shape shape = info.shape;
    if (rule.transpose && shape.size() == 2) std::swap(shape[0], shape[1]);
    if (rule.rows) {
      if (shape.empty() || rule.rows->end > shape[0]) {
        faults.push_back(fmt::format("wrong shape: {} is {}, too few rows for {}", rule.source,
                                     to_string(info.shape), rule.name));
        return;
      }
      shape[0] = rule.rows->size();
    }
    if (rule.unpermute_head > 0 && (shape.empty() || shape[0] % rule.unpermute_head != 0)) {
      faults.push_back(fmt::format("wrong shape: {} is {}, rows expected in heads of {}",
                                   rule.source, to_string(info.shape), rule.unpermute_head));
      return;
    }
    if (shape.size() < 2 && !info.spec.is_float()) {
      faults.push_back(fmt::format("wrong format: {} {} is {}; only matrices may be quantized",
                                   rule.source, to_string(info.shape), info.stored_type));
      return;
    }
    infos_.push_back({rule.name, shape, info.spec});
    rules_.emplace(rule.name, rule);
  }

  static QuantizedTensor cut_rows(const QuantizedTensor& part, Range rows) {
    Cut cut{rows};
    if (part.shape.size() == 2) cut.push_back({0, part.shape[1]});
    return cut_weight(part, cut);
  }

  std::shared_ptr<const TensorSource> files_;
  std::string where_;
  std::vector<WeightInfo> infos_;
  std::map<std::string, WeightRule, std::less<>> rules_;
};

}  // namespace

std::unique_ptr<WeightSource> map_weights(std::shared_ptr<const TensorSource> files, WeightMap map,
                                          std::string where) {
  return std::make_unique<MappedWeights>(std::move(files), std::move(map), std::move(where));
}

}  // namespace tenon
