// PretrainedConfig: what a checkpoint says of a model, whatever file it came from. Written to and
// read from a checkpoint's config.json under these names (TensorRT-LLM's, where it has one).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tenon/export.h"
#include "tenon/types.h"

namespace tenon {

/// How positions enter attention (L2 of the layers' list).
enum class PositionEmbeddingType : std::uint8_t {
  kNone,             ///< no positions
  kLearnedAbsolute,  ///< a table added to the embeddings (GPT-2)
  kRopeGptNeox,      ///< rotary, halves paired (Llama, Mistral, Qwen)
  kRopeGptj,         ///< rotary, neighbours paired (GPT-J)
  kAlibi,            ///< Press et al., 2021
  kRelative,         ///< T5's bucketed bias
  kChatglm,          ///< rotary on the first half of the head, neighbours paired
  kYarn,             ///< rotary with YaRN scaling (Peng et al., 2023)
  kLongRope,         ///< rotary with LongRoPE's two tables (Ding et al., 2024)
};

/// "learned_absolute", "rope_gpt_neox", "rope_gptj", "alibi", "relative", "chatglm", "yarn",
/// "long_rope", "none".
TENON_API const char* to_string(PositionEmbeddingType type) noexcept;

/// Rotary scaling, under the names of Hugging Face's rope_parameters. Fields that a kind does not
/// use stay at their defaults.
struct TENON_API RopeScaling {
  std::string type = "default";  ///< default, linear, dynamic, llama3, yarn, longrope
  double factor = 1.0;  ///< of longrope: length now over original length, for the amplitude
  double low_freq_factor = 1.0;              ///< llama3
  double high_freq_factor = 4.0;             ///< llama3
  double beta_fast = 32.0;                   ///< yarn
  double beta_slow = 1.0;                    ///< yarn
  std::optional<double> attention_factor{};  ///< yarn, longrope: amplitude; unset: by formula
  double mscale = 0.0;                       ///< yarn
  double mscale_all_dim = 0.0;               ///< yarn
  bool truncate = true;                      ///< yarn: correction range rounded to integers
  std::int64_t original_max_position_embeddings = 0;  ///< 0: max_position_embeddings
  std::vector<double> short_factor{};                 ///< longrope
  std::vector<double> long_factor{};                  ///< longrope
  /// Divisors of each inverse frequency, beside any type (GGUF's rope_freqs.weight); empty: none.
  std::vector<double> frequency_factors{};

  bool operator==(const RopeScaling&) const = default;
};

/// Rotary settings of one kind of layer.
struct TENON_API LayerRotary {
  double rotary_base = 10000.0;  ///< theta of the rotary frequencies
  RopeScaling rotary_scaling{};  ///< how they are stretched

  bool operator==(const LayerRotary&) const = default;
};

/// How a checkpoint's weights are quantized (TensorRT-LLM's "quantization" object). GGUF blocks
/// need no entry here: each part carries its own spec.
struct TENON_API QuantConfig {
  std::string quant_algo{};                    ///< "", "W8A16", "W4A16", …
  std::string kv_cache_quant_algo{};           ///< "", "INT8", "FP8"
  std::int64_t group_size = 128;               ///< columns that share a scale; 0: a whole row
  std::vector<std::string> exclude_modules{};  ///< patterns of modules left as they are

  bool operator==(const QuantConfig&) const = default;
};

struct TENON_API PretrainedConfig {
  std::string architecture{};            ///< "LlamaForCausalLM"
  DataType dtype = DataType::kFloat32;   ///< of the weights that are not quantized
  std::int64_t vocab_size = 0;           ///< rows of the embedding table
  std::int64_t hidden_size = 0;          ///< features of a token between layers
  std::int64_t num_hidden_layers = 0;    ///< decoder blocks
  std::int64_t num_attention_heads = 0;  ///< query heads
  std::int64_t num_key_value_heads = 0;  ///< equals num_attention_heads for MHA
  std::int64_t head_size = 0;            ///< features of one head
  std::int64_t intermediate_size = 0;    ///< features inside the feed-forward
  std::string hidden_act = "silu";       ///< activation, as in layers::MlpOptions
  double norm_epsilon = 1e-5;            ///< added to the mean square in norms
  PositionEmbeddingType position_embedding_type = PositionEmbeddingType::kRopeGptNeox;
  std::int64_t max_position_embeddings = 0;  ///< longest sequence without rope scaling
  double rotary_base = 10000.0;              ///< theta of the rotary frequencies
  std::int64_t rotary_embedding_dim = 0;     ///< rotated features of a head; 0: all of them
  RopeScaling rotary_scaling{};              ///< how they are stretched
  /// Kinds of layer that rotate otherwise than rotary_base and rotary_scaling say, under Hugging
  /// Face's names. One can: "sliding_attention", the layers with a window.
  std::map<std::string, LayerRotary> layer_rotary{};
  bool qkv_bias = false;               ///< of the query, key and value projections
  bool attn_dense_bias = false;        ///< of the attention's output projection
  bool mlp_bias = false;               ///< of the feed-forward's linear layers
  bool share_embedding_table = false;  ///< tie_word_embeddings
  /// Attention window of each layer, 0: whole context; empty: 0 for all.
  std::vector<std::int64_t> layer_windows{};
  std::int64_t bos_token_id = -1;             ///< -1: none
  std::vector<std::int64_t> eos_token_ids{};  ///< tokens that end a sequence
  std::int64_t pad_token_id = -1;             ///< -1: none
  QuantConfig quantization{};                 ///< empty quant_algo: as the files have it
  Mapping mapping{};                          ///< how the files are cut; a run may choose another
  /// What only one family needs, by name.
  std::map<std::string, double> extra{};

  bool operator==(const PretrainedConfig&) const = default;
};

/// TensorRT-LLM's names of an engine's limits and options. All are defaults that a run may change.
struct TENON_API BuildConfig {
  std::int64_t max_batch_size = 2048;  ///< sequences in flight
  /// Longest prompt; unset: whatever max_seq_len leaves room for. (TensorRT-LLM's default of 1024
  /// came from buffers sized at build time, which are not needed here.)
  std::optional<std::int64_t> max_input_len{};
  std::optional<std::int64_t> max_seq_len{};  ///< unset: the model's (with its rope scaling)
  std::int64_t max_beam_width = 1;            ///< beams of a request, 1 to 256
  std::int64_t max_num_tokens = 8192;         ///< tokens of a step
  /// Tokens of a step that a run takes by default; unset: 512 at most.
  std::optional<std::int64_t> opt_num_tokens{};
  std::string kv_cache_type = "paged";    ///< paged; continuous, disabled: not supported yet
  std::int64_t tokens_per_block = 32;     ///< of the cache: 16, 32, 64 or 128
  bool gather_context_logits = false;     ///< keep the logits of every prompt token
  bool gather_generation_logits = false;  ///< give the logits of every generated token
  bool remove_input_padding = true;       ///< false is not supported
  bool use_paged_context_fmha = true;     ///< false is not supported
  std::string logits_dtype = "float32";   ///< others are not supported yet

  bool operator==(const BuildConfig&) const = default;
};

}  // namespace tenon
