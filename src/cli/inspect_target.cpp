// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_target.h"

#include "api/model_source.h"
#include "checkpoint/checkpoint_directory.h"
#include "checkpoint/engine_directory.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_file.h"
#include "core/check.h"
#include "core/file.h"
#include "text/gguf_tokenizer.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;

void list_tensors(const TensorSource& source, InspectTarget& target) {
  for (const TensorInfo& tensor : source.tensors())
    target.tensors.push_back({tensor.name, tensor.shape, tensor.stored_type,
                              static_cast<std::int64_t>(tensor.bytes),
                              tensor.file.filename().string()});
}

void list_weights(InspectTarget& target) {
  for (const WeightInfo& weight : target.weights->weights())
    target.tensors.push_back(
        {weight.name, weight.shape, to_string(weight.spec), weight_bytes(weight), ""});
}

void list_rank_files(const fs::path& directory, InspectTarget& target) {
  for (const auto& [name, row] : target.manifest->files.as_object("files"))
    target.files.push_back(confined_path(directory, name, "manifest.json"));
}

/// "BPE (tokenizer.json)", "SentencePiece (tokenizer.model)", "gpt2, pre qwen2 (GGUF)"
std::string kind_of_tokenizer(const fs::path& directory) {
  const fs::path fast = directory / "tokenizer.json";
  if (fs::exists(fast)) {
    const Json json = Json::parse(read_file(fast), fast.string());
    const Json* model = json.find("model");
    const Json* type = model != nullptr ? model->find("type") : nullptr;
    return (type != nullptr && type->is_string() ? type->as_string("type") : "BPE") +
           " (tokenizer.json)";
  }
  const fs::path gguf = directory / kGgufTokenizerFile;
  if (fs::exists(gguf)) {
    const GgufTokenizerData data = gguf_tokenizer_from_json(read_file(gguf), gguf.string());
    return data.model + (data.pre.empty() ? "" : ", pre " + data.pre) + " (GGUF)";
  }
  return fs::exists(directory / "tokenizer.model") ? "SentencePiece (tokenizer.model)" : "";
}

void add_text(const fs::path& directory, InspectTarget& target) {
  try {
    target.tokenizer_kind = kind_of_tokenizer(directory);
    target.text = load_text_assets(directory, *target.config);
  } catch (const Error& error) {
    target.problem += (target.problem.empty() ? "" : "\n") + std::string(error.what());
  }
}

void take(ModelSource source, InspectTarget& target) {
  target.config = source.config;
  target.weights = source.weights;
  if (source.gguf != nullptr) {
    const StagedTextDirectory staged(source);
    add_text(staged.path(), target);
  } else if (!source.text_directory.empty()) {
    add_text(source.text_directory, target);
  }
  target.graphs = build_graphs(source, BuildConfig{});
}

void open_engine_target(const fs::path& path, InspectTarget& target) {
  EngineDirectory engine = open_engine(path);
  target.kind = "Tenon engine";
  target.manifest = std::move(engine.manifest);
  target.config = std::move(engine.config);
  target.build = std::move(engine.build);
  target.weights = std::move(engine.weights);
  target.graphs = std::move(engine.graphs);
  list_rank_files(path, target);
  list_weights(target);
  add_text(path, target);
}

void open_checkpoint_target(const fs::path& path, InspectTarget& target) {
  target.kind = to_string(ModelKind::kTenonCheckpoint);
  target.manifest = read_manifest(path, DirectoryKind::kCheckpoint);
  take(open_model_source(path.string()), target);
  list_rank_files(path, target);
  list_weights(target);
}

void open_model_target(const std::string& path_or_id, InspectTarget& target) {
  {
    ModelFiles files = open_model(path_or_id);
    target.kind = to_string(files.kind);
    target.files = files.weight_files;
    if (files.gguf) target.gguf = std::make_shared<GgufMetadata>(*std::move(files.gguf));
    target.foreign_config = std::move(files.config);
    if (files.tensors) list_tensors(*files.tensors, target);
  }
  try {
    take(open_model_source(path_or_id), target);
    target.foreign_config.reset();
  } catch (const Error& error) {
    target.problem = error.what();
  }
}

}  // namespace

std::int64_t weight_elements(const Shape& shape) { return element_count(shape); }

std::int64_t weight_bytes(const WeightInfo& weight) {
  if (weight.spec.is_float()) return byte_count(weight.spec.float_type, weight.shape, weight.name);
  const std::int64_t columns = weight.shape.empty() ? 1 : weight.shape.back();
  return weight.spec.bytes(columns > 0 ? element_count(weight.shape) / columns : 0, columns);
}

InspectTarget open_inspect_target(const std::string& path_or_id) {
  InspectTarget target;
  target.name = path_or_id;
  const fs::path path(path_or_id);
  const std::string ending = path.extension().string();
  const bool is_file = fs::is_regular_file(path);
  if (is_file &&
      (ending == ".safetensors" || ending == ".bin" || ending == ".pt" || ending == ".pth")) {
    target.kind = "tensor file";
    target.files = {path};
    if (ending == ".safetensors")
      list_tensors(*SafetensorsFile::open(path), target);
    else
      list_tensors(*open_torch_file(path), target);
  } else if (is_directory_of(path, DirectoryKind::kEngine)) {
    open_engine_target(path, target);
  } else if (is_directory_of(path, DirectoryKind::kCheckpoint)) {
    open_checkpoint_target(path, target);
  } else {
    open_model_target(path_or_id, target);
  }
  return target;
}

}  // namespace tenon::cli
