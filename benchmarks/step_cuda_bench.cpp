// step_cuda_bench [--layers N] [--steps N] [--json FILE]
// Steps of a Llama-3.1-8B-shaped program in bfloat16 on one CUDA device: loading, a chunk of
// context, and decodes of 1 and of 32 sequences, each beside its floor: the weights read once at
// the speed of a device copy, or the products at the speed of cuBLASLt's largest. Random weights.
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "backends/cuda/cuda_api.h"
#include "backends/cuda/cuda_backend.h"
#include "core/half.h"
#include "result_log.h"

namespace tenon::bench {
namespace {

constexpr std::int64_t kWidth = 4096;
constexpr std::int64_t kHeads = 32;
constexpr std::int64_t kKvHeads = 8;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kInner = 14336;
constexpr std::int64_t kVocabulary = 128256;
constexpr std::int64_t kTokens = 2048;  // of one step
constexpr std::int64_t kSequences = 32;
constexpr std::int64_t kBlock = 32;
constexpr std::int64_t kBlocks = 48;    // of one sequence
constexpr double kMatrixRate = 7.5e14;  // bf16 products, of an H100; a lead, not a measurement

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Values of all layers share their places; the residual stream has two.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(std::int64_t layers) {
    program.name = "decoder";
    program.limits = {.tokens = kTokens, .sequences = kSequences, .logit_rows = kSequences};
    program.slots = kSequences;
    program.sequence_length = kBlocks * kBlock;
    program.policy.activation = DataType::kBFloat16;
    CacheGroupDescription group{.kv_heads = kKvHeads,
                                .head_dim = kHeadDim,
                                .dtype = DataType::kBFloat16,
                                .tokens_per_block = kBlock,
                                .blocks = kSequences * kBlocks};
    for (std::int64_t layer = 0; layer < layers; ++layer) group.layers.push_back(layer);
    program.cache = {group};
  }
  ProgramDescription program;

  int input(const std::string& name, Symbol rows) {
    program.values.push_back({name, ValueType::tensor(DataType::kInt32, {rows})});
    program.inputs.push_back(static_cast<int>(program.values.size()) - 1);
    return program.inputs.back();
  }
  int weight(const std::string& name, Shape shape) {
    program.weights.push_back({name, std::move(shape), QuantSpec::floating(DataType::kBFloat16)});
    return static_cast<int>(program.weights.size()) - 1;
  }
  std::vector<int> node(const std::vector<std::string>& places, Op op, std::vector<int> inputs,
                        std::vector<int> weights = {}) {
    std::vector<ValueType> types;
    std::vector<Shape> shapes;
    for (const int i : inputs) types.push_back(program.values[static_cast<std::size_t>(i)].type);
    for (const int w : weights)
      shapes.push_back(program.weights[static_cast<std::size_t>(w)].shape);
    ProgramNode out{op, std::move(inputs), {}, std::move(weights)};
    std::size_t place = 0;
    for (const ValueType& type : infer_output_types(op, types, shapes)) {
      ProgramValue value{places[place], type};
      if (type.kind == ValueKind::kTensor) value.offset = offset_of(places[place++], type);
      program.values.push_back(value);
      out.outputs.push_back(static_cast<int>(program.values.size()) - 1);
    }
    program.nodes.push_back(out);
    return out.outputs;
  }

