// The two lists of config.json keys that all families share: harmless ones, and those that only a
// neutral value makes harmless. A key on neither list, and not read by the family, is an error.
// SPDX-License-Identifier: Apache-2.0
#include "models/config_reader.h"

namespace tenon {

std::span<const char* const> harmless_config_keys() {
  static constexpr const char* kKeys[] = {
      // bookkeeping
      "architectures", "model_type", "transformers_version", "_name_or_path", "_model_name_or_path",
      "name_or_path", "_commit_hash", "auto_map", "custom_pipelines", "tokenizer_class", "prefix",
      "vocab_file", "transformers.js_config", "is_llama_config", "unsloth_version", "unsloth_fixed",
      "unsloth_training_accelerated", "license", "language", "tags", "task_specific_params",
      "finetuning_task", "problem_type", "id2label", "label2id", "num_labels", "mergekit",
      // how transformers runs it
      "use_cache", "return_dict", "output_attentions", "output_hidden_states", "torchscript",
      "use_bfloat16", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
      "_attn_implementation_internal", "use_flash_attention", "use_flash_attention_2",
      "_flash_attn_2_enabled", "chunk_size_feed_forward", "gradient_checkpointing",
      "tf_legacy_loss",
      // the same numbers by another order of sums
      "pretraining_tp",
      // training
      "initializer_range", "attention_dropout", "hidden_dropout", "hidden_dropout_prob",
      "attention_probs_dropout_prob", "resid_pdrop", "embd_pdrop", "attn_pdrop", "residual_dropout",
      "classifier_dropout", "dropout", "embedding_dropout",
      // lengths that only training or an old library looked at
      "max_sequence_length", "model_max_length", "tokenizer_model_max_length",
      // tokens: those that matter are read by the family
      "unk_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "decoder_start_token_id",
      // generation settings, which belong to generation_config.json
      "max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams",
      "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
      "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
      "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
      "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
      "begin_suppress_tokens", "generation_config"};
  return kKeys;
}

std::span<const NeutralKey> neutral_config_keys() {
  static const NeutralKey kKeys[] = {
      {"quantization_config", nullptr},
      {"compression_config", nullptr},
      {"attn_logit_softcapping", nullptr},
      {"final_logit_softcapping", nullptr},
      {"attn_temperature_tuning", false},
      {"query_pre_attn_scalar", nullptr},
      {"logit_scale", 1.0},
      {"logits_scaling", 1.0},
      {"embedding_multiplier", 1.0},
      {"residual_multiplier", 1.0},
      {"attention_multiplier", nullptr},
      {"scale_emb", 1},
      {"scale_depth", 1},
      {"dim_model_base", nullptr},
      {"mup_width_scale", 1.0},
      {"clip_qkv", nullptr},
      {"qk_layernorm", false},
      {"use_qk_norm", false},
      {"qk_norm", false},
      {"partial_rotary_factor", 1.0},
      {"rotary_pct", 1.0},
      {"rotary_dim", nullptr},
      {"rope_interleaved", false},
      {"rope_interleave", false},
      {"use_mrope", false},
      {"no_rope_layers", Json::array()},
      {"no_rope_layer_interval", nullptr},
      {"attention_out_bias", nullptr},
      {"use_bias", false},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"use_sliding_window", false},
      {"sliding_window", nullptr},
      {"sliding_window_pattern", nullptr},
      {"layer_types", nullptr},
      {"attention_chunk_size", nullptr},
      {"num_experts", 0},
      {"num_local_experts", 0},
      {"num_nextn_predict_layers", 0},
      {"is_decoder", false},
      {"is_encoder_decoder", false},
      {"add_cross_attention", false},
      {"cross_attention_hidden_size", nullptr},
      {"tie_encoder_decoder", false},
      {"pruned_heads", Json::object()},
      {"alibi", false},
      {"use_dynamic_ntk", false},
      {"use_logn_attn", false},
      {"parallel_attn", false},
      {"use_parallel_residual", false},
      {"hidden_activation", nullptr},
      {"layer_norm_type", "rmsnorm"},
      {"norm_type", "rmsnorm"},
  };
  return kKeys;
}

}  // namespace tenon
