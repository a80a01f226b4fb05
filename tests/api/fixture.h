// Fixtures that tools/make_model_fixtures.py made with Hugging Face transformers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/half.h"
#include "tenon/tenon.h"

namespace tenon::test {

/// TENON_TEST_DATA_DIR: where the data lie on a machine that did not build the tests.
inline std::filesystem::path data_path(const std::string& name) {
  const char* moved = std::getenv("TENON_TEST_DATA_DIR");
  return std::filesystem::path(moved == nullptr ? TENON_TEST_DATA : moved) / name;
}

/// What transformers gives for one model.
struct Expected {
  std::vector<std::int32_t> ids;
  std::int64_t vocab = 0;
  std::vector<float> logits;         ///< [ids, vocab]
  std::vector<std::int32_t> greedy;  ///< empty: not recorded
};

inline std::vector<std::int32_t> read_ids(const SafetensorsFile& file, const char* name) {
  const QuantizedTensor tensor = file.load(name);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(element_count(tensor.shape)));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t id = 0;
    std::memcpy(&id, tensor.codes.data() + i * 8, 8);
    ids[i] = static_cast<std::int32_t>(id);
  }
  return ids;
}

inline Expected read_expected(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  Expected expected;
  expected.ids = read_ids(*file, "input_ids");
  const QuantizedTensor logits = file->load("logits");
  expected.vocab = logits.shape[1];
  expected.logits.resize(static_cast<std::size_t>(element_count(logits.shape)));
  std::memcpy(expected.logits.data(), logits.codes.data(), expected.logits.size() * 4);
  if (file->find("greedy") != nullptr) expected.greedy = read_ids(*file, "greedy");
  return expected;
}

inline float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
    largest = std::max(largest, std::fabs(a[i] - b[i]));
  }
  return largest;
}

/// Options for tiny models: nothing kept in the cache folder. TENON_TEST_DEVICE=cuda runs the same
/// tests on a GPU (tools/gpu_check.sh), as exactly as on the CPU.
inline LlmOptions tiny_options() {
  LlmOptions options;
  const char* device = std::getenv("TENON_TEST_DEVICE");
  options.device = device == nullptr ? "cpu" : device;
  options.activation_dtype = "float32";
  options.kv_cache_dtype = "float32";
  options.use_cache_folder = false;
  options.max_batch_size = 4;
  options.max_num_tokens = 128;
  options.gather_context_logits = true;
  options.pin_threads = false;
  options.threads = 2;
  return options;
}

}  // namespace tenon::test
