// The only registry of architectures: a line for each.
// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "core/check.h"
#include "core/nearest_name.h"
#include "models/families.h"

namespace tenon {

std::span<const ModelFamily> model_families() {
  static const ModelFamily kFamilies[] = {
      kLlamaFamily,
      kMistralFamily,
      kQwen2Family,
  };
  return kFamilies;
}

namespace {

bool answers_to(const ModelFamily& family, std::string_view architecture) {
  if (family.architecture == architecture) return true;
  for (const std::string_view alias : family.aliases)
    if (alias == architecture) return true;
  return false;
}

const ModelFamily* find(std::string_view architecture) {
  for (const ModelFamily& family : model_families())
    if (answers_to(family, architecture)) return &family;
  return nullptr;
}

[[noreturn]] void fail_unknown(std::string_view what, std::string_view name,
                               const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& entry : known) list += (list.empty() ? "" : ", ") + entry;
  fail(ErrorCode::kUnsupported, "{} \"{}\" is not supported{}; supported are {}", what, name,
       did_you_mean(name, known), list);
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> known;
  for (const ModelFamily& family : model_families()) known.emplace_back(family.architecture);
  return known;
}

}  // namespace

const ModelFamily& find_model_family(std::string_view architecture) {
  if (const ModelFamily* family = find(architecture)) return *family;
  fail_unknown("model architecture", architecture, known_architectures());
}

const ModelFamily& find_model_family_for_gguf(std::string_view gguf_architecture) {
  std::vector<std::string> known;
  for (const ModelFamily& family : model_families()) {
    if (family.gguf_architecture.empty()) continue;
    if (family.gguf_architecture == gguf_architecture) return family;
    known.emplace_back(family.gguf_architecture);
  }
  fail_unknown("GGUF architecture", gguf_architecture, known);
}

const ModelFamily& find_model_family(const Json& hugging_face_config, std::string_view where) {
  const std::string what = std::string(where) + ": architectures";
  const Json& names = hugging_face_config.at("architectures", where);
  std::string first;
  for (const Json& name : names.as_array(what)) {
    if (const ModelFamily* family = find(name.as_string(what))) return *family;
    if (first.empty()) first = name.as_string(what);
  }
  TENON_CHECK(!first.empty(), ErrorCode::kCorrupt,
              "{}: \"architectures\" is empty, expected the name of a model class", where);
  fail_unknown(fmt::format("{}: model architecture", where), first, known_architectures());
}

}  // namespace tenon
