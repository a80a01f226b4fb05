// Every tiny model of tests/data: its config reads, its graph builds, and its files hold exactly
// the weights that the graph asks for.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

#include "checkpoint/mapped_weights.h"
#include "checkpoint/model_files.h"
#include "core/file.h"
#include "model_test_support.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

const fs::path kData(TENON_TEST_DATA);

std::vector<std::string> entries(const fs::path& directory, const std::string& extension) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    if (extension.empty() ? entry.is_directory() : entry.path().extension() == extension)
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void expect_weights_fit(const ModelFamily& family, const PretrainedConfig& config, WeightMap map,
                        ModelFiles files, const std::string& name) {
  const ModelGraphs graphs = family.build(config, BuildConfig{});
  const Graph& decoder = graphs.programs.at("decoder");
  verify(decoder, true);
  const std::shared_ptr<const TensorSource> tensors = std::move(files.tensors);
  const auto weights = map_weights(tensors, std::move(map), name);
  const Graph* programs[] = {&decoder};
  check_weights(programs, *weights, name);
}

class HuggingFaceFixture : public testing::TestWithParam<std::string> {};

TEST_P(HuggingFaceFixture, ConfigGraphAndWeightsFit) {
  ModelFiles files = open_model((kData / "models" / GetParam()).string());
  ASSERT_TRUE(files.config.has_value());
  const ModelFamily& family = find_model_family(*files.config, GetParam());
  const PretrainedConfig config = family.config_from_hugging_face(*files.config, GetParam());
  expect_weights_fit(family, config, family.hugging_face_weights(config), std::move(files),
                     GetParam());
}

INSTANTIATE_TEST_SUITE_P(Models, HuggingFaceFixture,
                         testing::ValuesIn(entries(kData / "models", "")),
                         [](const auto& info) { return info.param; });

TEST(GgufFixtures, ConfigGraphAndWeightsFit) {
  for (const std::string& name : entries(kData / "gguf", ".gguf")) {
    ModelFiles files = open_model((kData / "gguf" / name).string());
    const std::string architecture =
        files.gguf->at("general.architecture", name).as_string("general.architecture");
    if (architecture == "test") continue;  // metadata alone
    SCOPED_TRACE(name);
    const ModelFamily& family = find_model_family_for_gguf(architecture);
    const PretrainedConfig config = family.config_from_gguf(*files.gguf, *files.tensors, name);
    expect_weights_fit(family, config, family.gguf_weights(config), std::move(files), name);
  }
}

}  // namespace
}  // namespace tenon
