// Finding the template among a Hugging Face directory's files.
// SPDX-License-Identifier: Apache-2.0
#include "core/check.h"
#include "core/file.h"
#include "text/chat_template.h"

namespace tenon {
namespace {

constexpr std::uint64_t kMaxConfigBytes = std::uint64_t{256} << 20;  // added tokens make it long

/// A "chat_template" value: the string itself, or the one of that name in a list.
std::optional<std::string> pick(const Json& value, std::string_view name, std::string_view where) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.as_string(where);
  const Json* fallback = nullptr;
  for (const Json& row : value.as_array(where)) {
    const std::string& row_name = row.at("name", where).as_string(where);
    const Json& text = row.at("template", where);
    if (row_name == name) return text.as_string(where);
    if (row_name == "default") fallback = &text;
  }
  if (fallback == nullptr) return std::nullopt;
  return fallback->as_string(where);
}

std::optional<std::string> pick_from_file(const std::filesystem::path& path,
                                          std::string_view name) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const Json json = Json::parse(read_file(path, kMaxConfigBytes), path.string());
  const Json* value = json.find("chat_template");
  if (value == nullptr) return std::nullopt;
  return pick(*value, name, path.string() + ": chat_template");
}

}  // namespace

std::optional<std::string> find_chat_template(const std::filesystem::path& directory,
                                              std::string_view name) {
  // Named templates beside the default one live in a folder of their own.
  if (name != "default") {
    TENON_CHECK(name.find_first_of("/\\") == std::string_view::npos && !name.starts_with('.'),
                ErrorCode::kInvalidArgument,
                "[chat template] name '{}': expected a name without slashes", name);
    const auto named = directory / "additional_chat_templates" / (std::string(name) + ".jinja");
    if (std::filesystem::exists(named)) return read_file(named, jinja::kMaxSourceBytes);
  }
  const auto plain = directory / "chat_template.jinja";
  if (std::filesystem::exists(plain)) return read_file(plain, jinja::kMaxSourceBytes);
  if (auto found = pick_from_file(directory / "chat_template.json", name)) return found;
  return pick_from_file(directory / "tokenizer_config.json", name);
}

}  // namespace tenon
