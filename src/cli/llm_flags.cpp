// SPDX-License-Identifier: Apache-2.0
#include "cli/llm_flags.h"

#include <limits>

#include "core/check.h"
#include "core/file.h"

namespace tenon::cli {
namespace {

/// Flags of TensorRT-LLM's run.py whose meaning comes later, or has no place here.
constexpr const char* kLater[] = {"--num_beams",
                                  "--length_penalty",
                                  "--beam_search_diversity_rate",
                                  "--early_stopping",
                                  "--bad_words",
                                  "--no_repeat_ngram_size",
                                  "--sink_token_length",
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
                                  "--kv_cache_enable_block_reuse",
                                  "--kv_cache_free_gpu_memory_fraction",
                                  "--gpu_weights_percent",
                                  "--multi_block_mode",
                                  "--cuda_graph_mode",
                                  "--use_py_session",
                                  "--run_profiling",
                                  "--multimodal_input_file",
                                  "--input_token_extra_ids",
                                  "--enable_chunked_context",
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
  line.option("--engine_dir", engine_dir_, "what `tenon build` wrote");
  line.option("--model_dir", model_dir_,
              "Hugging Face directory, .gguf file, or id in the local cache");
  line.option("--checkpoint_dir", checkpoint_dir_, "what `tenon convert` wrote");
  line.flag("--no_cache", no_cache_, "build in memory, keep nothing in the cache folder");
  line.option("--chat_template", template_file_, "file with a template instead of the model's");
  line.group("Machine");
  line.option("--threads", options_.threads, "threads [physical cores that may be used]");
  line.flag("--no_pin", no_pin_, "leave threads where the system puts them");
  line.option("--tp_size", options_.mapping.tp_size, "tensor-parallel ranks, threads here [1]");
  line.option("--pp_size", options_.mapping.pp_size, "pipeline stages, threads here [1]");
  line.option("--max_isa", options_.max_isa, "use at most baseline, avx2, avx512 or amx");
  line.group("Precision and limits");
  line.option(
      "--activation_dtype", options_.activation_dtype,
      "inputs of linear layers: float32 (exact), or bfloat16 where that is faster [float32]");
  line.option("--kv_cache_dtype", options_.kv_cache_dtype,
              "float32, float16, bfloat16 or int8 [float32]");
  line.flag("--deterministic", options_.deterministic,
            "the same numbers whatever else is in the batch");
  line.option("--max_batch_size", options_.max_batch_size, "sequences in flight [16]");
  line.option("--max_num_tokens", options_.max_num_tokens, "tokens of one step [512]");
  line.option("--max_seq_len", options_.max_seq_len, "tokens of a sequence [at most 4096]");
  line.option("--max_tokens_in_paged_kv_cache", max_tokens_in_cache_,
              "cache size in tokens [batch x length, at most half of the free memory]");
}

std::string ModelFlags::path() const {
  std::string path;
  for (const std::string& given : {positional_, engine_dir_, model_dir_, checkpoint_dir_}) {
    if (given.empty()) continue;
    TENON_CHECK(path.empty(), ErrorCode::kInvalidArgument,
                "two models were named: {} and {}; give one", path, given);
    path = given;
  }
  TENON_CHECK(!path.empty(), ErrorCode::kInvalidArgument,
              "no model: give --engine_dir, --model_dir or --checkpoint_dir");
  return path;
}

LlmOptions ModelFlags::options() const {
  LlmOptions options = options_;
  options.kv_cache_tokens = max_tokens_in_cache_;
  options.pin_threads = !no_pin_;
  options.use_cache_folder = !no_cache_;
  if (!template_file_.empty()) options.chat_template = read_file(template_file_, 1 << 20);
  return options;
}

void SamplingFlags::add(CommandLine& line) {
  line.group("Sampling (defaults: the model's generation_config.json)");
  line.option("--temperature", temperature_, "softmax temperature; 0: greedy");
  line.option("--top_k", top_k_, "keep the k likeliest; 0: all, 1: greedy");
  line.option("--top_p", top_p_, "keep the smallest set of that probability; 0: all");
  line.option("--min_p", min_p_, "keep what is that much as likely as the likeliest");
  line.option("--repetition_penalty", repetition_penalty_, "of tokens in prompt and output");
  line.option("--presence_penalty", presence_penalty_, "of tokens in the output");
  line.option("--frequency_penalty", frequency_penalty_, "of tokens in the output, by count");
  line.option("--random_seed", random_seed_, "seed of the draws");
  line.option("--min_length", min_length_, "no end of sequence before that many tokens");
  line.option("--num_return_sequences", num_return_sequences_, "samples of each prompt");
  line.option("--stop_words", stop_words_, "texts that end the output");
  line.flag("--ignore_eos", ignore_eos_, "go on past the end of sequence");
  for (const char* later : kLater) line.unsupported(later);
}

namespace {

template <class T, class Given>
void set(T& field, const std::optional<Given>& given, const char* flag) {
  if (!given) return;
  if constexpr (std::is_integral_v<Given>)
    TENON_CHECK(*given >= std::numeric_limits<std::int32_t>::min() &&
                    *given <= std::numeric_limits<std::int32_t>::max(),
                ErrorCode::kInvalidArgument, "{}: {} is out of range", flag, *given);
  field = static_cast<T>(*given);
}

}  // namespace

SamplingParams SamplingFlags::apply(const SamplingParams& defaults) const {
  SamplingParams params = defaults;
  // Asking for a way to sample means sampling, where the model's default is greedy.
  if (params.temperature == 0.0F && !temperature_ && (top_k_ || top_p_ || min_p_))
    params.temperature = 1.0F;
  set(params.temperature, temperature_, "--temperature");
  set(params.top_k, top_k_, "--top_k");
  set(params.top_p, top_p_, "--top_p");
  set(params.min_p, min_p_, "--min_p");
  set(params.repetition_penalty, repetition_penalty_, "--repetition_penalty");
  set(params.presence_penalty, presence_penalty_, "--presence_penalty");
  set(params.frequency_penalty, frequency_penalty_, "--frequency_penalty");
  set(params.min_tokens, min_length_, "--min_length");
  set(params.n, num_return_sequences_, "--num_return_sequences");
  if (random_seed_) params.seed = static_cast<std::uint64_t>(*random_seed_);
  params.stop = stop_words_;
  params.ignore_eos = ignore_eos_;
  validate(params);
  return params;
}

std::string describe(const SamplingParams& sampling) {
  std::string text;
  if (sampling.temperature == 0.0F || sampling.top_k == 1) {
    text = "greedy";
  } else {
    text = fmt::format("temperature {:g}", sampling.temperature);
    if (sampling.top_k > 0) text += fmt::format(", top_k {}", sampling.top_k);
    if (sampling.top_p > 0 && sampling.top_p < 1)
      text += fmt::format(", top_p {:g}", sampling.top_p);
    if (sampling.min_p > 0) text += fmt::format(", min_p {:g}", sampling.min_p);
    if (sampling.seed) text += fmt::format(", seed {}", *sampling.seed);
  }
  if (sampling.repetition_penalty != 1.0F)
    text += fmt::format(", repetition_penalty {:g}", sampling.repetition_penalty);
  return text;
}

}  // namespace tenon::cli
