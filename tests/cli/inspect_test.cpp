// SPDX-License-Identifier: Apache-2.0
#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Inspect : public CliTest {};

std::string text_of(const Json& json, const char* key) { return json.at(key, "").as_string(key); }

TEST_F(Inspect, EveryKindOfThing) {
  out_of(
      {"convert", "--model_dir", text_model(), "--output_dir", at("checkpoint"), "--tp_size", "2"});
  const std::string engine = build_engine();
  const struct {
    std::string path;
    std::string kind;
  } cases[] = {{text_model(), "Hugging Face model"},
               {data_file("models/llama_bin_sharded"), "Hugging Face model"},
               {data_file("gguf/llama_text.gguf"), "GGUF model"},
               {data_file("gguf/llama_split-00002-of-00003.gguf"), "GGUF model"},
               {data_file("gguf/llama_mixed.gguf"), "GGUF model"},
               {at("checkpoint"), "Tenon checkpoint"},
               {engine, "Tenon engine"},
               {text_model() + "/model.safetensors", "tensor file"},
               {at("checkpoint/rank1.safetensors"), "tensor file"},
               {data_file("models/llama_bin/pytorch_model.bin"), "tensor file"}};
  for (const auto& [path, kind] : cases) {
    SCOPED_TRACE(path);
    const Json json = json_of({"inspect", path, "--json", "--tensors"});
    EXPECT_EQ(text_of(json, "kind"), kind);
    EXPECT_EQ(json.find("problem"), nullptr);
    EXPECT_EQ(json.at("tensors", "").at("count", "").as_int(""),
              static_cast<std::int64_t>(json.at("tensor_list", "").as_array("").size()));
    EXPECT_EQ(json.find("config") != nullptr, kind != "tensor file");
    EXPECT_EQ(json.find("memory") != nullptr, kind != "tensor file");
    EXPECT_THAT(out_of({"inspect", path, "--tensors"}), HasSubstr(kind));
  }
}

TEST_F(Inspect, SizesOfTheWholeWhateverTheCut) {
  out_of({"convert", "--model_dir", text_model(), "--output_dir", at("checkpoint"), "--tp_size",
          "2", "--pp_size", "2"});
  const Json whole = json_of({"inspect", text_model(), "--json"});
  const Json cut = json_of({"inspect", at("checkpoint"), "--json"});
  EXPECT_EQ(whole.at("memory", ""), cut.at("memory", ""));
  EXPECT_EQ(cut.at("config", "").at("mapping", "").at("world_size", "").as_int(""), 4);
  EXPECT_EQ(cut.at("format_version", "").as_int(""), 1);
  EXPECT_EQ(cut.at("text", "").at("chat_template", "").as_bool(""), true);
  // 2 layers, K and V of 2 heads of 8 features, 4 bytes each.
  const Json& cache = whole.at("memory", "").at("kv_cache_bytes_per_token", "");
  EXPECT_EQ(cache.at("float32", "").as_int(""), 2 * 2 * 2 * 8 * 4);
}

TEST_F(Inspect, AModelThatCannotRunIsStillShown) {
  const Json json = json_of({"inspect", data_file("gguf/metadata.gguf"), "--json"});
  EXPECT_THAT(text_of(json, "problem"), HasSubstr("\"test\" is not supported"));
  EXPECT_EQ(json.at("gguf_metadata", "").at("uint8", "").as_int(""), 200);
  const Result graph = run({"inspect", data_file("gguf/metadata.gguf"), "--graph"});
  EXPECT_EQ(graph.code, 2);
  EXPECT_THAT(graph.err, HasSubstr("no graph to show"));
}

TEST_F(Inspect, GraphsAsStoredAndAsOneRankRunsThem) {
  const std::string engine = build_engine();
  const std::string stored = out_of({"inspect", engine, "--graph"});
  EXPECT_EQ(stored, out_of({"inspect", text_model(), "--graph"}));
  EXPECT_THAT(stored, HasSubstr("gated_activation"));
  EXPECT_THAT(stored, Not(HasSubstr("all_reduce")));
  const std::string rank =
      out_of({"inspect", engine, "--graph", "--tp_size", "2", "--pp_size", "2", "--rank", "3"});
  EXPECT_THAT(rank, HasSubstr("all_reduce"));
  EXPECT_THAT(rank, HasSubstr("receive"));
  EXPECT_THAT(rank, Not(HasSubstr("transformer.layers.0.")));
  const std::string fused = out_of({"inspect", engine, "--graph", "--fused"});
  EXPECT_THAT(fused, HasSubstr("gated_linear"));
  EXPECT_THAT(fused, HasSubstr("rope_cache_write"));
  out_of({"inspect", engine, "--graph_html", at("graph.html"), "--fused"});
  EXPECT_THAT(read_file(at("graph.html")), HasSubstr("layers.1.attention"));
  EXPECT_NE(json_of({"inspect", engine, "--graph", "--json"}).at("graphs", "").find("decoder"),
            nullptr);
}

TEST_F(Inspect, WrongRanksAndFlagsWithoutAGraphAreRefused) {
  EXPECT_EQ(run({"inspect", text_model(), "--fused"}).code, 2);
  EXPECT_EQ(run({"inspect", text_model(), "--graph", "--rank", "1"}).code, 2);
  EXPECT_EQ(run({"inspect", text_model(), "--graph", "--tp_size", "3"}).code, 2);
  EXPECT_EQ(run({"inspect"}).code, 2);
  EXPECT_EQ(run({"inspect", at("nowhere")}).code, 3);
}

}  // namespace
}  // namespace tenon::test
