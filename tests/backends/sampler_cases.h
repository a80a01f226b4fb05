// The cases of tests/data/sampling (tools/make_sampling_fixtures.py): rows, histories, parameters,
// and what transformers' processors and warpers made of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "cpu_sampler_support.h"

namespace tenon::cpu {

inline std::vector<std::int32_t> ids_of(const Json& json) {
  std::vector<std::int32_t> out;
  for (const Json& id : json.as_array("ids"))
    out.push_back(static_cast<std::int32_t>(id.as_int("id")));
  return out;
}

inline std::vector<float> row_of(const Json& json) {
  std::vector<float> out;
  for (const Json& x : json.as_array("row"))
    out.push_back(x.is_null() ? kNever : static_cast<float>(x.as_double("x")));
  return out;
}

inline SamplingParams params_of(const Json& json) {
  SamplingParams params;
  const std::map<std::string, float*> floats = {{"temperature", &params.temperature},
                                                {"top_p", &params.top_p},
                                                {"min_p", &params.min_p},
                                                {"typical_p", &params.typical_p},
                                                {"repetition_penalty", &params.repetition_penalty}};
  const std::map<std::string, std::int32_t*> ints = {
      {"top_k", &params.top_k},
      {"prompt_ignore_length", &params.prompt_ignore_length},
      {"no_repeat_ngram_size", &params.no_repeat_ngram_size},
      {"min_tokens", &params.min_tokens}};
  for (const auto& [key, value] : json.as_object("params")) {
    if (const auto it = floats.find(key); it != floats.end()) {
      *it->second = static_cast<float>(value.as_double(key));
    } else if (const auto at = ints.find(key); at != ints.end()) {
      *at->second = static_cast<std::int32_t>(value.as_int(key));
    } else if (key == "bad_words") {
      for (const Json& word : value.as_array(key)) params.bad_words.push_back(ids_of(word));
    } else if (key == "logit_bias") {
      for (const Json& pair : value.as_array(key))
        params.logit_bias.emplace_back(static_cast<std::int32_t>(pair.as_array(key)[0].as_int(key)),
                                       static_cast<float>(pair.as_array(key)[1].as_double(key)));
    } else {
      ADD_FAILURE() << "unknown parameter " << key;
    }
  }
  return params;
}

inline SamplingState state_of(const Json& row) {
  SamplingState state = with(params_of(row.at("params", "case")));
  state.end_ids = ids_of(row.at("end_ids", "case"));
  state.add_prompt(ids_of(row.at("prompt", "case")));
  for (const std::int32_t token : ids_of(row.at("outputs", "case"))) state.record(token);
  return state;
}

inline const Json& sampling_fixtures() {
  static const Json file = [] {
    const char* moved = std::getenv("TENON_TEST_DATA_DIR");
    const std::string path =
        std::string(moved == nullptr ? TENON_TEST_DATA : moved) + "/sampling/processors.json";
    return Json::parse(read_file(path), path);
  }();
  return file;
}

inline std::vector<float> logits_of(const Json& row) {
  const auto number = static_cast<std::size_t>(row.at("row", "case").as_int("row"));
  return row_of(sampling_fixtures().at("rows", "file").as_array("rows").at(number));
}

}  // namespace tenon::cpu
