// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "api/build_engine.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "core/check.h"
#include "core/ledger.h"
#include "tenon/error.h"

namespace tenon::cli {
namespace {

/// Flags of trtllm-build whose meaning comes later, or has no place here.
constexpr const char* kLater[] = {"--lora_dir",
                                  "--lora_ckpt_source",
                                  "--lora_target_modules",
                                  "--max_lora_rank",
                                  "--speculative_decoding_mode",
                                  "--max_draft_len",
                                  "--max_prompt_embedding_table_size",
                                  "--max_multimodal_len",
                                  "--max_encoder_input_len",
                                  "--model_config",
                                  "--build_config",
                                  "--model_cls_file",
                                  "--model_cls_name",
                                  "--input_timing_cache",
                                  "--output_timing_cache",
                                  "--profiling_verbosity",
                                  "--strip_plan",
                                  "--weight_sparsity",
                                  "--weight_streaming",
                                  "--fast_build",
                                  "--enable_debug_output",
                                  "--visualize_network",
                                  "--dry_run",
                                  "--monitor_memory",
                                  "--auto_parallel",
                                  "--gpus_per_node",
                                  "--cluster_key",
                                  "--log_level",
                                  "--bert_attention_plugin",
                                  "--gpt_attention_plugin",
                                  "--gemm_plugin",
                                  "--gemm_swiglu_plugin",
                                  "--fp8_rowwise_gemm_plugin",
                                  "--nccl_plugin",
                                  "--lora_plugin",
                                  "--moe_plugin",
                                  "--mamba_conv1d_plugin",
                                  "--low_latency_gemm_plugin",
                                  "--low_latency_gemm_swiglu_plugin",
                                  "--gemm_allreduce_plugin",
                                  "--dora_plugin",
                                  "--paged_kv_cache",
                                  "--context_fmha",
                                  "--bert_context_fmha_fp32_acc",
                                  "--norm_quant_fusion",
                                  "--reduce_fusion",
                                  "--user_buffer",
                                  "--use_fp8_context_fmha",
                                  "--fuse_fp4_quant",
                                  "--multiple_profiles",
                                  "--paged_state",
                                  "--streamingllm",
                                  "--manage_weights",
                                  "--use_fused_mlp",
                                  "--pp_reduce_scatter"};

/// TensorRT-LLM's words for on and off.
bool enabled(const char* flag, const std::string& word) {
  TENON_CHECK(word == "enable" || word == "disable", ErrorCode::kInvalidArgument,
              "tenon build: {}: \"{}\", expected enable or disable", flag, word);
  return word == "enable";
}

}  // namespace

int build_command(const Arguments& arguments) {
  std::string checkpoint;
  std::string model;
  std::string output = "engine_outputs";
  std::string padding = "enable";
  std::string paged_fmha = "enable";
  bool all_logits = false;
  int workers = 1;
  BuildConfig build;
  CommandLine line("build",
                   "Builds an engine: plain graphs, weights, tokenizer and template in a directory "
                   "that runs on any device. Takes about the time of copying the weights; every "
                   "limit is a default that a run may change.");
  line.option("--checkpoint_dir", checkpoint, "what `tenon convert` wrote");
  line.option("--model_dir", model, "or a Hugging Face directory, .gguf file or id, directly");
  line.option("--output_dir", output, "where the engine goes [engine_outputs]");
  line.option("--workers", workers, "rank files written at once [1]");
  line.group("Limits");
  line.option("--max_batch_size", build.max_batch_size, "sequences in flight [2048]");
  line.option("--max_input_len", build.max_input_len,
              "tokens of a prompt; longer ones are refused [max_seq_len]");
  line.option("--max_seq_len", build.max_seq_len, "tokens of a sequence [the model's positions]");
  line.option("--max_num_tokens", build.max_num_tokens, "tokens of one step [8192]");
  line.option("--opt_num_tokens", build.opt_num_tokens,
              "tokens of a step that a run takes by default [512 at most]");
  line.option("--max_beam_width", build.max_beam_width, "beams of a request [1]");
  line.group("Cache and logits");
  line.option("--kv_cache_type", build.kv_cache_type, "paged [paged]");
  line.option("--tokens_per_block", build.tokens_per_block, "tokens of a cache block [32]");
  line.flag("--gather_context_logits", build.gather_context_logits, "logits of prompt tokens");
  line.flag("--gather_generation_logits", build.gather_generation_logits,
            "every answer carries the logits of its tokens");
  line.flag("--gather_all_token_logits", all_logits, "both");
  line.option("--logits_dtype", build.logits_dtype, "float32 [float32]");
  line.option("--remove_input_padding", padding, "enable: batches are packed [enable]");
  line.option("--use_paged_context_fmha", paged_fmha, "enable: chunked contexts [enable]");
  for (const char* later : kLater) line.unsupported(later);
  if (!line.parse(arguments)) return 0;

  TENON_CHECK(workers >= 1, ErrorCode::kInvalidArgument, "--workers: {}, expected 1 or more",
              workers);
  if (checkpoint.empty() == model.empty())
    throw Error(ErrorCode::kInvalidArgument,
                "tenon build: give either --checkpoint_dir or --model_dir");
  build.remove_input_padding = enabled("--remove_input_padding", padding);
  build.use_paged_context_fmha = enabled("--use_paged_context_fmha", paged_fmha);
  if (all_logits) build.gather_context_logits = build.gather_generation_logits = true;
  const ModelSource source = open_model_source(checkpoint.empty() ? model : checkpoint);
  const BuildReport report = build_engine(source, build, output, workers);
  std::printf("%s: %lld nodes, %s in %.2f s → %s\n", report.architecture.c_str(),
              static_cast<long long>(report.nodes), format_bytes(report.bytes).c_str(),
              report.seconds, output.c_str());
  return 0;
}

}  // namespace tenon::cli
