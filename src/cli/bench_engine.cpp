// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_engine.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

#include "api/load_engine.h"
#include "api/precision.h"
#include "api/session_options.h"
#include "api/text_assets.h"
#include "checkpoint/config_json.h"
#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/read_bandwidth.h"
#include "engine/backend_factory.h"
#include "engine/session.h"
#include "models/model_family.h"
#include "tenon/model.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostSequences = 256;  // in flight, where the user does not say
constexpr std::int64_t kReadBytes = std::int64_t{1} << 30;
constexpr int kReadRepeats = 4;

/// A Hugging Face config.json, which may have TensorRT-LLM's object "quantization" too.
std::shared_ptr<Engine::Impl> dummy_engine(const std::string& path, std::uint64_t seed,
                                           const std::string& quantization) {
  const fs::path file = fs::is_directory(path) ? fs::path(path) / "config.json" : fs::path(path);
  const std::string where = file.string();
  Json json = Json::parse(read_file(file), where);
  QuantConfig quant_config;
  if (const Json* object = json.find("quantization"))
    quant_config = quant_config_from_json(*object, where + ": quantization");
  std::erase_if(json.mutable_object(), [](const auto& row) { return row.first == "quantization"; });
  PretrainedConfig config = find_model_family(json, where).config_from_hugging_face(json, where);
  config.quantization = quant_config;
  if (!quantization.empty()) config.quantization.quant_algo = quantization;
  return build(PretrainedModel::from_config(config, seed)).impl();
}

TextEncoder encoder_of(const Engine::Impl& engine) {
  return [&engine, text = TextAssets{}](const std::string& prompt) mutable {
    const ModelSource& source = engine.source;
    if (text.tokenizer == nullptr) {
      if (source.gguf == nullptr) {
        text = load_text_assets(source.text_directory, source.config);
      } else {
        const StagedTextDirectory staged(source);
        text = load_text_assets(staged.path(), source.config);
      }
    }
    TENON_CHECK(text.tokenizer != nullptr, ErrorCode::kNotFound,
                "{}: the model has no tokenizer; the dataset needs input_ids in place of prompts",
                source.name);
    return text.tokenizer->encode(prompt);
  };
}

/// Limits as large as the workload, where the user set none.
void fit_limits(LlmOptions& options, const std::vector<BenchRequest>& requests,
                std::int64_t concurrency) {
  const auto count = static_cast<std::int64_t>(requests.size());
  std::int64_t longest = 0;
  for (const BenchRequest& request : requests)
    longest =
        std::max(longest, static_cast<std::int64_t>(request.ids.size()) + request.output_tokens);
  if (!options.max_batch_size)
    options.max_batch_size =
        std::min({count, concurrency > 0 ? concurrency : count, kMostSequences});
  if (!options.max_seq_len) options.max_seq_len = longest;
  options.executor.max_queue_size = std::max(options.executor.max_queue_size, count);
  options.executor.iter_stats_max_iterations = std::int64_t{1} << 20;
}

/// Weights of which a step reads a few rows alone: embedding tables that are no output layer too.
std::int64_t bytes_only_looked_up(const Engine::Impl& engine, const Graph& graph) {
  std::set<WeightId> tables;
  std::set<WeightId> read;
  for (const Node& node : graph.nodes)
    (std::string_view(name_of(node.op)) == "embedding" ? tables : read)
        .insert(node.weights.begin(), node.weights.end());
  std::int64_t bytes = 0;
  for (const WeightId id : tables) {
    if (read.contains(id)) continue;
    const WeightInfo& info = engine.source.weights->at(graph.weight(id).name);
    if (info.shape.size() == 2) bytes += info.spec.bytes(info.shape[0], info.shape[1]);
  }
  return bytes;
}

BenchRoof roof_of(const Engine::Impl& engine, const SessionOptions& limits,
                  const SessionPlan& plan) {
  BenchRoof roof;
  std::int64_t cache = 0;
  for (const Ledger::Row& row : plan.rows) {
    if (row.kind == MemoryKind::kWeights) roof.weight_bytes += row.planned;
    if (row.kind == MemoryKind::kCache) cache += row.planned;
  }
  const auto program = engine.graphs.programs.find(limits.program);
  TENON_ASSERT(program != engine.graphs.programs.end());
  roof.weight_bytes -= std::min(roof.weight_bytes, bytes_only_looked_up(engine, program->second));
  if (plan.cache_tokens > 0) roof.block_bytes = cache * limits.tokens_per_block / plan.cache_tokens;
  return roof;
}

}  // namespace

BenchEngine load_bench_engine(const BenchEngineOptions& options,
                              const WorkloadMaker& make_requests) {
  BenchEngine bench;
  const auto load = [&](const std::shared_ptr<Engine::Impl>& engine) {
    bench.requests = make_requests(engine->source.config.vocab_size, encoder_of(*engine));
    bench.options = options.run;
    fit_limits(bench.options, bench.requests, options.concurrency);
    const SessionOptions limits =
        session_options(bench.options, engine->build, engine->graphs.traits);
    const SessionPlan plan = Session::plan(engine->graphs, engine->source.weights, limits);
    bench.planned_bytes = plan.bytes;
    bench.weights = weight_formats(engine->source.weights->weights());
    bench.roof = roof_of(*engine, limits, plan);
    bench.executor = std::make_unique<Executor>(Engine(engine), bench.options);
  };
  double measured = options.memory_bytes_per_second;
  if (measured == 0 && choose_device(options.run.device).kind == "cpu") {
    ThreadPool pool({.threads = options.run.threads, .pin = options.run.pin_threads});
    measured = read_bandwidth(pool, kReadBytes, kReadRepeats);
  }
  const auto begin = std::chrono::steady_clock::now();
  if (options.dummy_weights)
    load(dummy_engine(options.path, options.seed, options.quantization));
  else
    load_engine(options.path, options.run.use_cache_folder, load);
  bench.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  bench.roof.bytes_per_second = measured;
  return bench;
}

}  // namespace tenon::cli
