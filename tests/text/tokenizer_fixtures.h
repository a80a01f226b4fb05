// The fixtures that tools/make_tokenizer_fixtures.py wrote: files and what the oracles made of
// them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"

namespace tenon::test {

inline std::string fixture_path(const std::string& name) {
  return std::string(TENON_TEST_DATA) + "/tokenizers/" + name;
}

inline std::string fixture(const std::string& name) { return read_file(fixture_path(name)); }

inline Json fixture_json(const std::string& name) { return Json::parse(fixture(name), name); }

inline std::vector<std::int32_t> ids_of(const Json& json) {
  std::vector<std::int32_t> out;
  for (const Json& id : json.as_array("ids"))
    out.push_back(static_cast<std::int32_t>(id.as_int("id")));
  return out;
}

inline const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> out;
    const Json json = fixture_json("texts.json");
    for (const Json& text : json.as_array("texts")) out.push_back(text.as_string("text"));
    return out;
  }();
  return all;
}

/// Names of all fixtures "NAME.EXTENSION" that have expectations.
inline std::vector<std::string> fixture_names(const std::string& extension) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(fixture_path(""))) {
    std::string name = entry.path().filename().string();
    constexpr std::string_view kExpected = ".expected.json";
    if (!name.ends_with(kExpected)) continue;
    name.resize(name.size() - kExpected.size());
    if (std::filesystem::exists(fixture_path(name + extension))) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

inline std::shared_ptr<const Tokenizer> load_sentencepiece(const std::string& name) {
  const std::string bytes = fixture(name + ".model");
  return Tokenizer::from_sentencepiece(std::as_bytes(std::span(bytes)), name);
}

inline std::shared_ptr<const Tokenizer> load_json(const std::string& name) {
  return Tokenizer::from_json(fixture(name + ".json"), name);
}

}  // namespace tenon::test
