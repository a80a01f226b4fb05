// The graph that the decoder families emit: order, names, shapes, what is cut along which axis.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <set>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::bare_config;
using test::read_config;
using testing::ElementsAre;

ModelGraphs build(const PretrainedConfig& config) {
  return find_model_family(config.architecture).build(config, BuildConfig{});
}

TEST(DecoderGraph, InputsOutputsAndTraits) {
  PretrainedConfig config = read_config(bare_config("LlamaForCausalLM"));
  config.layer_windows = {0, 8, 8};
  const ModelGraphs graphs = build(config);
  const Graph& graph = graphs.programs.at("decoder");
  EXPECT_NO_THROW(verify(graph, true));
  EXPECT_EQ(graph.layers, 3);
  EXPECT_EQ(to_string(graph.value(graph.find_value("token_ids")).type), "int32 [T]");
  EXPECT_EQ(to_string(graph.value(graph.find_value("positions")).type), "int32 [T]");
  EXPECT_EQ(to_string(graph.value(graph.find_value("logit_rows")).type), "int32 [L]");
  EXPECT_THAT(graph.outputs,
              ElementsAre(graph.find_value("logits"), graph.find_value("hidden_states")));
  EXPECT_EQ(to_string(graph.value(graph.find_value("logits")).type), "float32 [L, 96]");

  ASSERT_EQ(graphs.traits.cache_layers.size(), 3U);
  EXPECT_EQ(graphs.traits.cache_layers[1],
            (EngineTraits::CacheLayer{.kv_heads = 2, .head_dim = 8, .window = 8, .layer = 1}));
  EXPECT_EQ(graphs.traits.max_position, 2048);
  EXPECT_EQ(graphs.traits.vocab_size, 96);
  EXPECT_TRUE(graphs.traits.chunkable);
}

TEST(DecoderGraph, OneLayerReadsAsTheModelIsWritten) {
  Json json = bare_config("Qwen2ForCausalLM");
  const Graph graph = build(read_config(json)).programs.at("decoder");
  std::vector<std::string> names;
  for (const Node& node : graph.nodes)
    if (node.layer == 1)
      names.push_back(std::string(name_of(node.op)) + " " + graph.value(node.outputs[0]).name);
  EXPECT_THAT(
      names,
      ElementsAre("norm layers.1.input_layernorm", "linear layers.1.attention.q",
                  "linear layers.1.attention.k", "linear layers.1.attention.v",
                  "rope layers.1.attention.q_rope", "rope layers.1.attention.k_rope",
                  "cache_write layers.1.attention.cache", "attention layers.1.attention.context",
                  "linear layers.1.attention.output", "add layers.1.attention.residual",
                  "norm layers.1.post_layernorm", "linear layers.1.mlp.fc",
                  "linear layers.1.mlp.gate", "gated_activation layers.1.mlp.hidden",
                  "linear layers.1.mlp.output", "add layers.1.output"));
}

TEST(DecoderGraph, OnlyWantedRowsReachTheHead) {
  const Graph graph = build(read_config(bare_config("LlamaForCausalLM"))).programs.at("decoder");
  std::vector<std::string> names;
  for (const Node& node : graph.nodes)
    if (node.layer < 0) names.push_back(name_of(node.op));
  EXPECT_THAT(names, ElementsAre("embedding", "gather_rows", "norm", "linear"));
  EXPECT_EQ(to_string(graph.value(graph.find_value("hidden_states")).type), "float32 [L, 32]");
}

TEST(DecoderGraph, ShardAxesAndMarks) {
  const Graph graph = build(read_config(bare_config("Qwen2ForCausalLM"))).programs.at("decoder");
  EXPECT_EQ(graph.axes.at("heads").units, 4);
  EXPECT_EQ(graph.axes.at("heads").groups, 2);
  EXPECT_EQ(graph.axes.at("ffn").units, 48);
  EXPECT_EQ(graph.axes.at("vocab").units, 96);
  const auto marks = [&](const std::string& name) {
    const WeightId id = graph.find_weight(name);
    EXPECT_NE(id, kNoId) << name;
    return id == kNoId ? std::vector<ShardMark>{} : graph.weight(id).marks;
  };
  const std::string layer = "transformer.layers.0.";
  EXPECT_THAT(marks(layer + "attention.q.weight"), ElementsAre(ShardMark{"heads", 0, 8, false}));
  EXPECT_THAT(marks(layer + "attention.k.weight"), ElementsAre(ShardMark{"heads", 0, 8, true}));
  EXPECT_THAT(marks(layer + "attention.v.bias"), ElementsAre(ShardMark{"heads", 0, 8, true}));
  EXPECT_THAT(marks(layer + "attention.dense.weight"),
              ElementsAre(ShardMark{"heads", 1, 8, false}));
  EXPECT_THAT(marks(layer + "mlp.fc.weight"), ElementsAre(ShardMark{"ffn", 0, 1, false}));
  EXPECT_THAT(marks(layer + "mlp.proj.weight"), ElementsAre(ShardMark{"ffn", 1, 1, false}));
  EXPECT_THAT(marks("transformer.vocab_embedding.weight"),
              ElementsAre(ShardMark{"vocab", 0, 1, false}));
  EXPECT_THAT(marks("lm_head.weight"), ElementsAre(ShardMark{"vocab", 0, 1, false}));
  EXPECT_TRUE(marks(layer + "input_layernorm.weight").empty());
  const auto& head = std::get<Linear>(graph.nodes.back().op);
  EXPECT_TRUE(head.gather_output);
}

