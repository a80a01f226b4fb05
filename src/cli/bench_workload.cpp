// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_workload.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/check.h"
#include "core/file.h"
#include "core/json.h"

namespace tenon::cli {
namespace {

std::vector<std::int32_t> ids_of(const Json& list, const std::string& where) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list.as_array(where)) {
    const std::int64_t value = id.as_int(where);
    TENON_CHECK(value >= 0 && value <= std::numeric_limits<std::int32_t>::max(),
                ErrorCode::kCorrupt, "{}: {} is no token id", where, value);
    ids.push_back(static_cast<std::int32_t>(value));
  }
  return ids;
}

BenchRequest request_of(const Json& row, const std::string& where, const TextEncoder& encode) {
  BenchRequest request;
  int prompts = 0;
  for (const auto& [key, value] : row.as_object(where)) {
    const std::string at = where + ": " + key;
    if (key == "prompt") {
      request.ids = encode(value.as_string(at));
      ++prompts;
    } else if (key == "input_ids" || key == "logits") {  // trtllm-bench took both names
      request.ids = ids_of(value, at);
      ++prompts;
    } else if (key == "output_tokens") {
      const std::int64_t tokens = value.as_int(at);
      TENON_CHECK(tokens >= 1 && tokens <= std::numeric_limits<std::int32_t>::max(),
                  ErrorCode::kCorrupt, "{}: {} is out of range, expected at least 1", at, tokens);
      request.output_tokens = static_cast<std::int32_t>(tokens);
    } else {
      TENON_CHECK(key == "task_id", ErrorCode::kUnsupported,
                  "{} is not known; expected task_id, prompt or input_ids, output_tokens", at);
    }
  }
  TENON_CHECK(prompts == 1, ErrorCode::kCorrupt,
              "{}: {} prompts; expected one of prompt and input_ids", where, prompts);
  TENON_CHECK(!request.ids.empty(), ErrorCode::kCorrupt, "{}: the prompt has no tokens", where);
  TENON_CHECK(request.output_tokens > 0, ErrorCode::kCorrupt, "{}: output_tokens is missing",
              where);
  return request;
}

std::int64_t draw_length(std::mt19937_64& generator, double mean, double stdev) {
  const double drawn = stdev > 0 ? std::normal_distribution<double>(mean, stdev)(generator) : mean;
  return std::max<std::int64_t>(1, std::llround(drawn));
}

std::vector<std::int32_t> draw_ids(std::mt19937_64& generator, std::int64_t count,
                                   std::int64_t vocab_size) {
  std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocab_size - 1));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids) id = any(generator);
  return ids;
}

}  // namespace

std::vector<BenchRequest> read_dataset(const std::filesystem::path& path,
                                       const TextEncoder& encode) {
  const std::string text = read_file(path);
  const std::string name = path.string();
  std::vector<BenchRequest> requests;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '[') {
    const Json rows = Json::parse(text, name);
    for (const Json& row : rows.as_array(name))
      requests.push_back(
          request_of(row, name + ": row " + std::to_string(requests.size() + 1), encode));
  } else {
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string where = name + ":" + std::to_string(++number);
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      requests.push_back(request_of(Json::parse(line, where), where, encode));
    }
  }
  TENON_CHECK(!requests.empty(), ErrorCode::kCorrupt, "{}: the dataset has no requests", name);
  return requests;
}

std::vector<BenchRequest> make_synthetic(const SyntheticWorkload& workload) {
  std::mt19937_64 generator(workload.seed);
  std::vector<BenchRequest> requests(static_cast<std::size_t>(workload.num_requests));
  for (BenchRequest& request : requests) {
    const auto input = draw_length(generator, workload.input_mean, workload.input_stdev);
    request.ids = draw_ids(generator, input, workload.vocab_size);
    request.output_tokens = static_cast<std::int32_t>(
        draw_length(generator, workload.output_mean, workload.output_stdev));
  }
  return requests;
}

void add_shared_prefix(std::vector<BenchRequest>& requests, std::int64_t tokens,
                       std::int64_t vocab_size, std::uint64_t seed) {
  std::mt19937_64 generator(seed + 1);  // not the ids of the first prompt
  const std::vector<std::int32_t> prefix = draw_ids(generator, tokens, vocab_size);
  for (BenchRequest& request : requests)
    request.ids.insert(request.ids.begin(), prefix.begin(), prefix.end());
}

std::vector<double> arrival_times(std::size_t count, double rate, std::uint64_t seed) {
  std::vector<double> times(count, 0.0);
  if (rate <= 0) return times;
  std::mt19937_64 generator(seed + 2);
  std::exponential_distribution<double> gap(rate);
  double time = 0;
  for (std::size_t i = 1; i < count; ++i) times[i] = time += gap(generator);
  return times;
}

}  // namespace tenon::cli
