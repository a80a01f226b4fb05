// A directory of files made of one fuzz input, for what opens paths: "@@" and a letter begin the
// file of that letter, which goes on to the next "@@". Lies under $TMPDIR; emptied for each input,
// removed when the process ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "core/shape.h"
#include "fuzz_input.h"

namespace tenon {

struct FuzzFile {
  char letter;
  const char* name;  ///< relative to the directory
};

class FuzzDirectory {
 public:
  FuzzDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "tenon-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~FuzzDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzDirectory(const FuzzDirectory&) = delete;
  FuzzDirectory& operator=(const FuzzDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  void clear() {
    for (const std::filesystem::path& file : written_) std::filesystem::remove(file);
    written_.clear();
  }

  void write(const std::string& name, std::string_view content) {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    FileWriter writer(path);
    writer.write(content);
    writer.close();
    written_.push_back(path);
  }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> written_;
};

/// The files of an input by name. Letters that `files` lacks are left out; of two files with one
/// name the later counts.
inline std::map<std::string, std::string> split_files(std::string_view text,
                                                      std::span<const FuzzFile> files) {
  std::map<std::string, std::string> found;
  for (std::size_t at = text.find("@@"); at != text.npos && at + 2 < text.size();) {
    const std::size_t next = text.find("@@", at + 3);
    const auto file = std::find_if(files.begin(), files.end(),
                                   [&](const FuzzFile& row) { return row.letter == text[at + 2]; });
    if (file != files.end())
      found[file->name] = text.substr(at + 3, next == text.npos ? next : next - at - 3);
    at = next;
  }
  return found;
}

/// A safetensors file whose header is `text`, with its length before it. Tensors without
/// "data_offsets" get some, one after the other, and data: so shapes, types and names can change
/// without the file falling apart. A text that is no JSON object stays as it is.
inline std::string make_safetensors(std::string_view text) {
  constexpr std::int64_t kMostBytes = 1 << 18;
  std::string header(text), data;
  try {
    Json json = Json::parse(text, "header");
    for (auto& [name, row] : json.mutable_object()) {
      const Json* type = row.find("dtype");
      const Json* shape = row.find("shape");
      if (type == nullptr || shape == nullptr || row.find("data_offsets") != nullptr) continue;
      constexpr std::string_view kWide[] = {"F64", "I64", "U64"};
      constexpr std::string_view kNarrow[] = {"I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"};
      const std::string& type_name = type->as_string("dtype");
      Shape extents;
      for (const Json& extent : shape->as_array("shape")) extents.push_back(extent.as_int("shape"));
      std::int64_t bytes = element_count(extents);
      if (bytes > kMostBytes) continue;
      if (std::ranges::count(kWide, type_name) > 0)
        bytes *= 8;
      else if (std::ranges::count(kNarrow, type_name) == 0)
        bytes *= type_name.ends_with("16") ? 2 : 4;
      if (bytes > kMostBytes - static_cast<std::int64_t>(data.size())) continue;
      Json offsets = Json::array();
      offsets.push_back(static_cast<std::int64_t>(data.size()));
      for (std::int64_t i = 0; i < bytes; ++i) data.push_back(static_cast<char>(37 * i));
      offsets.push_back(static_cast<std::int64_t>(data.size()));
      row.set("data_offsets", std::move(offsets));
    }
    header = json.dump();
  } catch (const Error&) {
  }
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

}  // namespace tenon
