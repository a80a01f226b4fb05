// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <optional>

#include "api/convert.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "core/check.h"
#include "core/dtype.h"
#include "core/ledger.h"
#include "tenon/error.h"

namespace tenon::cli {
namespace {

/// Flags of TensorRT-LLM's convert_checkpoint.py whose meaning comes later, or has no place here.
constexpr const char* kLater[] = {"--smoothquant",
                                  "-sq",
                                  "--per_channel",
                                  "--per_token",
                                  "--int8_kv_cache",
                                  "--fp8_kv_cache",
                                  "--calib_dataset",
                                  "--use_fp8",
                                  "--use_fp8_rowwise",
                                  "--meta_ckpt_dir",
                                  "--quant_ckpt_path",
                                  "--use_parallel_embedding",
                                  "--embedding_sharding_dim",
                                  "--load_by_shard",
                                  "--save_config_only",
                                  "--disable_weight_only_quant_plugin",
                                  "--calib_size",
                                  "--calib_max_seq_length",
                                  "--use_qserve",
                                  "--per_group",
                                  "--use_meta_fp8_rowwise_recipe",
                                  "--load_model_on_cpu",
                                  "--moe_num_experts",
                                  "--moe_top_k",
                                  "--moe_renorm_mode",
                                  "--remove_duplicated_kv_heads",
                                  "--log_level",
                                  "--vocab_size",
                                  "--n_positions",
                                  "--n_layer",
                                  "--n_head",
                                  "--n_kv_head",
                                  "--n_embd",
                                  "--inter_size"};

}  // namespace

/// TensorRT-LLM's word for what weights become.
std::string quant_algo_of(const std::string& precision) {
  if (precision == "int8") return "W8A16";
  if (precision == "int4") return "W4A16";
  if (precision == "fp8") return "FP8";
  const bool calibrated =
      precision == "int8_gptq" || precision == "int4_gptq" || precision == "int4_awq";
  throw Error(
      calibrated ? ErrorCode::kUnsupported : ErrorCode::kInvalidArgument,
      "--weight_only_precision: " + precision +
          (calibrated ? " is not supported yet; use int4 with --group_size 64 or smaller, or "
                        "int8, which round to nearest"
                      : "; expected int8, int4 or fp8"));
}

QuantConfig quantization_of(bool use_weight_only, const std::string& precision,
                            std::optional<std::int64_t> group_size) {
  QuantConfig config;
  if (!use_weight_only) {
    TENON_CHECK(precision.empty() && !group_size, ErrorCode::kInvalidArgument,
                "--{} needs --use_weight_only",
                precision.empty() ? "group_size" : "weight_only_precision");
    return config;
  }
  config.quant_algo = quant_algo_of(precision.empty() ? "int8" : precision);
  TENON_CHECK(!group_size || config.quant_algo == "W4A16", ErrorCode::kInvalidArgument,
              "--group_size: int4 weights alone have groups; add --weight_only_precision int4");
  TENON_CHECK(!group_size || *group_size >= 0, ErrorCode::kInvalidArgument,
              "--group_size: {}, expected 0 or more", group_size.value_or(0));
  config.group_size = group_size.value_or(config.group_size);
  return config;
}

int convert_command(const Arguments& arguments) {
  ConvertOptions options;
  std::string dtype = "auto";
  std::string output = "tllm_checkpoint";
  bool use_weight_only = false;
  std::string precision;
  std::optional<std::int64_t> group_size;
  CommandLine line("convert",
                   "Turns a Hugging Face directory, a GGUF file or another checkpoint into a "
                   "checkpoint: config.json and one real shard a rank. Needs about one tensor of "
                   "memory above the mapped files.");
  line.option("--model_dir", options.model_dir,
              "directory, .gguf file, or Hugging Face id in the local cache");
  line.required("--model_dir");
  line.option("--output_dir", output, "where the checkpoint goes [tllm_checkpoint]");
  line.option("--dtype", dtype,
              "float weights: auto (as they are), float32, float16, bfloat16 [auto]");
  line.group("Quantization (rounding to nearest; of linear layers' weights, lm_head left out)");
  line.flag("--use_weight_only", use_weight_only, "quantize weights");
  line.option("--weight_only_precision", precision,
              "int8 (a scale a row), int4 (groups), fp8 (one scale a matrix) [int8]");
  line.option("--group_size", group_size, "columns that share a scale of int4; 0: the row [128]");
  line.group("Parallelism (a run may choose another)");
  line.option("--tp_size", options.mapping.tp_size, "tensor-parallel ranks [1]");
  line.option("--pp_size", options.mapping.pp_size, "pipeline stages [1]");
  line.option("--cp_size", options.mapping.cp_size,
              "context-parallel ranks: not supported yet [1]");
  line.option("--moe_tp_size", options.mapping.moe_tp_size, "tensor parallelism in experts [-1]");
  line.option("--moe_ep_size", options.mapping.moe_ep_size, "expert parallelism [-1]");
  line.option("--workers", options.workers, "rank files written at once [1]");
  for (const char* later : kLater) line.unsupported(later);
  if (!line.parse(arguments)) return 0;

  TENON_CHECK(options.workers >= 1, ErrorCode::kInvalidArgument,
              "--workers: {}, expected 1 or more", options.workers);
  options.output_dir = output;
  options.quantization = quantization_of(use_weight_only, precision, group_size);
  if (dtype != "auto") {
    options.dtype = parse_data_type(dtype, "--dtype");
    if (*options.dtype != DataType::kFloat32 && *options.dtype != DataType::kFloat16 &&
        *options.dtype != DataType::kBFloat16)
      throw Error(ErrorCode::kInvalidArgument,
                  "--dtype: " + dtype + "; expected auto, float32, float16 or bfloat16");
  }
  const ConvertReport report = convert(options);
  if (report.quantized > 0)
    std::printf("%s: %lld weights quantized from %s\n", options.quantization.quant_algo.c_str(),
                static_cast<long long>(report.quantized), report.quantized_from.c_str());
  std::printf("%s: %lld weights, %s in %.2f s → %s\n", report.architecture.c_str(),
              static_cast<long long>(report.weights), format_bytes(report.bytes).c_str(),
              report.seconds, output.c_str());
  return 0;
}

}  // namespace tenon::cli
