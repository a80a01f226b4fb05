// SPDX-License-Identifier: Apache-2.0
#include "cli/input_file.h"

#include <charconv>
#include <limits>

#include "cli/npy.h"
#include "core/check.h"
#include "core/file.h"
#include "core/json.h"

namespace tenon::cli {
namespace {

std::int32_t checked_id(std::int64_t id, const std::string& where) {
  TENON_CHECK(id >= 0 && id <= std::numeric_limits<std::int32_t>::max(),
              ErrorCode::kInvalidArgument, "{}: {} is no token id", where, id);
  return static_cast<std::int32_t>(id);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

/// A line is a string, {"prompt" | "text" | "input_text": …} or {"input_ids": […]}.
void add_json_line(const Json& json, const std::string& where, Prompts& prompts) {
  if (json.is_string()) {
    prompts.texts.push_back(json.as_string(where));
    return;
  }
  if (const Json* ids = json.find("input_ids")) {
    auto& row = prompts.ids.emplace_back();
    for (const Json& id : ids->as_array(where)) row.push_back(checked_id(id.as_int(where), where));
    return;
  }
  for (const char* key : {"prompt", "text", "input_text"})
    if (const Json* text = json.find(key)) {
      prompts.texts.push_back(text->as_string(where));
      return;
    }
  fail(ErrorCode::kInvalidArgument,
       "{}: expected a string, or an object with \"prompt\", \"text\" or \"input_ids\"", where);
}

std::vector<std::int32_t> parse_csv(std::string_view line, const std::string& where) {
  std::vector<std::int32_t> ids;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(','), line.size());
    std::string_view cell = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    while (cell.starts_with(' ')) cell.remove_prefix(1);
    while (cell.ends_with(' ')) cell.remove_suffix(1);
    std::int64_t id = -1;
    const auto [last, error] = std::from_chars(cell.data(), cell.data() + cell.size(), id);
    TENON_CHECK(error == std::errc() && last == cell.data() + cell.size(),
                ErrorCode::kInvalidArgument, "{}: \"{}\" is no token id", where, cell);
    ids.push_back(checked_id(id, where));
  }
  return ids;
}

void add_npy(const std::filesystem::path& path, Prompts& prompts) {
  const NpyIds ids = read_npy_ids(path);
  const std::int64_t columns = ids.shape.back();
  const std::int64_t rows = ids.shape.size() == 2 ? ids.shape[0] : 1;
  for (std::int64_t r = 0; r < rows; ++r) {
    auto& row = prompts.ids.emplace_back();
    for (std::int64_t c = 0; c < columns; ++c)
      row.push_back(
          checked_id(ids.values[static_cast<std::size_t>(r * columns + c)], path.string()));
  }
}

}  // namespace

Prompts read_input_file(const std::filesystem::path& path) {
  Prompts prompts;
  const std::string kind = path.extension().string();
  if (kind == ".npy") {
    add_npy(path, prompts);
  } else if (kind == ".jsonl" || kind == ".csv") {
    const std::string content = read_file(path);
    int number = 0;
    for (const std::string_view line : lines_of(content)) {
      const std::string where = fmt::format("{}, line {}", path.string(), ++number);
      if (line.empty()) continue;
      if (kind == ".csv")
        prompts.ids.push_back(parse_csv(line, where));
      else
        add_json_line(Json::parse(line, where), where, prompts);
    }
  } else {
    TENON_CHECK(kind == ".txt", ErrorCode::kInvalidArgument,
                "{}: --input_file takes .txt, .jsonl, .csv or .npy, got \"{}\"", path.string(),
                kind);
    prompts.texts.push_back(read_file(path));
  }
  TENON_CHECK(prompts.texts.empty() || prompts.ids.empty(), ErrorCode::kInvalidArgument,
              "{}: texts and token ids in one file; use two", path.string());
  TENON_CHECK(!prompts.texts.empty() || !prompts.ids.empty(), ErrorCode::kInvalidArgument,
              "{}: no prompts in the file", path.string());
  return prompts;
}

}  // namespace tenon::cli
