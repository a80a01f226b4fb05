// Finding a model's files; see model_files.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/model_files.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_file.h"
#include "core/check.h"
#include "core/file.h"

namespace tenon {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMaxListed = 50;  // lines of one error message

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Names in `directory` with one of the endings, sorted.
std::vector<fs::path> files_ending(const fs::path& directory,
                                   std::initializer_list<std::string_view> endings) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (std::ranges::any_of(endings, [&](std::string_view end) { return name.ends_with(end); }))
      found.push_back(entry->path());
  }
  TENON_CHECK(!error, ErrorCode::kIo, "{}: cannot be listed: {}", directory.string(),
              error.message());
  std::ranges::sort(found);
  return found;
}

std::optional<Json> read_json(const fs::path& path) {
  if (!is_there(path)) return std::nullopt;
  return Json::parse(read_file(path), path.string());
}

std::unique_ptr<TensorSource> open_weights(const fs::path& path) {
  if (path.extension() == ".safetensors") return SafetensorsFile::open(path);
  return open_torch_file(path);
}

void raise_faults(const fs::path& where, const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  std::string text;
  for (std::size_t i = 0; i < std::min(faults.size(), kMaxListed); ++i) text += "\n  " + faults[i];
  if (faults.size() > kMaxListed) text += fmt::format("\n  … {} more", faults.size() - kMaxListed);
  fail(ErrorCode::kCorrupt, "{}: the files are not what the index promises:{}", where.string(),
       text);
}

/// A sharded model: the index names the file of each tensor.
void open_sharded(const fs::path& index, ModelFiles& model) {
  const std::string where = index.string();
  const Json json = Json::parse(read_file(index), where);
  std::map<std::string, std::vector<std::string>> wanted;  // file: tensors
  for (const auto& [tensor, file] : json.at("weight_map", where).as_object(where + ": weight_map"))
    wanted[file.as_string(where + ": weight_map." + tensor)].push_back(tensor);
  TENON_CHECK(!wanted.empty(), ErrorCode::kCorrupt, "{}: its weight_map is empty", where);
  std::vector<std::string> faults;
  std::vector<std::unique_ptr<TensorSource>> sources;
  for (const auto& [file, tensors] : wanted) {
    const fs::path path = confined_path(index.parent_path(), file, where);
    if (!is_there(path)) {
      faults.push_back(fmt::format("missing file: {} ({} tensors)", file, tensors.size()));
      continue;
    }
    auto source = open_weights(path);
    for (const std::string& tensor : tensors)
      if (source->find(tensor) == nullptr)
        faults.push_back(fmt::format("missing tensor: {} in {}", tensor, file));
    sources.push_back(std::move(source));
    model.weight_files.push_back(path);
  }
  raise_faults(index, faults);
  model.tensors = join_sources(std::move(sources));
}

void open_single(const fs::path& path, ModelFiles& model) {
  model.weight_files = {path};
  model.tensors = open_weights(path);
}

void open_gguf_file(const fs::path& path, ModelFiles& model) {
  GgufModel gguf = open_gguf(path);
  model.kind = ModelKind::kGguf;
  model.gguf = std::move(gguf.metadata);
  model.weight_files = std::move(gguf.parts);
  model.tensors = std::move(gguf.tensors);
}

/// The one file of a kind; throws where there are several and no index says how they belong.
std::optional<fs::path> the_only(const fs::path& directory, const std::vector<fs::path>& files,
                                 const char* remedy) {
  if (files.empty()) return std::nullopt;
  if (files.size() == 1) return files.front();
  std::string names;
  for (std::size_t i = 0; i < std::min(files.size(), kMaxListed); ++i)
    names += "\n  " + files[i].filename().string();
  fail(ErrorCode::kInvalidArgument, "{}: {} files could be the model; {}:{}", directory.string(),
       files.size(), remedy, names);
}