 private:
  std::int64_t offset_of(const std::string& place, const ValueType& type) {
    const auto known = offsets_.find(place);
    if (known != offsets_.end()) return known->second;
    offsets_[place] = program.arena_bytes;
    program.arena_bytes += (program.limits.elements(type) * 4 + 255) / 256 * 256;
    return offsets_[place];
  }
  std::map<std::string, std::int64_t> offsets_;
};

ProgramDescription llama_program(std::int64_t layers) {
  ProgramBuilder b(layers);
  const int tokens = b.input("token_ids", Symbol::kTokens);
  const int positions = b.input("positions", Symbol::kTokens);
  const int rows = b.input("logit_rows", Symbol::kLogitRows);
  int x =
      b.node({"sum0"}, Embedding{}, {tokens}, {b.weight("embedding", {kVocabulary, kWidth})})[0];
  int normed = b.node({"normed"}, Norm{}, {x}, {b.weight("norm", {kWidth})})[0];
  constexpr std::int64_t kQ = kHeads * kHeadDim;
  constexpr std::int64_t kKv = kKvHeads * kHeadDim;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const auto weight = [&](const char* name, Shape shape) {
      return b.weight(fmt::format("{}.{}", layer, name), std::move(shape));
    };
    const auto qkv =
        b.node({"q", "k", "v"}, Linear{.segments = 3}, {normed},
               {weight("q", {kQ, kWidth}), weight("k", {kKv, kWidth}), weight("v", {kKv, kWidth})});
    RopeCacheWrite write;
    write.rope = {.heads = kHeads, .head_dim = kHeadDim, .rotary_dim = kHeadDim};
    for (std::int64_t i = 0; i < kHeadDim / 2; ++i)
      write.rope.inv_freq.push_back(std::pow(5e5F, -2.F * static_cast<float>(i) / kHeadDim));
    write.write = {.cache_layer = layer, .kv_heads = kKvHeads, .head_dim = kHeadDim};
    const auto written = b.node({"rotated", "cache"}, write, {qkv[0], qkv[1], qkv[2], positions});
    const Attention attention{.cache_layer = layer,
                              .heads = kHeads,
                              .kv_heads = kKvHeads,
                              .head_dim = kHeadDim,
                              .scale = 0.0884F};
    const int attended = b.node({"attended"}, attention, {written[0], written[1]})[0];
    const int o = b.node({"o"}, Linear{}, {attended}, {weight("o", {kWidth, kQ})})[0];
    const auto middle = b.node({"sum1", "normed"}, AddNorm{}, {x, o}, {weight("norm", {kWidth})});
    const int inner = b.node({"inner"}, GatedLinear{}, {middle[1]},
                             {weight("gate", {kInner, kWidth}), weight("up", {kInner, kWidth})})[0];
    const int down = b.node({"o"}, Linear{}, {inner}, {weight("down", {kWidth, kInner})})[0];
    const auto end =
        b.node({"sum0", "normed"}, AddNorm{}, {middle[0], down}, {weight("norm2", {kWidth})});
    x = end[0];
    normed = end[1];
  }
  const int wanted = b.node({"wanted"}, GatherRows{}, {normed, rows})[0];
  b.program.outputs =
      b.node({"logits"}, Linear{}, {wanted}, {b.weight("head", {kVocabulary, kWidth})});
  return b.program;
}

// All weights are views of one block of random numbers.
QuantizedTensor weight_of(const WeightUse& use) {
  static const Tensor block = [] {
    Tensor out(DataType::kBFloat16, {kVocabulary, kWidth});
    auto* values = out.mutable_as<std::uint16_t>();
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.F, 0.02F);
    constexpr std::int64_t kDistinct = std::int64_t{1} << 22;
    for (std::int64_t i = 0; i < kDistinct; ++i) values[i] = float_to_bf16(normal(random));
    for (std::int64_t i = kDistinct; i < out.view().elements(); ++i)
      values[i] = values[(i * 31 + i / kDistinct) % kDistinct];
    return out;
  }();
  const auto owner = std::make_shared<Tensor>(block);
  return QuantizedTensor::from(
      Tensor(TensorView{owner->data(), DataType::kBFloat16, use.shape}, owner));
}

Batch batch_of(std::int64_t sequences, std::int32_t cached, std::int32_t fresh, bool first) {
  Batch batch;
  batch.token_begin = {0};
  for (std::int32_t s = 0; s < sequences; ++s) {
    batch.slots.push_back(s);
    batch.cached_tokens.push_back(cached);
    batch.sequence_length.push_back(cached + fresh);
    batch.sample_row.push_back(s);
    for (std::int32_t i = 0; i < fresh; ++i) {
      batch.token_ids.push_back(first ? (s * 7919 + i * 104729) % 128000 : kLastSampledToken);
      batch.positions.push_back(cached + i);
    }
    batch.token_begin.push_back(batch.token_begin.back() + fresh);
    batch.logit_rows.push_back(batch.token_begin.back() - 1);
    if (!first) continue;
    SlotUpdate update{.slot = s, .reset = true};
    BlockTableChange change;
    for (std::int32_t i = 0; i < kBlocks; ++i)
      change.blocks.push_back(s * static_cast<std::int32_t>(kBlocks) + i);
    update.tables = {change};
    update.sampling = SamplingParams{.temperature = 0.F};
    batch.updates.push_back(update);
  }
  return batch;
}

