// A foreign model's directory as `tenon run` opens it: index files and their shards (safetensors
// and PyTorch), GGUF files and split sets with the model that their metadata describe, config.json,
// and the hub cache's refs.
// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "api/gguf_text.h"
#include "api/model_source.h"
#include "checkpoint/model_files.h"
#include "fuzz_directory.h"
#include "fuzz_weights.h"
#include "text/tokenizer.h"

namespace {

constexpr tenon::FuzzFile kFiles[] = {{'C', "config.json"},
                                      {'G', "generation_config.json"},
                                      {'I', "model.safetensors.index.json"},
                                      {'S', "model.safetensors"},
                                      {'1', "model-00001-of-00002.safetensors"},
                                      {'2', "model-00002-of-00002.safetensors"},
                                      {'P', "pytorch_model.bin.index.json"},
                                      {'b', "pytorch_model.bin"},
                                      {'3', "pytorch_model-00001-of-00002.bin"},
                                      {'4', "pytorch_model-00002-of-00002.bin"},
                                      {'5', "m-00001-of-00002.gguf"},
                                      {'6', "m-00002-of-00002.gguf"},
                                      {'R', "models--fuzz--model/refs/main"},
                                      {'r', "models--fuzz--model/snapshots/a/config.json"}};

constexpr std::uint64_t kMostLoaded = 1 << 18;

void open_files(const std::string& path) {
  const tenon::ModelFiles files = tenon::open_model(path);
  for (const tenon::TensorInfo& info : files.tensors->tensors()) {
    if (info.bytes > kMostLoaded) continue;
    tenon::fuzz([&] {
      const tenon::QuantizedTensor tensor = files.tensors->load(info.name);
      tenon::validate(tensor, info.name);
      if (tensor.shape != info.shape || tensor.spec != info.spec) std::abort();
      files.tensors->drop(info.name);
    });
  }
}

void open_source(const std::string& path) {
  const tenon::ModelSource source = tenon::open_model_source(path);
  if (source.config.num_hidden_layers <= 4) {  // more are slow, and alike
    tenon::fuzz([&] { tenon::build_graphs(source, tenon::BuildConfig{}); });
    tenon::load_weights(*source.weights);
  }
  if (source.gguf == nullptr) return;
  if (const auto text = tenon::gguf_tokenizer(*source.gguf, "fuzz")) {
    if (tenon::gguf_tokenizer_from_json(tenon::gguf_tokenizer_to_json(*text), "fuzz").model !=
        text->model)
      std::abort();
    tenon::Tokenizer::from_gguf(*text)->encode("Hello, w\xC3\xB6rld! <s>");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static tenon::FuzzDirectory directory;
  const std::string path = directory.path().string();
  ::setenv("HF_HUB_CACHE", path.c_str(), 1);
  directory.clear();
  for (const auto& [name, content] :
       tenon::split_files(tenon::FuzzInput{data, size}.text(), kFiles)) {
    const bool header = name.ends_with(".safetensors");
    directory.write(name, header ? tenon::make_safetensors(content) : content);
  }
  tenon::fuzz([&] { open_files(path); });
  tenon::fuzz([&] { open_source(path); });
  return tenon::fuzz([&] {
    std::vector<std::filesystem::path> looked;
    const auto found = tenon::find_in_hub_cache("fuzz/model", looked);
    if (!found.empty() && !found.string().starts_with(path)) std::abort();
  });
}