/// Of a directory's GGUF files, one for each model: later parts of a split are left out.
std::vector<fs::path> gguf_files(const fs::path& directory) {
  std::vector<fs::path> files = files_ending(directory, {".gguf"});
  std::erase_if(files, [](const fs::path& path) {
    const std::string name = path.filename().string();
    const std::size_t of = name.rfind("-of-");
    return of != name.npos && of >= 6 && name[of - 6] == '-' && name.substr(of - 5, 5) != "00001";
  });
  return files;
}

bool open_weights_of(const fs::path& directory, ModelFiles& model) {
  if (is_there(directory / "model.safetensors"))
    return open_single(directory / "model.safetensors", model), true;
  if (is_there(directory / "model.safetensors.index.json"))
    return open_sharded(directory / "model.safetensors.index.json", model), true;
  const char* no_index = "name one of them, or add the index file that belongs to them";
  if (auto file = the_only(directory, files_ending(directory, {".safetensors"}), no_index))
    return open_single(*file, model), true;
  if (is_there(directory / "pytorch_model.bin"))
    return open_single(directory / "pytorch_model.bin", model), true;
  if (is_there(directory / "pytorch_model.bin.index.json"))
    return open_sharded(directory / "pytorch_model.bin.index.json", model), true;
  if (auto file = the_only(directory, files_ending(directory, {".pt", ".pth"}), no_index))
    return open_single(*file, model), true;
  if (auto file = the_only(directory, gguf_files(directory), "name one of them")) {
    open_gguf_file(*file, model);
    return true;
  }
  return false;
}

ModelFiles open_directory(const fs::path& directory) {
  ModelFiles model;
  model.directory = directory;
  model.config = read_json(directory / "config.json");
  model.generation_config = read_json(directory / "generation_config.json");
  TENON_CHECK(!is_there(directory / "rank0.safetensors"), ErrorCode::kUnsupported,
              "{}: it has rank files (rank0.safetensors), which are no model's, and not the "
              "manifest.json that `tenon convert` writes beside them; convert the model itself "
              "again",
              directory.string());
  const bool found = open_weights_of(directory, model);
  TENON_CHECK(found, ErrorCode::kNotFound,
              "{}: no weights found; expected model.safetensors, model.safetensors.index.json, "
              "pytorch_model.bin, pytorch_model.bin.index.json, a .pt or a .gguf file",
              directory.string());
  return model;
}

ModelFiles open_file(const fs::path& path) {
  ModelFiles model;
  const std::string extension = path.extension().string();
  model.directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (extension == ".gguf") {
    open_gguf_file(path, model);
    return model;
  }
  TENON_CHECK(extension == ".safetensors" || extension == ".bin" || extension == ".pt" ||
                  extension == ".pth",
              ErrorCode::kInvalidArgument,
              "{}: expected a model's directory, or a .gguf, .safetensors, .bin or .pt file",
              path.string());
  model.config = read_json(model.directory / "config.json");
  model.generation_config = read_json(model.directory / "generation_config.json");
  open_single(path, model);
  return model;
}

}  // namespace

const char* to_string(ModelKind kind) noexcept {
  switch (kind) {
    case ModelKind::kHuggingFace: return "Hugging Face model";
    case ModelKind::kGguf: return "GGUF model";
    case ModelKind::kTenonCheckpoint: return "Tenon checkpoint";
  }
  return "unknown";
}

ModelFiles open_model(std::string_view path_or_id) {
  TENON_CHECK(!path_or_id.empty() && path_or_id.find('\0') == path_or_id.npos,
              ErrorCode::kInvalidArgument, "a model's path or id must not be empty");
  const fs::path path(path_or_id);
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return open_directory(path);
  if (fs::exists(path, ignored)) return open_file(path);
  std::vector<fs::path> looked = {path};
  const fs::path cached = find_in_hub_cache(path_or_id, looked);
  if (!cached.empty()) return open_directory(cached);
  std::string places;
  for (const fs::path& place : looked) places += "\n  " + place.string();
  fail(
      ErrorCode::kNotFound,
      "\"{}\" is neither a file, nor a directory, nor a Hugging Face id in a local cache; looked "
      "at:{}\ngive the path of a model's directory or of a .gguf file, or download the model first "
      "(nothing is downloaded from here)",
      path_or_id, places);
}

}  // namespace tenon
