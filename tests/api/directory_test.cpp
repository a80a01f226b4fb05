// Checkpoint and engine directories: written whole, cut for ranks, read back under any mapping,
// refused when damaged.
// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include "api/convert.h"
#include "api/model_source.h"
#include "checkpoint/engine_directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_files.h"
#include "core/file.h"
#include "core/json.h"
#include "fixture.h"

namespace tenon::test {
namespace {

namespace fs = std::filesystem;

class Directories : public ::testing::Test {
 protected:
  Directories() {
    std::string name = (fs::temp_directory_path() / "tenon-directory-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Directories() override { fs::remove_all(path_); }

  std::string make_checkpoint(const std::string& model, Mapping mapping,
                              std::optional<DataType> dtype = std::nullopt) {
    convert({data_path(model).string(), path_ / "checkpoint", dtype, mapping, 2});
    return (path_ / "checkpoint").string();
  }
  std::string make_engine(const std::string& model) {
    build(PretrainedModel::from_pretrained(model)).save((path_ / "engine").string());
    return (path_ / "engine").string();
  }

  fs::path path_;
};

TEST_F(Directories, EveryMappingReadsUnderEveryOther) {
  for (const char* model :
       {"models/llama_three_kv", "models/llama_two_kv_tp4", "gguf/llama_mixed.gguf"}) {
    const ModelSource whole = open_model_source(data_path(model).string());
    for (const auto& [tp, pp] : {std::pair{1, 1}, {2, 1}, {3, 1}, {4, 1}, {1, 2}, {2, 2}}) {
      SCOPED_TRACE(std::string(model) + " tp " + std::to_string(tp) + " pp " + std::to_string(pp));
      std::string checkpoint;
      try {
        checkpoint = make_checkpoint(model, {.tp_size = tp, .pp_size = pp});
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        EXPECT_NE(std::string(error.what()).find("sizes that work"), std::string::npos)
            << error.what();
        continue;
      }
      for (int rank = 0; rank <= tp * pp; ++rank)
        EXPECT_EQ(fs::exists(fs::path(checkpoint) / rank_file_name(rank)), rank < tp * pp);
      const ModelSource cut = open_model_source(checkpoint);
      ASSERT_EQ(cut.weights->weights().size(), whole.weights->weights().size());
      for (const WeightInfo& info : whole.weights->weights()) {
        const Tensor a = dequantize(whole.weights->load(info.name, {}));
        const Tensor b = dequantize(cut.weights->load(info.name, {}));
        ASSERT_EQ(a.shape(), b.shape()) << info.name;
        ASSERT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0) << info.name;
      }
    }
  }
}

TEST_F(Directories, RanksAndStagesGiveTheLogitsOfOne) {
  for (const char* model : {"llama_three_kv", "llama_two_kv_tp4", "qwen2_bias", "mistral_window"}) {
    const std::string path = data_path(std::string("models/") + model).string();
    const Expected expected =
        read_expected(data_path(std::string("models/") + model + ".expected.safetensors"));
    int ran = 0;
    for (const auto& [tp, pp] : {std::pair{2, 1}, {3, 1}, {4, 1}, {1, 2}, {2, 2}}) {
      LlmOptions options = tiny_options();
      options.mapping.tp_size = tp;
      options.mapping.pp_size = pp;
      try {
        LLM llm(path, options);
        EXPECT_LE(largest_difference(llm.logits(expected.ids).values, expected.logits), 1e-4F)
            << model << " tp " << tp << " pp " << pp;
        ++ran;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      }
    }
    EXPECT_GE(ran, 3) << model;
  }
}

TEST_F(Directories, RotarySettingsOfEachKindOfLayerAreStored) {
  const std::string model = "models/qwen2_rope_by_kind";
  const Expected expected = read_expected(data_path(model + ".expected.safetensors"));
  const std::string directories[] = {make_checkpoint(model, {.tp_size = 2}),
                                     make_engine(data_path(model).string())};
  for (const std::string& stored : directories) {
    LLM llm(stored, tiny_options());
    EXPECT_EQ(llm.config().layer_rotary.at("sliding_attention").rotary_base, 100.0);
    EXPECT_LE(largest_difference(llm.logits(expected.ids).values, expected.logits), 1e-4F)
        << stored;
  }
}

TEST_F(Directories, DtypeConvertsFloatsAndRefusesWhatDoesNotFit) {
  const std::string checkpoint = make_checkpoint("models/llama_mha", {}, DataType::kBFloat16);
  const ModelSource source = open_model_source(checkpoint);
  for (const WeightInfo& info : source.weights->weights())
    EXPECT_EQ(info.spec.float_type, DataType::kBFloat16);
}

TEST_F(Directories, AnEngineIsRefusedWhereItWasDamaged) {
  const fs::path engine = make_engine(data_path("models/llama_text").string());
  const auto load = [&] {
    LLM llm(engine.string(), tiny_options());
    llm.logits({1, 2, 3});
  };
  EXPECT_NO_THROW(load());
  const auto expect_refused = [&](const char* file, auto damage, ErrorCode code) {
    const std::string content = read_file(engine / file);
    std::string changed = content;
    damage(changed);
    std::ofstream(engine / file, std::ios::binary) << changed;
    try {
      load();
      ADD_FAILURE() << file << ": the damage went unseen";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
    std::ofstream(engine / file, std::ios::binary) << content;
  };
  const auto cut = [](std::string& text) { text.resize(text.size() / 2); };
  const auto flip_last = [](std::string& text) {
    text.back() = static_cast<char>(text.back() ^ 1);
  };
  const auto flip_header = [](std::string& text) { text[40] = static_cast<char>(text[40] ^ 1); };
  const auto newer = [](std::string& text) {
    text.replace(text.find("\"version\": 1"), 12, "\"version\": 2");
  };
  expect_refused("rank0.safetensors", cut, ErrorCode::kCorrupt);
  expect_refused("rank0.safetensors", flip_last, ErrorCode::kCorrupt);
  expect_refused("rank0.safetensors", flip_header, ErrorCode::kCorrupt);
  expect_refused("config.json", flip_last, ErrorCode::kCorrupt);
  expect_refused("graph.json", cut, ErrorCode::kCorrupt);
  expect_refused("tokenizer.json", flip_last, ErrorCode::kCorrupt);
  expect_refused("manifest.json", newer, ErrorCode::kUnsupported);
  expect_refused("manifest.json", cut, ErrorCode::kCorrupt);
  EXPECT_NO_THROW(load());
}

TEST_F(Directories, NothingButAnOlderOneOfItsKindIsReplaced) {
  const fs::path there = path_ / "there";
  const std::string model = data_path("models/llama_gqa").string();
  const auto to_checkpoint = [&] { convert({model, there, std::nullopt, {}, 1}); };
  const auto to_engine = [&] {
    build(PretrainedModel::from_pretrained(model)).save(there.string());
  };
  fs::create_directory(there);
  EXPECT_NO_THROW(to_checkpoint()) << "an empty directory";
  EXPECT_NO_THROW(to_checkpoint()) << "a checkpoint";
  EXPECT_THROW(to_engine(), Error);
  EXPECT_TRUE(is_directory_of(there, DirectoryKind::kCheckpoint));
  fs::remove_all(there);
  fs::create_directory(there);
  for (const char* own : {"letter.txt", "manifest.json"}) {
    std::ofstream(there / own) << "dear reader";
    EXPECT_THROW(to_checkpoint(), Error) << own;
    EXPECT_THROW(to_engine(), Error) << own;
    EXPECT_TRUE(fs::exists(there / own));
    fs::remove(there / own);
  }
  fs::remove(there);
  std::ofstream(there) << "a file";
  EXPECT_THROW(to_engine(), Error);
  EXPECT_EQ(read_file(there), "a file");
}

TEST_F(Directories, AQuantizationThatNothingDoesIsRefused) {
  auto model = PretrainedModel::from_pretrained(data_path("models/llama_gqa").string());
  model.config().quantization.kv_cache_quant_algo = "FP8";
  EXPECT_THROW(build(model), Error);
}

TEST_F(Directories, TraitsThatContradictTheGraphAreRefused) {
  const fs::path stored = data_path("graphs/qwen2_window.json");
  const std::string good = read_file(stored);
  const auto expect_refused = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from, text.rfind("\"cache_layers\""));
    ASSERT_NE(at, text.npos) << from;
    text.replace(at, from.size(), to);
    EXPECT_THROW(model_graphs_from_json(Json::parse(text, "graph.json"), "graph.json"), Error)
        << to;
  };
  expect_refused("\"kv_heads\": 2", "\"kv_heads\": 1099511627775");
  expect_refused("\"head_dim\": 8", "\"head_dim\": 1099511627775");
  expect_refused("\"layer\": 1", "\"layer\": 2");
  expect_refused("\"cache_layers\": [",
                 "\"cache_layers\": [{\"kv_heads\": 2, \"head_dim\": 8, "
                 "\"window\": 0, \"layer\": 0}, ");
}

TEST_F(Directories, AGraphStoredByAnEarlierBuildStillReads) {
  const fs::path stored = data_path("graphs/qwen2_window.json");
  const ModelGraphs graphs =
      model_graphs_from_json(Json::parse(read_file(stored), stored.string()), stored.string());
  const ModelSource source = open_model_source(data_path("models/qwen2_window").string());
  const Graph& program = graphs.programs.at("decoder");
  const Graph* programs[] = {&program};
  EXPECT_NO_THROW(check_weights(programs, *source.weights, "stored"));
  ModelGraphs built = build_graphs(source, BuildConfig{});
  Graph& today = built.programs.at("decoder");
  const ValueId hidden = today.find_value("hidden_states");  // no output in those days
  std::erase(today.outputs, hidden);
  today.values.at(static_cast<std::size_t>(hidden)).name = "ln_f";
  EXPECT_EQ(print(program), print(today));
}

TEST_F(Directories, WrongTensorsAreAllListedInOneError) {
  fs::copy(data_path("models/llama_gqa"), path_ / "model");
  const std::string config = read_file(path_ / "model" / "config.json");
  Json json = Json::parse(config, "config.json");
  json.set("intermediate_size", json.at("intermediate_size", "").as_int("") + 32);
  json.set("num_hidden_layers", json.at("num_hidden_layers", "").as_int("") - 1);
  write_file_atomically(path_ / "model" / "config.json", json.dump(1));
  try {
    PretrainedModel::from_pretrained((path_ / "model").string());
    FAIL() << "accepted";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("unused"), std::string::npos) << text;
    EXPECT_GT(std::count(text.begin(), text.end(), '\n'), 5) << text;
  }
}

}  // namespace
}  // namespace tenon::test
