// Small helpers of the model tests: a config.json to change key by key, and errors as text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/json.h"
#include "models/model_family.h"
#include "tenon/error.h"

namespace tenon::test {

/// A config.json with every size and nothing else.
inline Json bare_config(const char* architecture) {
  Json json = Json::parse(R"({"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48})",
                          "test");
  json.set("architectures", Json(Json::Array{Json(architecture)}));
  return json;
}

inline PretrainedConfig read_config(const Json& json) {
  return find_model_family(json, "config.json").config_from_hugging_face(json, "config.json");
}

template <class Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace tenon::test
