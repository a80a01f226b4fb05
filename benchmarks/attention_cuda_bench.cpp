// attention_cuda_bench [NAME]
// Attention over the paged cache on one CUDA device, every kernel of the list that serves the case
// but the plain one: milliseconds, products and bytes a second, and what share that is of the
// device's rate. Random data, several layers in turn so that no cache helps. NAME: kernels whose
// name contains it.
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/step_state.h"
#include "core/dtype.h"
#include "core/half.h"
#include "result_log.h"

namespace tenon::bench {
namespace {

using namespace tenon::cuda;

constexpr double kReadRate = 4.65e12;   // bytes a second, measured on an H200
constexpr double kMatrixRate = 7.9e14;  // bf16 products a second, likewise

struct Case {
  std::string name;
  std::vector<std::int32_t> cached;
  std::vector<std::int32_t> fresh;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 8;
  std::int64_t head_dim = 128;
  std::int64_t window = 0;
  DataType cache = DataType::kBFloat16;
};

std::vector<std::int32_t> times(std::size_t count, std::int32_t value) {
  return std::vector<std::int32_t>(count, value);
}

std::vector<Case> cases() {
  const auto context = [](std::size_t sequences, std::int32_t tokens) {
    return Case{fmt::format("context {} x {}", sequences, tokens), times(sequences, 0),
                times(sequences, tokens)};
  };
  const auto decode = [](std::size_t sequences, std::int32_t tokens) {
    return Case{fmt::format("decode {} x {}", sequences, tokens), times(sequences, tokens - 1),
                times(sequences, 1)};
  };
  std::vector<Case> out = {context(16, 1024), context(4, 4096),  context(1, 16384),
                           decode(64, 4096),  decode(1, 1024),   decode(1, 4096),
                           decode(1, 32768),  decode(256, 1024), decode(64, 128)};
  out.push_back(context(4, 4096));
  out.back().name += ", own keys for each head";
  out.back().kv_heads = 32;
  out.push_back(context(4, 4096));
  out.back().name += ", heads of 64";
  out.back().head_dim = 64;
  out.push_back(context(4, 4096));
  out.back().name += ", window 1024";
  out.back().window = 1024;
  out.push_back(context(4, 512));
  out.back().name = "512 tokens after 8192, 4 times";
  out.back().cached = times(4, 8192);
  out.push_back(decode(64, 1024));
  out.back().name = "decode 63 x 1024 and 1 x 102400";
  out.back().cached[20] = 102399;
  for (const DataType cache : {DataType::kFloat8E4M3, DataType::kInt8})
    for (Case c : {decode(64, 4096), decode(1, 32768), context(4, 4096)}) {
      c.name += fmt::format(", {}", to_string(cache));
      c.cache = cache;
      out.push_back(c);
    }
  return out;
}

double products(const Case& c) {  // multiplications and additions, of what the mask leaves
  double pairs = 0;
  for (std::size_t s = 0; s < c.cached.size(); ++s)
    for (std::int32_t i = 0; i < c.fresh[s]; ++i) {
      const std::int64_t seen = c.cached[s] + i + 1;
      pairs += static_cast<double>(c.window > 0 ? std::min(seen, c.window) : seen);
    }
  return 4 * pairs * static_cast<double>(c.heads * c.head_dim);
}

double bytes(const Case& c) {  // keys and values once, with their scales; queries and outputs
  double tokens = 0;
  double rows = 0;
  for (std::size_t s = 0; s < c.cached.size(); ++s) {
    tokens += c.cached[s] + c.fresh[s];
    rows += c.fresh[s];
  }
  const auto width = static_cast<double>(c.head_dim);
  const double token = 2 * width * static_cast<double>(size_of(c.cache)) +
                       (c.cache == DataType::kInt8 ? 2. * sizeof(float) : 0.);
  return token * tokens * static_cast<double>(c.kv_heads) +
         4 * width * rows * static_cast<double>(c.heads);
}

Batch batch_of(const Case& c) {
  Batch batch;
  batch.token_begin = {0};
  for (std::size_t s = 0; s < c.cached.size(); ++s) {
    batch.slots.push_back(static_cast<std::int32_t>(s));
    batch.cached_tokens.push_back(c.cached[s]);
    batch.sequence_length.push_back(c.cached[s] + c.fresh[s]);
    batch.sample_row.push_back(-1);
    for (std::int32_t i = 0; i < c.fresh[s]; ++i) {
      batch.token_ids.push_back(1);
      batch.positions.push_back(c.cached[s] + i);
    }
    batch.token_begin.push_back(batch.token_begin.back() + c.fresh[s]);
  }
  return batch;
}

constexpr std::int64_t kRandom = std::int64_t{1} << 22;  // numbers made once

// bfloat16, or codes of a cache in 8 bits.
std::vector<std::byte> random_block(DataType type) {
  std::vector<float> numbers(kRandom);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float& x : numbers) x = normal(random);
  std::vector<std::byte> out(numbers.size() * size_of(type));
  if (type != DataType::kInt8) {
    convert_from_float(type, numbers.data(), out.data(), numbers.size());
    return out;
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(static_cast<int>(std::clamp(32 * numbers[i], -127.F, 127.F)));
  return out;
}

void fill_randomly(std::byte* to, std::int64_t bytes, DataType type = DataType::kBFloat16) {
  static std::map<DataType, std::vector<std::byte>> blocks;
  std::vector<std::byte>& block = blocks[type];
  if (block.empty()) block = random_block(type);
  const auto size = static_cast<std::int64_t>(block.size()) - 2 * 1021;
  for (std::int64_t at = 0; at < bytes; at += size)
    check(cudaMemcpy(to + at, block.data() + 2 * (at / size % 1021),
                     static_cast<std::size_t>(std::min(size, bytes - at)), cudaMemcpyHostToDevice),
          "bench");
}

void fill_scales(float* to, const CacheGroupDescription& group) {
  const std::vector<float> scales(
      static_cast<std::size_t>(group.blocks * group.kv_heads * group.tokens_per_block), 1.F / 32);
  check(cudaMemcpy(to, scales.data(), scales.size() * sizeof(float), cudaMemcpyHostToDevice),
        "bench");
}

class Bench {
 public:
  explicit Bench(const Case& c) : case_(c), batch_(batch_of(c)) {
    constexpr std::int64_t kBlock = 32;
    CacheGroupDescription group{.kv_heads = c.kv_heads,
                                .head_dim = c.head_dim,
                                .dtype = c.cache,
                                .tokens_per_block = kBlock};
    std::vector<std::vector<std::int32_t>> tables;
    for (const std::int32_t length : batch_.sequence_length) {
      tables.emplace_back();
      for (std::int64_t i = 0; i * kBlock < length; ++i)
        tables.back().push_back(static_cast<std::int32_t>(group.blocks++));
    }
    layers_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(2e8 / bytes(c)), 1, 16);
    for (std::int64_t i = 0; i < layers_; ++i) group.layers.push_back(i);
    program_.limits = {.tokens = batch_.tokens(), .sequences = batch_.sequences()};
    program_.slots = batch_.sequences();
    program_.cache = {group};
    state_ = std::make_unique<StepState>(program_);
    const std::vector<const std::int32_t*> places = {state_->tables(0)};
    cache_ =
        std::make_unique<PagedCache>(program_.cache, places, StepState::table_stride(program_));
    fill_randomly(static_cast<std::byte*>(cache_->layer(0).keys), PagedCache::bytes(program_.cache),
                  c.cache);
    for (const std::int64_t layer : program_.cache[0].layers)
      if (c.cache == DataType::kInt8) {
        fill_scales(cache_->layer(layer).key_scales, program_.cache[0]);
        fill_scales(cache_->layer(layer).value_scales, program_.cache[0]);
      }
    std::vector<TableChange> changes;
    for (std::size_t s = 0; s < tables.size(); ++s)
      changes.push_back({0, static_cast<std::int32_t>(s), 0, tables[s]});
    const StepPieces pieces = StepState::encode(batch_, changes, program_.limits, upload_);
    upload_.send(stream_.get());
    state_->apply_tables(pieces, upload_, stream_.get());
    state_->fill(pieces, upload_, stream_.get());
    const std::int64_t width = c.heads * c.head_dim;
    values_ = DeviceBuffer(4 * batch_.tokens() * width, "bench");
    fill_randomly(values_.data(), values_.bytes() / 2);
    step_.stream = stream_.get();
    step_.view = state_->view();
    step_.sizes = program_.limits;
    for (std::size_t s = 0; s < batch_.slots.size(); ++s) {
      if (c.fresh[s] == 1) ++step_.decodes;
      step_.longest_chunk = std::max<std::int64_t>(step_.longest_chunk, c.fresh[s]);
      step_.longest_context =
          std::max<std::int64_t>(step_.longest_context, c.cached[s] + c.fresh[s]);
    }
    step_.cache = cache_.get();
    step_.features = &features_;
  }

