// Hugging Face's config.json of every family on any bytes, and a checkpoint's own; what is accepted
// is built into a graph.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_json.h"
#include "fuzz_input.h"
#include "models/model_family.h"

namespace {

void build_small(const tenon::PretrainedConfig& config) {
  if (config.num_hidden_layers > 4) return;  // slow, and layers are alike
  tenon::find_model_family(config.architecture).build(config, tenon::BuildConfig{});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  tenon::fuzz([&] {
    const tenon::Json json = tenon::Json::parse(input.text(), "fuzz");
    const tenon::PretrainedConfig config =
        tenon::find_model_family(json, "fuzz").config_from_hugging_face(json, "fuzz");
    build_small(config);
    tenon::pretrained_config_from_json(tenon::to_json(config), "round trip");
  });
  return tenon::fuzz([&] {
    build_small(
        tenon::pretrained_config_from_json(tenon::Json::parse(input.text(), "fuzz"), "fuzz"));
  });
}
