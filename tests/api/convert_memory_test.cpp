// convert and build hold about one tensor in anonymous memory, whatever they read and however they
// cut it. Models are zeros: their files are mostly holes, so making them costs nothing.
// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <thread>

#include "../checkpoint/torch_writer.h"
#include "../core/sanitizer.h"
#include "api/build_engine.h"
#include "api/convert.h"
#include "api/model_source.h"
#include "checkpoint/gguf_value.h"
#include "checkpoint/safetensors_writer.h"
#include "core/file.h"
#include "core/json.h"
#include "fixture.h"
#include "models/model_family.h"
#include "quant/formats/gguf_blocks.h"
#include "quant/quant_algo.h"

namespace tenon::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kHidden = 512;
constexpr std::int64_t kIntermediate = 4096;
constexpr std::int64_t kLayers = 4;

/// A tensor as the model's own files name it.
struct StoredTensor {
  std::string name;
  Shape shape;
};

Json large_config() {
  Json json = Json::parse(read_file(data_path("models/llama_text") / "config.json"), "config.json");
  for (const auto& [key, value] : {std::pair{"hidden_size", kHidden},
                                   {"num_attention_heads", std::int64_t{8}},
                                   {"num_key_value_heads", std::int64_t{8}},
                                   {"head_dim", std::int64_t{64}},
                                   {"intermediate_size", kIntermediate},
                                   {"num_hidden_layers", kLayers}})
    json.set(key, value);
  json.set("tie_word_embeddings", false);
  return json;
}

/// The tensors of that model under the names of `map_of`'s rules.
template <class MapOf>
std::vector<StoredTensor> tensors_of(const Json& json, MapOf map_of) {
  const ModelFamily& family = find_model_family(json, "config.json");
  const PretrainedConfig config = family.config_from_hugging_face(json, "config.json");
  std::map<std::string, Shape> shapes;
  const ModelGraphs graphs = family.build(config, BuildConfig{});
  for (const Weight& weight : graphs.programs.at("decoder").weights)
    shapes[weight.name] = weight.shape;
  std::vector<StoredTensor> tensors;
  const WeightMap map = map_of(family, config);
  for (const WeightRule& rule : map.rules) tensors.push_back({rule.source, shapes.at(rule.name)});
  return tensors;
}

std::vector<StoredTensor> hugging_face_tensors(const Json& json) {
  return tensors_of(json, [](const ModelFamily& family, const PretrainedConfig& config) {
    return family.hugging_face_weights(config);
  });
}

fs::path write_config(const fs::path& directory, const Json& json) {
  fs::create_directories(directory);
  write_file_atomically(directory / "config.json", json.dump(1));
  return directory;
}

fs::path write_safetensors(const fs::path& directory) {
  const Json json = large_config();
  std::vector<SafetensorsWriter::Tensor> list;
  for (const StoredTensor& tensor : hugging_face_tensors(json))
    list.push_back({tensor.name, DataType::kFloat32, tensor.shape});
  SafetensorsWriter writer(directory.parent_path() / "weights", list);
  std::vector<std::byte> zeros;
  for (const auto& tensor : list) {
    zeros.resize(static_cast<std::size_t>(byte_count(tensor.type, tensor.shape)));
    writer.write(tensor.name, zeros);
  }
  writer.close();
  write_config(directory, json);
  fs::rename(directory.parent_path() / "weights", directory / "model.safetensors");
  return directory;
}

