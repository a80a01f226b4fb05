// The report as text: a heading a section, a line a field.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/inspect_report.h"
#include "core/ledger.h"
#include "core/utf8.h"

namespace tenon::cli {
namespace {

constexpr std::size_t kLongestValue = 120;

/// "135 M", "1.24 G"
std::string count(std::int64_t number) {
  if (number >= 1'000'000'000) return fmt::format("{:.2f} G", static_cast<double>(number) * 1e-9);
  if (number >= 1'000'000) return fmt::format("{:.1f} M", static_cast<double>(number) * 1e-6);
  return fmt::format("{}", number);
}

/// A value on one line, cut where it is long.
std::string one_line(const Json& value) {
  std::string text = value.is_string() ? value.as_string("") : value.dump();
  if (text.find('\n') != text.npos) text = value.dump();
  if (text.size() <= kLongestValue) return text;
  const std::size_t total = text.size();
  text.resize(kLongestValue);
  text.resize(utf8::complete_prefix(text));
  return fmt::format("{} … ({} bytes)", text, total);
}

std::string fields(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.as_object("")) {
    if (value.is_object() && !value.as_object("").empty()) {
      text += fmt::format("  {}\n", key);
      for (const auto& [inner, deep] : value.as_object(""))
        text += fmt::format("    {:<36} {}\n", inner, one_line(deep));
    } else {
      text += fmt::format("  {:<38} {}\n", key, one_line(value));
    }
  }
  return text;
}

std::string sums(const Json& rows, const char* key) {
  std::string text;
  for (const Json& row : rows.as_array(key))
    text += fmt::format("  {:<48} {:>5} tensors  {:>9} parameters  {:>10}\n",
                        row.at(key, "").as_string(key), row.at("count", "").as_int(""),
                        count(row.at("parameters", "").as_int("")),
                        format_bytes(row.at("bytes", "").as_int("")));
  return text;
}

std::string heading(const Json& report) {
  std::string text = fmt::format("{}\n  {}", report.at("name", "").as_string(""),
                                 report.at("kind", "").as_string(""));
  if (const Json* architecture = report.find("architecture"))
    text += ", " + architecture->as_string("");
  if (const Json* made_by = report.find("made_by"))
    text += fmt::format(", made by {}, format version {}", made_by->as_string(""),
                        report.at("format_version", "").as_int(""));
  text += "\n";
  if (const Json* problem = report.find("problem"))
    text += fmt::format("  this Tenon cannot run it: {}\n", problem->as_string(""));
  for (const Json& file : report.at("files", "").as_array("")) {
    const Json& bytes = file.at("bytes", "");
    text += fmt::format("  {:<48} {:>10}\n", file.at("name", "").as_string(""),
                        bytes.is_null() ? "missing" : format_bytes(bytes.as_int("")));
  }
  return text;
}

std::string memory(const Json& json) {
  std::string text =
      "\nMemory by part, as the files hold it\n" + sums(json.at("weights", ""), "part");
  if (json.at("head_shares_embedding", "").as_bool(""))
    text += "  the head is the embedding's table\n";
  if (const Json* cache = json.find("kv_cache_bytes_per_token")) {
    text += "  KV cache of one token:";
    for (const auto& [type, bytes] : cache->as_object(""))
      text += fmt::format("  {} {}", type, format_bytes(bytes.as_int("")));
    text += "\n";
  }
  return text;
}

std::string tensor_list(const Json& list) {
  std::string text = "\nTensors\n";
  for (const Json& tensor : list.as_array(""))
    text += fmt::format("  {:<56} {:<16} {:<28} {:>12}\n", tensor.at("name", "").as_string(""),
                        tensor.at("shape", "").dump(), tensor.at("format", "").as_string(""),
                        tensor.at("bytes", "").as_int(""));
  return text;
}

}  // namespace

std::string report_as_text(const Json& report) {
  const Json& tensors = report.at("tensors", "");
  std::string text = heading(report);
  text += fmt::format("\n{} tensors, {} parameters, {}\n", tensors.at("count", "").as_int(""),
                      count(tensors.at("parameters", "").as_int("")),
                      format_bytes(tensors.at("bytes", "").as_int("")));
  text += sums(tensors.at("by_format", ""), "format");
  if (const Json* found = report.find("memory")) text += memory(*found);
  if (const Json* found = report.find("text")) text += "\nText\n" + fields(*found);
  if (const Json* found = report.find("config")) text += "\nConfig\n" + fields(*found);
  if (const Json* found = report.find("build_config")) text += "\nBuild config\n" + fields(*found);
  if (const Json* found = report.find("config_json"); found != nullptr && found->is_object())
    text += "\nconfig.json\n" + fields(*found);
  if (const Json* found = report.find("gguf_metadata"))
    text += "\nGGUF metadata\n" + fields(*found);
  if (const Json* found = report.find("tensor_list")) text += tensor_list(*found);
  return text;
}

}  // namespace tenon::cli