  void run(const KernelEntry<Attention>& entry, ResultLog& log) {
    const std::int64_t width = case_.heads * case_.head_dim;
    Attention op{.heads = case_.heads,
                 .kv_heads = case_.kv_heads,
                 .head_dim = case_.head_dim,
                 .scale = 0.0884F,
                 .window = case_.window};
    NodeView node;
    node.inputs = {ValueType::tensor(DataType::kBFloat16, {batch_.tokens(), width})};
    node.outputs = node.inputs;
    node.cache = program_.cache[0];
    if (const std::string why = entry.reject(op, node, features_); !why.empty()) {
      fmt::print("  {:<20} {}\n", entry.name, why);
      return;
    }
    const std::vector<PackedNeed> needs = entry.needs(op, node);
    LoadContext load(planned_bytes(needs), features_, pool_);
    std::vector<std::unique_ptr<CudaKernel>> kernels;
    for (op.cache_layer = 0; op.cache_layer < layers_; ++op.cache_layer)
      kernels.push_back(entry.make(op, node, {}, load));
    const DeviceBuffer packed = load.finish();
    const DeviceBuffer workspace(kernels[0]->workspace_bytes(program_.limits), "bench");
    step_.workspace = workspace.data();
    step_.workspace_bytes = workspace.bytes();
    const TensorRef q{values_.data(), DataType::kBFloat16, batch_.tokens(), width};
    TensorRef out = q;
    out.data += values_.bytes() / 2;
    const auto launch = [&] {
      for (const auto& kernel : kernels)
        kernel->launch(std::vector{q, TensorRef{}}, std::vector{out}, step_);
    };
    launch();
    stream_.synchronize();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t recorded = nullptr;
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "record");
    launch();
    check(cudaStreamEndCapture(stream_.get(), &graph), "record");
    check(cudaGraphInstantiate(&recorded, graph, 0), "record");
    std::vector<float> found;
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    check(cudaEventCreate(&begin), "bench");
    check(cudaEventCreate(&end), "bench");
    for (int i = 0; i < 12; ++i) {
      check(cudaEventRecord(begin, stream_.get()), "bench");
      check(cudaGraphLaunch(recorded, stream_.get()), "bench");
      check(cudaEventRecord(end, stream_.get()), "bench");
      check(cudaEventSynchronize(end), "bench");
      found.push_back(0.F);
      check(cudaEventElapsedTime(&found.back(), begin, end), "bench");
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(recorded);
    cudaGraphDestroy(graph);
    std::nth_element(found.begin(), found.begin() + 6, found.end());
    const double seconds = found[6] * 1e-3 / static_cast<double>(layers_);
    const double floor = std::max(products(case_) / kMatrixRate, bytes(case_) / kReadRate);
    log.add(fmt::format("{} {}x{}x{} {}", case_.name, case_.heads, case_.kv_heads, case_.head_dim,
                        entry.name),
            {{"ms", seconds * 1e3},
             {"tflops_per_second", products(case_) / seconds * 1e-12},
             {"tbytes_per_second", bytes(case_) / seconds * 1e-12},
             {"share", floor / seconds}});
    fmt::print("  {:<20} {:9.4f} ms  {:6.1f} TFLOP/s  {:5.2f} TB/s  {:3.0f}% of the floor's rate\n",
               entry.name, seconds * 1e3, products(case_) / seconds * 1e-12,
               bytes(case_) / seconds * 1e-12, 100 * floor / seconds);
  }

 private:
  Case case_;
  Batch batch_;
  ProgramDescription program_;
  std::int64_t layers_ = 1;
  Stream stream_;
  DeviceFeatures features_ = DeviceFeatures::detect(0);
  ThreadPool pool_{{.threads = 1, .pin = false}};
  std::unique_ptr<StepState> state_;
  Upload upload_;
  std::unique_ptr<PagedCache> cache_;
  DeviceBuffer values_;
  StepContext step_;
};

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) {
  tenon::bench::ResultLog log(argc, argv);
  const std::string wanted = argc > 1 ? argv[1] : "";
  try {
    for (const auto& c : tenon::bench::cases()) {
      fmt::print("{} (heads {}, key-value heads {}, head_dim {})\n", c.name, c.heads, c.kv_heads,
                 c.head_dim);
      tenon::bench::Bench bench(c);
      for (const auto& entry : tenon::cuda::kernels(static_cast<const tenon::Attention*>(nullptr)))
        if (std::string(entry.name).find(wanted) != std::string::npos &&
            std::string(entry.name).find("plain") == std::string::npos)
          bench.run(entry, log);
    }
    log.write();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
