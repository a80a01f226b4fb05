// SPDX-License-Identifier: Apache-2.0
#include "cli/llm_flags.h"

#include "api/session_options.h"
#include "checkpoint/manifest.h"
#include "core/check.h"
#include "core/file.h"

namespace tenon::cli {
namespace {

/// Where `tenon build` writes where it is not told, and a run looks where it is not: the default
/// of TensorRT-LLM's tools.
constexpr const char* kDefaultEngine = "engine_outputs";

/// Flags of TensorRT-LLM's run.py whose meaning comes later, or has no place here.
constexpr const char* kLater[] = {"--sink_token_length",
                                  "--max_attention_window_size",
                                  "--prompt_table_path",
                                  "--prompt_tasks",
                                  "--lora_dir",
                                  "--lora_task_uids",
                                  "--lora_ckpt_source",
                                  "--draft_engine_dir",
                                  "--medusa_choices",
                                  "--eagle_choices",
                                  "--lookahead_config",
                                  "--gpu_weights_percent",
                                  "--multi_block_mode",
                                  "--cuda_graph_mode",
                                  "--use_py_session",
                                  "--run_profiling",
                                  "--multimodal_input_file",
                                  "--input_token_extra_ids",
                                  "--max_input_length",
                                  "--input_token_extra_ids_file",
                                  "--output_log_probs_npy",
                                  "--output_cum_log_probs_npy",
                                  "--hf_model_dir",
                                  "--tokenizer_dir",
                                  "--tokenizer_type",
                                  "--vocab_file",
                                  "--no_add_special_tokens",
                                  "--no_prompt_template",
                                  "--end_id",
                                  "--streaming_interval",
                                  "--enable_context_fmha_fp32_acc",
                                  "--debug_mode",
                                  "--num_prepend_vtokens",
                                  "--draft_target_model_config",
                                  "--prompt_lookup_config",
                                  "--eagle_posterior_threshold",
                                  "--cross_kv_cache_fraction",
                                  "--return_all_generated_tokens",
                                  "--log_level"};

}  // namespace

void ModelFlags::add(CommandLine& line) {
  line.positional("model", positional_, "engine, checkpoint or model directory, .gguf file, or id");
  line.group("Model (one of)");
  line.option("--engine_dir", engine_dir_,
              "what `tenon build` wrote [engine_outputs, where it is here]");
  line.option("--model_dir", model_dir_,
              "Hugging Face directory, .gguf file, or id in the local cache");
  line.option("--checkpoint_dir", checkpoint_dir_, "what `tenon convert` wrote");
  line.flag("--no_cache", no_cache_, "build in memory, keep nothing in the cache folder");
  line.option("--chat_template", template_file_, "file with a template instead of the model's");
  line.group("Machine");
  line.option("--device", options_.device,
              "auto, cpu, cuda or cuda:N [auto: a GPU where there is one]");
  line.option("--threads", options_.threads, "threads [physical cores that may be used]");
  line.flag("--no_pin", no_pin_, "leave threads where the system puts them");
  line.option("--tp_size", options_.mapping.tp_size, "tensor-parallel ranks, threads here [1]");
  line.option("--pp_size", options_.mapping.pp_size, "pipeline stages, threads here [1]");
  line.option(
      "--tactics", options_.tactics,
      "GPU: which of a kernel's ways: auto (the fastest as measured at the first load), off "
      "or refresh [auto]");
  line.option("--max_isa", options_.max_isa, "use at most baseline, avx2, avx512 or amx");
  line.group("Precision and limits");
  line.option("--activation_dtype", options_.activation_dtype,
              "inputs of linear layers: float32 (exact), bfloat16 where that is faster, or "
              "float8_e4m3 where weights are fp8 [float32; on a GPU bfloat16]");
  line.option("--kv_cache_dtype", options_.kv_cache_dtype,
              "float32, float16, bfloat16, float8_e4m3 or int8 [float32; on a GPU bfloat16]");
  line.flag("--deterministic", options_.deterministic,
            "the same numbers whatever else is in the batch");
  line.option("--max_batch_size", options_.max_batch_size,
              "sequences in flight [built for, or 16]");
  line.option("--max_num_tokens", options_.max_num_tokens,
              "tokens of one step [built for, or 512]");
  line.option("--max_seq_len", options_.max_seq_len,
              "tokens of a sequence [built for, or at most 4096]");
  line.option("--memory_limit", options_.memory_limit,
              "bytes for everything that plan counts [what the device has]");
  executor_.add(line);
  for (const char* later : kLater) line.unsupported(later);
}

std::string ModelFlags::path() const {
  std::string path;
  for (const std::string& given : {positional_, engine_dir_, model_dir_, checkpoint_dir_}) {
    if (given.empty()) continue;
    TENON_CHECK(path.empty(), ErrorCode::kInvalidArgument,
                "two models were named: {} and {}; give one", path, given);
    path = given;
  }
  if (!path.empty()) return path;
  TENON_CHECK(is_directory_of(kDefaultEngine, DirectoryKind::kEngine), ErrorCode::kInvalidArgument,
              "no model: give --engine_dir, --model_dir or --checkpoint_dir (there is no engine "
              "\"{}\" here)",
              kDefaultEngine);
  return kDefaultEngine;
}

LlmOptions ModelFlags::options() const {
  LlmOptions options = options_;
  TENON_CHECK(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
              "--threads: {} is out of range, expected 1 to {}, or 0 for the physical cores",
              options.threads, kMaxThreads);
  TENON_CHECK(options.memory_limit.value_or(1) >= 1, ErrorCode::kInvalidArgument,
              "--memory_limit: {} is out of range, expected bytes, 1 or more",
              options.memory_limit.value_or(0));
  options.executor = executor_.config();
  options.pin_threads = !no_pin_;
  options.use_cache_folder = !no_cache_;
  if (!template_file_.empty()) options.chat_template = read_file(template_file_, 1 << 20);
  return options;
}

}  // namespace tenon::cli