std::shared_ptr<StepHandle> start(Executable& executable, const Batch& batch) {
  executable.prepare(batch);
  executable.forward();
  return executable.sample({});
}

double copy_bandwidth() {  // bytes read and written a second
  constexpr std::int64_t kBytes = std::int64_t{2} << 30;
  const cuda::DeviceBuffer from(kBytes, "bench");
  const cuda::DeviceBuffer to(kBytes, "bench");
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    const auto begin = Clock::now();
    cuda::check(cudaMemcpy(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice), "bench");
    cuda::check(cudaDeviceSynchronize(), "bench");
    best = std::max(best, 2.0 * kBytes / seconds_since(begin));
  }
  return best;
}

void run(std::int64_t layers, int steps, ResultLog& log) {
  const double bandwidth = copy_bandwidth();
  fmt::print("device copy: {:.2f} TB/s\n", bandwidth * 1e-12);
  const ProgramDescription program = llama_program(layers);
  const auto backend = cuda::make_backend({});
  fmt::print("{} ({})\n", backend->properties().name, backend->properties().features);
  Ledger ledger("cuda");
  backend->plan(program, ledger, "rank 0");
  weight_of({"warm", {1}, {}});
  auto begin = Clock::now();
  const auto executable = backend->load(program, weight_of, nullptr, ledger, "rank 0");
  double bytes = 0;
  double products = 0;  // multiplies of one token
  for (const WeightUse& use : program.weights) {
    const auto elements = static_cast<double>(element_count(use.shape));
    if (use.name == "embedding") continue;
    bytes += 2 * elements;
    if (use.name != "head") products += elements;
  }
  const double loading = seconds_since(begin);
  log.set_device(backend->properties().name);
  log.add("load", {{"seconds", loading},
                   {"gbytes_per_second", (bytes + 2.0 * kVocabulary * kWidth) / loading * 1e-9}});
  fmt::print("load: {:.2f} s, {:.1f} GB/s\n", loading,
             (bytes + 2.0 * kVocabulary * kWidth) / loading * 1e-9);
  std::map<std::string, int> kernels;
  for (const KernelChoice& choice : executable->choices()) ++kernels[choice.kernel];
  for (const auto& [name, count] : kernels) fmt::print("  {} x {}\n", count, name);

  start(*executable, batch_of(1, 0, 1024, true))->wait();  // libraries choose, code is loaded
  begin = Clock::now();
  start(*executable, batch_of(1, 0, 1024, true))->wait();
  const double chunk = seconds_since(begin);
  log.add("context of 1024 tokens",
          {{"ms", chunk * 1e3}, {"floor_ms", 1024 * 2 * products / kMatrixRate * 1e3}});
  fmt::print("context of 1024 tokens: {:.1f} ms, floor {:.1f} ms\n", chunk * 1e3,
             1024 * 2 * products / kMatrixRate * 1e3);

  for (const std::int64_t sequences : {std::int64_t{1}, kSequences}) {
    const std::int32_t context = sequences == 1 ? 1024 : 64;
    if (sequences > 1) start(*executable, batch_of(sequences, 0, context, true))->wait();
    std::int32_t at = context;
    for (int warm = 0; warm < 3; ++warm)
      start(*executable, batch_of(sequences, at++, 1, false))->wait();
    begin = Clock::now();
    std::shared_ptr<StepHandle> last;
    for (int step = 0; step < steps; ++step) {
      auto next = start(*executable, batch_of(sequences, at++, 1, false));
      if (last) last->wait();  // the host is one step ahead
      last = std::move(next);
    }
    last->wait();
    const double one = seconds_since(begin) / steps;
    const double floor = bytes / bandwidth;
    log.add(fmt::format("decode of {} at {} tokens", sequences, context),
            {{"ms", one * 1e3}, {"floor_ms", floor * 1e3}});
    fmt::print(
        "decode of {} at {} tokens: {:.2f} ms a step, {:.0f} tokens/s, floor {:.2f} ms: {:.0f}%\n",
        sequences, context, one * 1e3, static_cast<double>(sequences) / one, floor * 1e3,
        100 * floor / one);
  }
}

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) {
  tenon::bench::ResultLog log(argc, argv);
  std::int64_t layers = 32;
  int steps = 64;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--layers") layers = std::stoll(argv[i + 1]);
    if (flag == "--steps") steps = std::stoi(argv[i + 1]);
  }
  try {
    tenon::bench::run(layers, steps, log);
    log.write();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
