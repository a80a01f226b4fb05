// Quantized weights from a model to tokens: convert, the checkpoint's config, engines, ranks,
// random weights. What the codes are worth is compared with rounding done here, by the formula
// alone.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <set>

#include "api/convert.h"
#include "api/engine_impl.h"
#include "api/model_source.h"
#include "checkpoint/config_json.h"
#include "core/file.h"
#include "core/json.h"
#include "fixture.h"
#include "float8_reference.h"

namespace tenon::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Algo {
  const char* name;
  std::int64_t group_size;
  const char* spec;
};

constexpr Algo kAlgos[] = {{"W8A16", 128, "int8 group row scale float32"},
                           {"W4A16", 16, "int4 group 16 scale float16 offset 8"},
                           {"FP8", 128, "float8_e4m3 group row scale float32"}};

QuantConfig config_of(const Algo& algo) {
  return {.quant_algo = algo.name, .group_size = algo.group_size};
}

class Quantization : public ::testing::Test {
 protected:
  Quantization() {
    std::string name = (fs::temp_directory_path() / "tenon-quantization-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Quantization() override { fs::remove_all(path_); }

  std::string checkpoint(const std::string& model, const QuantConfig& quantization,
                         Mapping mapping = {}) {
    const fs::path path = path_ / std::to_string(next_++);
    convert({.model_dir = data_path(model).string(),
             .output_dir = path,
             .mapping = mapping,
             .quantization = quantization});
    return path.string();
  }

  fs::path path_;
  int next_ = 0;
};

std::vector<float> logits_of(const std::string& model, const std::vector<std::int32_t>& ids,
                             const LlmOptions& options = tiny_options()) {
  return LLM(model, options).logits(ids).values;
}

/// The linear layers' matrices of the tiny Llamas.
bool is_linear(const std::string& name) {
  for (const char* part : {".attention.q.", ".attention.k.", ".attention.v.", ".attention.dense.",
                           ".mlp.fc.", ".mlp.gate.", ".mlp.proj."})
    if (name.find(part) != std::string::npos && name.ends_with(".weight")) return true;
  return false;
}

TEST_F(Quantization, LinearLayersAloneAreQuantized) {
  const ModelSource whole = open_model_source(data_path("models/llama_gqa").string());
  for (const Algo& algo : kAlgos) {
    SCOPED_TRACE(algo.name);
    const ModelSource got = open_model_source(checkpoint("models/llama_gqa", config_of(algo)));
    EXPECT_EQ(got.config.quantization.quant_algo, algo.name);
    EXPECT_EQ(got.config.quantization.group_size, algo.group_size);
    EXPECT_THAT(got.config.quantization.exclude_modules, ::testing::Contains("*lm_head"));
    int quantized = 0;
    for (const WeightInfo& info : got.weights->weights()) {
      const bool linear = is_linear(info.name);
      EXPECT_EQ(to_string(info.spec), linear ? algo.spec : "float32") << info.name;
      quantized += linear ? 1 : 0;
      const Tensor a = dequantize(got.weights->load(info.name, {}));
      const Tensor b = dequantize(whole.weights->load(info.name, {}));
      float largest = 0.0F;
      for (std::int64_t i = 0; i < b.view().elements(); ++i)
        largest = std::max(largest, std::fabs(b.view().as<float>()[i]));
      const float share = !linear ? 0.0F : algo.name[1] == '4' ? 1.0F / 8 : 1.0F / 28;
      for (std::int64_t i = 0; i < b.view().elements(); ++i)
        ASSERT_NEAR(a.view().as<float>()[i], b.view().as<float>()[i], share * largest) << info.name;
    }
    EXPECT_EQ(quantized, 7 * got.config.num_hidden_layers);
  }
}

/// The model's own files with every quantized weight replaced by what it is worth.
TEST_F(Quantization, LogitsAreThoseOfTheRoundedWeights) {
  const Expected expected = read_expected(data_path("models/llama_gqa.expected.safetensors"));
  for (const Algo& algo : kAlgos) {
    SCOPED_TRACE(algo.name);
    const std::string quantized = checkpoint("models/llama_gqa", config_of(algo));
    PretrainedModel plain =
        PretrainedModel::from_pretrained(data_path("models/llama_gqa").string());
    const ModelSource source = open_model_source(quantized);
    // A source of plain float32 weights with the same values.
    class Dequantized : public WeightSource {
     public:
      explicit Dequantized(std::shared_ptr<const WeightSource> from) : from_(std::move(from)) {
        for (const WeightInfo& info : from_->weights())
          infos_.push_back({info.name, info.shape, QuantSpec::floating(DataType::kFloat32)});
      }
      const std::vector<WeightInfo>& weights() const override { return infos_; }
      QuantizedTensor load(std::string_view name, const Cut& cut) const override {
        return QuantizedTensor::from(dequantize(from_->load(name, cut)));
      }

     private:
      std::shared_ptr<const WeightSource> from_;
      std::vector<WeightInfo> infos_;
    };
    plain.impl()->source.weights = std::make_shared<Dequantized>(source.weights);
    const std::vector<float> wanted = LLM(build(plain), tiny_options()).logits(expected.ids).values;
    const std::vector<float> got = logits_of(quantized, expected.ids);
    EXPECT_LE(largest_difference(got, wanted), 2e-4F);
    EXPECT_GT(largest_difference(got, expected.logits), 1e-4F) << "nothing was quantized";
  }
}

TEST_F(Quantization, RanksReadAndWriteCuts) {
  const Expected expected = read_expected(data_path("models/llama_gqa.expected.safetensors"));
  for (const Algo& algo : kAlgos) {
    SCOPED_TRACE(algo.name);
    const std::string one = checkpoint("models/llama_gqa", config_of(algo));
    const std::string two = checkpoint("models/llama_gqa", config_of(algo), {.tp_size = 2});
    const ModelSource a = open_model_source(one);
    const ModelSource b = open_model_source(two);
    for (const WeightInfo& info : a.weights->weights()) {
      const Tensor x = dequantize(a.weights->load(info.name, {}));
      const Tensor y = dequantize(b.weights->load(info.name, {}));
      ASSERT_EQ(std::memcmp(x.data(), y.data(), x.bytes()), 0) << info.name;
    }
    LlmOptions options = tiny_options();
    options.mapping.tp_size = 2;
    EXPECT_LE(
        largest_difference(logits_of(one, expected.ids, options), logits_of(two, expected.ids)),
        2e-4F);
  }
}

TEST_F(Quantization, GroupsAndRanksThatDoNotFitAreRefusedWithThoseThatDo) {
  const auto error_of = [&](const QuantConfig& config, const Mapping& mapping) -> std::string {
    try {
      checkpoint("models/llama_gqa", config, mapping);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of({.quant_algo = "W4A16", .group_size = 32}, {}),
              HasSubstr("no multiple of the group_size 32; sizes that divide those of all weights: "
                        "16, 0"));
  // A head has 8 columns, half a group: two go together.
  EXPECT_THAT(error_of({.quant_algo = "W4A16", .group_size = 16}, {.tp_size = 4}),
              HasSubstr("sizes that work: 1, 2"));
  EXPECT_THAT(error_of({.quant_algo = "W8A16", .exclude_modules = {"*"}}, {}),
              HasSubstr("leaves no weight"));
}

TEST_F(Quantization, BlocksOfAFileAreRequantized) {
  const std::string model = data_path("gguf/llama_mixed.gguf").string();
  const ConvertReport report = convert(
      {.model_dir = model, .output_dir = path_ / "gguf", .quantization = {.quant_algo = "W8A16"}});
  EXPECT_GT(report.quantized, 0);
  EXPECT_THAT(report.quantized_from, HasSubstr("group"));
  const ModelSource got = open_model_source((path_ / "gguf").string());
  for (const WeightInfo& info : got.weights->weights())
    if (is_linear(info.name)) {
      EXPECT_EQ(to_string(info.spec), "int8 group row scale float32") << info.name;
    }
}

TEST_F(Quantization, AModelsConfigMayAskForItBeforeBuild) {
  const Expected expected = read_expected(data_path("models/llama_gqa.expected.safetensors"));
  PretrainedModel model = PretrainedModel::from_pretrained(data_path("models/llama_gqa").string());
  model.config().quantization = {.quant_algo = "W8A16"};
  const Engine engine = build(model);
  engine.save((path_ / "engine").string());
  const std::vector<float> wanted =
      logits_of(checkpoint("models/llama_gqa", {.quant_algo = "W8A16"}), expected.ids);
  EXPECT_EQ(LLM(engine, tiny_options()).logits(expected.ids).values, wanted);
  EXPECT_EQ(logits_of((path_ / "engine").string(), expected.ids), wanted);
}

// How far logits are from what the formula gives, for as many tokens of the fixture. A GPU keeps
// what linear layers read in bfloat16, and gate and up too where its products do: the nearer of the
// two counts.
double kl_of_float8_inputs(const std::string& model, std::vector<std::int32_t> ids,
                           const LlmOptions& options) {
  using Storage = Float8Reference::Storage;
  const ModelSource source = open_model_source(model);
  const std::vector<float> got = logits_of(model, ids, options);
  if (options.device == "cpu") return kl_of_logits(Float8Reference(source).logits(ids), got);
  double nearest = INFINITY;
  for (const Storage storage : {Storage::kBFloat16, Storage::kBFloat16WithGates})
    nearest = std::min(nearest, kl_of_logits(Float8Reference(source, storage).logits(ids), got));
  return nearest;
}

TEST_F(Quantization, Float8ActivationsAreWhatTheFormulaSays) {
  const Expected expected = read_expected(data_path("models/llama_gqa.expected.safetensors"));
  const std::string model = checkpoint("models/llama_gqa", {.quant_algo = "FP8"});
  const std::vector<float> exact = logits_of(model, expected.ids);
  LlmOptions options = tiny_options();
  options.activation_dtype = "float8_e4m3";
  const std::vector<std::int32_t> few(expected.ids.begin(), expected.ids.begin() + 16);
  for (const char* isa : {"baseline", "avx2", "avx512", ""}) {
    options.max_isa = isa;
    EXPECT_LE(kl_of_float8_inputs(model, few, options), 1e-4) << isa;
    // A GPU multiplies more than 16 rows as fp8, and keeps some 14 bits of their sums.
    EXPECT_LE(kl_of_float8_inputs(model, expected.ids, options),
              options.device == "cpu" ? 1e-4 : 1e-3)
        << isa;
    EXPECT_GT(largest_difference(logits_of(model, expected.ids, options), exact), 1e-3F)
        << "nothing was rounded";
  }
  // The formula agrees where nothing is rounded either: it is the model's.
  const ModelSource plain = open_model_source(data_path("models/llama_gqa").string());
  EXPECT_LE(kl_of_logits(Float8Reference(plain).logits(expected.ids), expected.logits), 1e-9);
}

TEST_F(Quantization, Float8ActivationsNeedFloat8Weights) {
  LlmOptions options = tiny_options();
  options.activation_dtype = "float8_e4m3";
  for (const std::string& model : {data_path("models/llama_gqa").string(),
                                   checkpoint("models/llama_gqa", {.quant_algo = "W8A16"})}) {
    try {
      LLM(model, options);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("transformer.layers.0.attention.q.weight is"));
      EXPECT_THAT(error.what(), HasSubstr("--weight_only_precision fp8"));
    }
  }
  EXPECT_THAT(LLM(checkpoint("models/llama_gqa", {.quant_algo = "FP8"}), options).precision(),
              HasSubstr("activations float8_e4m3"));
}

TEST_F(Quantization, UnknownAlgosAreRefused) {
  PretrainedModel model = PretrainedModel::from_pretrained(data_path("models/llama_gqa").string());
  model.config().quantization.quant_algo = "W4A16_AWQ";
  try {
    build(model);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("W4A16_AWQ"));
  }
}

TEST_F(Quantization, RandomWeightsComeInEveryForm) {
  PretrainedConfig config = open_model_source(data_path("models/llama_gqa").string()).config;
  const ModelSource plain = random_model_source(config, 3);
  for (const Algo& algo : kAlgos) {
    SCOPED_TRACE(algo.name);
    config.quantization = config_of(algo);
    const ModelSource source = random_model_source(config, 3);
    for (const WeightInfo& info : source.weights->weights()) {
      EXPECT_EQ(to_string(info.spec), is_linear(info.name) ? algo.spec : "float32") << info.name;
      const QuantizedTensor part = source.weights->load(info.name, {});
      validate(part, info.name);
      const Tensor got = dequantize(part);
      const Tensor exact = dequantize(plain.weights->load(info.name, {}));
      // The same numbers, rounded: half a step of the coarsest code.
      const float step = algo.name[1] == '4' ? 0.0693F / 7 : 0.0693F / 14;
      std::set<float> values;
      for (std::int64_t i = 0; i < got.view().elements(); ++i) {
        ASSERT_NEAR(got.view().as<float>()[i], exact.view().as<float>()[i], 0.51F * step);
        values.insert(got.view().as<float>()[i]);
      }
      if (is_linear(info.name)) {
        EXPECT_GT(values.size(), algo.name[1] == '4' ? 9U : 60U) << "not random";
      }
      if (info.shape.size() != 2) continue;
      const QuantizedTensor cut = source.weights->load(info.name, {{1, 3}, {0, info.shape[1]}});
      EXPECT_EQ(cut.shape, (Shape{2, info.shape[1]}));
    }
    const std::vector<float> logits =
        LLM(build(PretrainedModel::from_config(config, 3)), tiny_options())
            .logits({1, 2, 3})
            .values;
    for (const float value : logits) ASSERT_TRUE(std::isfinite(value));
  }
}

}  // namespace
}  // namespace tenon::test
