// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

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
constexpr const char* kLater[] = {"--use_weight_only",
                                  "--weight_only_precision",
                                  "--smoothquant",
                                  "--per_channel",
                                  "--per_token",
                                  "--int8_kv_cache",
                                  "--fp8_kv_cache",
                                  "--calib_dataset",
                                  "--group_size",
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

int convert_command(const Arguments& arguments) {
  ConvertOptions options;
  std::string dtype = "auto";
  std::string output = "tllm_checkpoint";
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
  if (dtype != "auto") {
    options.dtype = parse_data_type(dtype, "--dtype");
    if (*options.dtype != DataType::kFloat32 && *options.dtype != DataType::kFloat16 &&
        *options.dtype != DataType::kBFloat16)
      throw Error(ErrorCode::kInvalidArgument,
                  "--dtype: " + dtype + "; expected auto, float32, float16 or bfloat16");
  }
  const ConvertReport report = convert(options);
  std::printf("%s: %lld weights, %s in %.2f s → %s\n", report.architecture.c_str(),
              static_cast<long long>(report.weights), format_bytes(report.bytes).c_str(),
              report.seconds, output.c_str());
  return 0;
}

}  // namespace tenon::cli