TEST(DecoderGraph, TiedHeadSharesTheTable) {
  PretrainedConfig config = read_config(bare_config("LlamaForCausalLM"));
  config.share_embedding_table = true;
  const Graph graph = build(config).programs.at("decoder");
  EXPECT_EQ(graph.find_weight("lm_head.weight"), kNoId);
  EXPECT_THAT(graph.nodes.back().weights,
              ElementsAre(graph.find_weight("transformer.vocab_embedding.weight")));
}

TEST(DecoderGraph, ScalingLengthensTheContext) {
  PretrainedConfig config = read_config(bare_config("LlamaForCausalLM"));
  config.rotary_scaling = {.type = "linear", .factor = 2.5};
  EXPECT_EQ(build(config).traits.max_position, 5120);
  config.rotary_scaling = {.type = "yarn", .factor = 4.0, .original_max_position_embeddings = 2048};
  EXPECT_EQ(build(config).traits.max_position, 8192);
  config.rotary_scaling = {.type = "llama3", .factor = 8.0};
  EXPECT_EQ(build(config).traits.max_position, 2048);
}

TEST(DecoderGraph, LayersRotateByTheirKind) {
  PretrainedConfig config = read_config(bare_config("Qwen2ForCausalLM"));
  config.layer_windows = {8, 0, 8};
  config.max_position_embeddings = 2048;
  config.position_embedding_type = PositionEmbeddingType::kYarn;
  config.rotary_scaling = {.type = "yarn", .factor = 4.0, .original_max_position_embeddings = 2048};
  config.layer_rotary = {{"sliding_attention", {.rotary_base = 100.0}}};
  const ModelGraphs graphs = build(config);
  // A layer with a window sees no farther than that, so its plain rotation bounds nothing.
  EXPECT_EQ(graphs.traits.max_position, 8192);
  std::vector<float> second_frequency;
  for (const Node& node : graphs.programs.at("decoder").nodes)
    if (const auto* rope = std::get_if<Rope>(&node.op)) {
      second_frequency.push_back(rope->inv_freq[1]);
      EXPECT_EQ(rope->amplitude > 1.F, node.layer == 1);
    }
  ASSERT_EQ(second_frequency.size(), 6U);  // of Q and K
  for (const std::size_t i : {0U, 1U, 4U, 5U})
    EXPECT_FLOAT_EQ(second_frequency[i], 0.31622777F);  // 100^(-2/8)
  for (const std::size_t i : {2U, 3U}) EXPECT_NE(second_frequency[i], second_frequency[0]);
}

TEST(DecoderGraph, WeightMapsGiveEveryWeightOnce) {
  for (const char* name : {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"})
    for (const bool odd : {false, true}) {
      PretrainedConfig config = read_config(bare_config(name));
      config.share_embedding_table = config.qkv_bias = config.attn_dense_bias = config.mlp_bias =
          odd;
      const ModelFamily& family = find_model_family(name);
      std::set<std::string> wanted;
      const ModelGraphs graphs = family.build(config, {});
      for (const Weight& weight : graphs.programs.at("decoder").weights) wanted.insert(weight.name);
      for (const WeightMap& map :
           {family.hugging_face_weights(config), family.gguf_weights(config)}) {
        std::set<std::string> given;
        std::set<std::string> sources;
        for (const WeightRule& rule : map.rules) {
          EXPECT_TRUE(given.insert(rule.name).second) << rule.name;
          EXPECT_TRUE(sources.insert(rule.source).second) << rule.source;
        }
        EXPECT_EQ(given, wanted) << name;
      }
    }
}

TEST(DecoderGraph, LlamaCppPairsAreUndoneForLlamaAlone) {
  PretrainedConfig config = read_config(bare_config("LlamaForCausalLM"));
  config.qkv_bias = true;
  for (const WeightRule& rule : find_model_family("LlamaForCausalLM").gguf_weights(config).rules) {
    const bool rotated = rule.source.find("attn_q") != std::string::npos ||
                         rule.source.find("attn_k.") != std::string::npos;
    EXPECT_EQ(rule.unpermute_head, rotated ? 8 : 0) << rule.source;
  }
  for (const WeightRule& rule : find_model_family("Qwen2ForCausalLM").gguf_weights(config).rules)
    EXPECT_EQ(rule.unpermute_head, 0) << rule.source;
}

}  // namespace
}  // namespace tenon