void write_bytes(const fs::path& path, const std::vector<std::byte>& bytes) {
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// All tensors lie in one storage, as far as each reaches, and are stored transposed, so that
/// reading one makes memory of its own.
fs::path write_torch(const fs::path& directory) {
  const Json json = large_config();
  const std::int64_t storage = kHidden * kIntermediate;
  PickleWriter pickle;
  pickle.raw("}(");
  for (const StoredTensor& tensor : hugging_face_tensors(json)) {
    std::vector<std::int32_t> shape(tensor.shape.begin(), tensor.shape.end());
    const std::vector<std::int32_t> strides =
        shape.size() == 2 ? std::vector<std::int32_t>{1, shape[0]} : std::vector<std::int32_t>{1};
    pickle.string(tensor.name);
    pickle.tensor("FloatStorage", "0", static_cast<std::int32_t>(storage), 0, shape, strides);
  }
  pickle.raw("u");
  write_config(directory, json);
  write_bytes(
      directory / "pytorch_model.bin",
      torch_file(pickle.done(), {{"0", std::string(static_cast<std::size_t>(storage) * 4, '\0')}}));
  return directory;
}

/// Matrices as blocks of `type`, vectors as F32.
fs::path write_gguf(const fs::path& path, GgufTensorType type) {
  const Json json = large_config();
  const auto tensors =
      tensors_of(json, [](const ModelFamily& family, const PretrainedConfig& config) {
        return family.gguf_weights(config);
      });
  ByteWriter out;
  const auto name = [&](std::string_view text) {
    out.number<std::uint64_t>(text.size()).text(text);
  };
  const auto number = [&](const char* key, std::int64_t value) {
    name(std::string("llama.") + key);
    out.number(static_cast<std::uint32_t>(GgufType::kUInt32)).number<std::uint32_t>(value);
  };
  out.text("GGUF").number<std::uint32_t>(3).number<std::uint64_t>(tensors.size());
  out.number<std::uint64_t>(8);
  name("general.architecture");
  out.number(static_cast<std::uint32_t>(GgufType::kString));
  name("llama");
  number("embedding_length", kHidden);
  number("block_count", kLayers);
  number("attention.head_count", 8);
  number("attention.head_count_kv", 8);
  number("feed_forward_length", kIntermediate);
  number("context_length", 128);
  name("llama.attention.layer_norm_rms_epsilon");
  out.number(static_cast<std::uint32_t>(GgufType::kFloat32)).number(1e-5F);
  std::uint64_t data = 0;
  for (const StoredTensor& tensor : tensors) {
    const GgufTensorType its = tensor.shape.size() == 2 ? type : GgufTensorType::kF32;
    const GgufTypeInfo& info = gguf_type_info(its);
    name(tensor.name);
    out.number(static_cast<std::uint32_t>(tensor.shape.size()));
    for (std::size_t i = tensor.shape.size(); i-- > 0;)
      out.number(static_cast<std::uint64_t>(tensor.shape[i]));
    out.number(static_cast<std::uint32_t>(its)).number(data);
    data += static_cast<std::uint64_t>(element_count(tensor.shape) / info.block_columns *
                                       info.block_bytes);
    data = (data + 31) / 32 * 32;
  }
  out.pad_to(32);
  const std::uint64_t header = out.bytes().size();
  write_bytes(path, out.bytes());
  fs::resize_file(path, header + data);
  return path;
}

std::int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  return 0;
}

