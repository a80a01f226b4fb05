// GGUF files as a source of tensors, one or many parts.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <optional>
#include <system_error>

#include "checkpoint/gguf.h"
#include "core/check.h"
#include "core/mapped_file.h"
#include "quant/formats/gguf_blocks.h"

namespace tenon {
namespace fs = std::filesystem;
namespace {

class GgufFile : public TensorTable {
 public:
  explicit GgufFile(const fs::path& path)
      : file_(MappedFile::open(path)), header_(parse_gguf(file_->bytes(), path.string())) {
    for (const GgufTensor& tensor : header_.tensors)
      add({.name = tensor.name,
           .shape = tensor.shape,
           .spec = gguf_quant_spec(tensor.type),
           .file = path,
           .bytes = tensor.bytes,
           .stored_type = gguf_type_info(tensor.type).name});
  }

  GgufMetadata& metadata() { return header_.metadata; }

 private:
  QuantizedTensor load_at(std::size_t index) const override {
    const GgufTensor& tensor = header_.tensors[index];
    return from_gguf_blocks(tensor.type, tensor.shape,
                            file_->part(tensor.offset, tensor.bytes, tensor.name), file_,
                            tensor.name);
  }

  void drop_at(std::size_t index) const override {
    const GgufTensor& tensor = header_.tensors[index];
    file_->drop(file_->part(tensor.offset, tensor.bytes, tensor.name));
  }

  std::shared_ptr<const MappedFile> file_;
  GgufHeader header_;
};

std::int64_t split_number(const GgufMetadata& metadata, const char* key, const fs::path& path) {
  const GgufValue* value = metadata.find(key);
  return value == nullptr ? 0 : value->as_int(path.string() + ": " + key);
}

/// "NAME-00002-of-00005.gguf" → NAME, where the last number is `count`.
std::optional<std::string> split_stem(const std::string& name, std::int64_t count) {
  const std::string ending = fmt::format("-of-{:05}.gguf", count);
  if (!name.ends_with(ending) || name.size() < ending.size() + 6) return std::nullopt;
  const std::string stem = name.substr(0, name.size() - ending.size() - 6);
  const std::string_view number = std::string_view(name).substr(stem.size(), 6);
  if (number[0] != '-' || number.find_first_not_of("0123456789", 1) != number.npos)
    return std::nullopt;
  return stem;
}

std::vector<fs::path> part_paths(const fs::path& path, std::int64_t count) {
  TENON_CHECK(count <= 99999, ErrorCode::kCorrupt, "{}: split.count is {}; expected up to 99999",
              path.string(), count);
  const std::string name = path.filename().string();
  const auto stem = split_stem(name, count);
  TENON_CHECK(stem.has_value(), ErrorCode::kInvalidArgument,
              "{}: is one of {} files of a split model, whose names should be "
              "NAME-00001-of-{:05}.gguf …; give the files their original names",
              path.string(), count, count);
  std::vector<fs::path> parts;
  std::string missing;
  int missing_count = 0;
  for (std::int64_t i = 1; i <= count; ++i) {
    parts.push_back(path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", *stem, i, count));
    std::error_code ignored;
    if (fs::exists(parts.back(), ignored)) continue;
    if (++missing_count <= 20) missing += "\n  " + parts.back().string();
  }
  if (missing_count > 20) missing += fmt::format("\n  … {} more", missing_count - 20);
  TENON_CHECK(missing.empty(), ErrorCode::kNotFound,
              "{}: the model is split over {} files, of which {} are missing:{}", path.string(),
              count, missing_count, missing);
  return parts;
}

}  // namespace

GgufModel open_gguf(const fs::path& path) {
  GgufModel model;
  auto first = std::make_unique<GgufFile>(path);
  const std::int64_t count = split_number(first->metadata(), "split.count", path);
  if (count <= 1) {
    model.parts = {path};
    model.metadata = std::move(first->metadata());
    model.tensors = std::move(first);
    return model;
  }
  model.parts = part_paths(path, count);
  std::vector<std::unique_ptr<TensorSource>> files;
  std::size_t tensors = 0;
  for (std::size_t i = 0; i < model.parts.size(); ++i) {
    const fs::path& part = model.parts[i];
    auto file = std::make_unique<GgufFile>(part);
    const std::int64_t number = split_number(file->metadata(), "split.no", part);
    const std::int64_t its_count = split_number(file->metadata(), "split.count", part);
    TENON_CHECK(number == static_cast<std::int64_t>(i) && its_count == count, ErrorCode::kCorrupt,
                "{}: says that it is part {} of {}, but its name says part {} of {}", part.string(),
                number + 1, its_count, i + 1, count);
    if (i == 0) model.metadata = std::move(file->metadata());
    tensors += file->tensors().size();
    files.push_back(std::move(file));
  }
  const std::int64_t expected = split_number(model.metadata, "split.tensors.count", path);
  TENON_CHECK(expected == 0 || expected == static_cast<std::int64_t>(tensors), ErrorCode::kCorrupt,
              "{}: the model's parts hold {} tensors, but split.tensors.count is {}", path.string(),
              tensors, expected);
  model.tensors = join_sources(std::move(files));
  return model;
}

}  // namespace tenon
