// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_algo.h"

#include "core/check.h"
#include "core/nearest_name.h"
#include "quant/formats/scaled_float.h"
#include "quant/formats/weight_only.h"

namespace tenon {
namespace {

/// '*' matches greedily first and gives back a character at a time.
bool matches(std::string_view text, std::string_view pattern) {
  std::size_t t = 0;
  std::size_t p = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++t, ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

QuantAlgo::QuantAlgo(std::string_view name, std::int64_t group_size, std::string_view where) {
  if (name == "W8A16") {
    spec_ = weight_only_spec({.bits = 8, .scale_type = DataType::kFloat32});
  } else if (name == "W4A16") {
    spec_ = weight_only_spec({.bits = 4, .group_size = group_size});
    TENON_CHECK(
        group_size >= 0 && group_size % 2 == 0, ErrorCode::kInvalidArgument,
        "{}: group_size {}; expected an even number of columns, such as 128, or 0 for whole "
        "rows",
        where, group_size);
  } else if (name == "FP8") {
    spec_ = QuantSpec::scaled_float(DataType::kFloat8E4M3);
  } else {
    fail(ErrorCode::kUnsupported,
         "{}: quant_algo \"{}\" is not supported yet{}; FP8, W8A16 and W4A16 are, and GGUF files "
         "come quantized",
         where, name, did_you_mean(name, names()));
  }
}

void QuantAlgo::check_columns(std::string_view name, std::int64_t columns,
                              std::int64_t common_divisor) const {
  if (spec_.group_size == 0 || columns % spec_.group_size == 0) return;
  std::string sizes;
  for (std::int64_t size = 1024; size >= 16; size /= 2)
    if (common_divisor % size == 0) sizes += fmt::format("{}, ", size);
  fail(ErrorCode::kInvalidArgument,
       "{}: its {} columns are no multiple of the group_size {}; sizes that divide those of all "
       "weights: {}0 (a scale a row)",
       name, columns, spec_.group_size, sizes);
}

void QuantAlgo::quantize_rows(const QuantizedTensor& weight, Range rows, float largest,
                              QuantizedTensor& out, std::string_view name) const {
  if (one_scale())
    quantize_scaled_float(weight, rows, largest, out);
  else
    quantize_weight_only(weight, rows, out, name);
}

std::vector<std::string> QuantAlgo::names() { return {"FP8", "W8A16", "W4A16"}; }

bool matches_any(std::string_view module, const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns)
    if (matches(module, pattern)) return true;
  return false;
}

const std::vector<std::string>& default_exclude_modules() {
  static const std::vector<std::string> patterns = {"*lm_head",         "*router",
                                                    "*vocab_embedding", "*position_embedding",
                                                    "*block_embedding", "*shared_expert_gate"};
  return patterns;
}

}  // namespace tenon
