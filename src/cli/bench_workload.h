// What a benchmark sends: a dataset in trtllm-bench's format, or synthetic requests; and when.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tenon::cli {

struct BenchRequest {
  std::vector<std::int32_t> ids;
  std::int32_t output_tokens = 0;
};

using TextEncoder = std::function<std::vector<std::int32_t>(const std::string& text)>;

/// A .json array or lines of {"task_id", "prompt" | "input_ids" | "logits", "output_tokens"}.
/// Throws Error{kCorrupt} naming file and row. `encode` is called for texts alone.
std::vector<BenchRequest> read_dataset(const std::filesystem::path& path,
                                       const TextEncoder& encode);

struct SyntheticWorkload {
  std::int64_t num_requests = 0;
  double input_mean = 0;
  double input_stdev = 0;
  double output_mean = 0;
  double output_stdev = 0;
  std::uint64_t seed = 0;
  std::int64_t vocab_size = 0;
};
/// Random token ids; lengths are normal, rounded, at least 1.
std::vector<BenchRequest> make_synthetic(const SyntheticWorkload& workload);

/// Puts the same `tokens` random ids before every prompt.
void add_shared_prefix(std::vector<BenchRequest>& requests, std::int64_t tokens,
                       std::int64_t vocab_size, std::uint64_t seed);

/// Seconds from the start at which each request is sent: a Poisson process of `rate` requests a
/// second; 0: all at once.
std::vector<double> arrival_times(std::size_t count, double rate, std::uint64_t seed);

}  // namespace tenon::cli