/// Most that anonymous memory grew while `work` ran.
std::int64_t peak_growth(const std::function<void()>& work) {
  ::malloc_trim(0);  // else what the heap has kept from before would serve unseen
  const std::int64_t before = anonymous_bytes();
  std::int64_t peak = before;
  std::atomic<bool> stop{false};
  std::thread watcher([&] {
    while (!stop) {
      peak = std::max(peak, anonymous_bytes());
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  work();
  stop = true;
  watcher.join();
  return peak - before;
}

enum class Files { kSafetensors, kTorch, kGguf };

struct Case {
  const char* name;
  Files files;
  GgufTensorType type = GgufTensorType::kF32;  // of GGUF matrices
  int tp = 1;
  std::optional<DataType> dtype = std::nullopt;
  bool build = false;  // an engine; else convert
  const char* quant_algo = "";
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

class ConvertMemory : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory";
    std::string name = (fs::temp_directory_path() / "tenon-memory-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  void TearDown() override {
    if (!path_.empty()) fs::remove_all(path_);
  }

  fs::path write_model() const {
    switch (GetParam().files) {
      case Files::kSafetensors: return write_safetensors(path_ / "model");
      case Files::kTorch: return write_torch(path_ / "model");
      case Files::kGguf: return write_gguf(path_ / "model.gguf", GetParam().type);
    }
    return {};
  }

  fs::path path_;
};

/// The largest tensor as it lies in memory, in bytes.
std::int64_t largest_bytes(const Case& c) {
  const QuantSpec spec =
      c.files == Files::kGguf ? gguf_quant_spec(c.type) : QuantSpec::floating(DataType::kFloat32);
  const Shape shape = {kIntermediate, kHidden};
  if (spec.is_float()) return byte_count(spec.float_type, shape);
  return static_cast<std::int64_t>(QuantizedTensor::empty(spec, shape, "largest").bytes());
}

/// What that tensor becomes where it is quantized, and a rank's columns of it.
std::int64_t quantized_bytes(const Case& c) {
  const QuantAlgo algo(c.quant_algo, 128, "model");
  const std::int64_t bytes = algo.spec().bytes(kIntermediate, kHidden);
  return bytes + (c.tp > 1 ? bytes / c.tp : 0);
}

// One tensor: where it is no view of the mapped file (GGUF blocks, strided PyTorch tensors), the
// whole in its canonical form; beside it a rank's columns of it, where they are cut. The rest are
// the pieces in which floats are converted (2 * 256 KiB), the lists of tensors, a thread's stack.
constexpr std::int64_t kAllowance = 1 << 20;

TEST_P(ConvertMemory, IsThatOfOneTensor) {
  const Case& c = GetParam();
  const fs::path model = write_model();
  const std::int64_t largest = largest_bytes(c);
  const bool view = c.files == Files::kSafetensors || c.type == GgufTensorType::kF16;
  const bool quantizes = !std::string_view(c.quant_algo).empty();
  const std::int64_t cut = c.tp > 1 ? largest / c.tp : 0;
  const std::int64_t made = quantizes ? quantized_bytes(c) : cut;
  const std::int64_t allowed = (view ? 0 : largest) + made + kAllowance;
  const std::int64_t grown = peak_growth([&] {
    if (c.build)
      build_engine(open_model_source(model.string()), BuildConfig{}, path_ / "out", 1);
    else
      convert({model.string(), path_ / "out", c.dtype, Mapping{.tp_size = c.tp}, 1,
               QuantConfig{.quant_algo = c.quant_algo}});
  });
  RecordProperty("bytes", std::to_string(grown));
  RecordProperty("allowed", std::to_string(allowed));
  std::int64_t written = 0;
  for (const auto& file : fs::directory_iterator(path_ / "out"))
    written += static_cast<std::int64_t>(file.file_size());
  EXPECT_GT(written, 4 * allowed) << "too small a model to tell";
  EXPECT_LE(grown, allowed) << "largest tensor " << largest << ", written " << written;
}

constexpr Case kCases[] = {
    {.name = "safetensors", .files = Files::kSafetensors},
    {.name = "safetensors_tp2_bfloat16",
     .files = Files::kSafetensors,
     .tp = 2,
     .dtype = DataType::kBFloat16},
    {.name = "safetensors_build", .files = Files::kSafetensors, .build = true},
    {.name = "safetensors_int8", .files = Files::kSafetensors, .quant_algo = "W8A16"},
    {.name = "safetensors_fp8_tp2", .files = Files::kSafetensors, .tp = 2, .quant_algo = "FP8"},
    {.name = "torch", .files = Files::kTorch},
    {.name = "torch_tp2_bfloat16", .files = Files::kTorch, .tp = 2, .dtype = DataType::kBFloat16},
    {.name = "torch_build", .files = Files::kTorch, .build = true},
    {.name = "gguf_q4_k", .files = Files::kGguf, .type = GgufTensorType::kQ4_K},
    {.name = "gguf_q4_k_tp2", .files = Files::kGguf, .type = GgufTensorType::kQ4_K, .tp = 2},
    // The floats become float16, blocks stay what they are.
    {.name = "gguf_q8_0_tp2_float16",
     .files = Files::kGguf,
     .type = GgufTensorType::kQ8_0,
     .tp = 2,
     .dtype = DataType::kFloat16},
    {.name = "gguf_f16_tp2_float32",
     .files = Files::kGguf,
     .type = GgufTensorType::kF16,
     .tp = 2,
     .dtype = DataType::kFloat32},
    {.name = "gguf_q6_k_build",
     .files = Files::kGguf,
     .type = GgufTensorType::kQ6_K,
     .build = true},
};

INSTANTIATE_TEST_SUITE_P(Models, ConvertMemory, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tenon::test
