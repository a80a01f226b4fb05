// ops_cuda_bench [NAME] [--roof TB/s] [--json FILE]
// The kernels beside linears and attention on one CUDA device, in Llama-3.1-8B's shapes and
// bfloat16: norms, rope with the cache's write, embedding, gates, row gathering, sampling.
// Microseconds a launch in a recorded graph, bytes and operations, and what share of the memory's
// speed that is. Random data, in turn from several buffers: no cache of the device holds them.
// Rows to sample from are like a language model's: normal logits of deviation 1.5, and about forty
// tokens raised by 5 to 15; "flat" ones are normal alone, of which top_p keeps a good part.
// tools/bench_beside_torch.py puts torch's figures beside. NAME: cases whose name contains it.
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backends/cuda/sampler.h"
#include "core/half.h"
#include "cuda_bench_rig.h"
#include "result_log.h"

namespace tenon::bench {
namespace {

using namespace tenon::cuda;

constexpr std::int64_t kWidth = 4096;
constexpr std::int64_t kHeads = 32;
constexpr std::int64_t kKvHeads = 8;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kInner = 14336;
constexpr std::int64_t kVocabulary = 128256;
constexpr std::int64_t kRotated = std::int64_t{512} << 20;  // bytes of all buffers in turn

struct Options {
  std::string wanted;
  double roof = 4.65;  // TB/s: what an H200 has been seen to read
};

class Report {
 public:
  Report(Options options, ResultLog& log) : options_(std::move(options)), log_(log) {
    fmt::print("{:<44} {:<24} {:>9} {:>9} {:>9} {:>7} {:>6}\n", "case", "kernel", "us", "MB",
               "MFLOP", "TB/s", "roof");
  }
  bool wants(const std::string& name) const {
    return name.find(options_.wanted) != std::string::npos;
  }
  void add(const std::string& name, const char* kernel, double seconds, double bytes,
           double flops) {
    const double rate = bytes / seconds * 1e-12;
    log_.add(name, {{"us", seconds * 1e6},
                    {"bytes", bytes},
                    {"flops", flops},
                    {"share", rate / options_.roof}});
    fmt::print("{:<44} {:<24} {:>9.2f} {:>9.2f} {:>9.1f} {:>7.2f} {:>5.0f}%\n", name, kernel,
               seconds * 1e6, bytes * 1e-6, flops * 1e-6, rate, 100 * rate / options_.roof);
  }

 private:
  Options options_;
  ResultLog& log_;
};

std::vector<std::int32_t> times(std::int64_t count, std::int32_t value) {
  return std::vector<std::int32_t>(static_cast<std::size_t>(count), value);
}

double bytes_of(const ValueType& type) {
  if (type.kind == ValueKind::kCache) return 0;
  double elements = 1;
  for (const Dim& dim : type.shape) elements *= static_cast<double>(dim.extent);
  return elements * static_cast<double>(size_of(type.dtype));
}

// Inputs and outputs of one node, as often as it takes to outgrow the device's cache.
class Operands {
 public:
  /// Integers among the inputs are random, below `integers`.
  Operands(const NodeView& node, std::int64_t integers) {
    double one = 0;
    for (const auto* types : {&node.inputs, &node.outputs})
      for (const ValueType& type : *types) one += bytes_of(type);
    copies_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(kRotated / one), 2, 64);
    for (std::int64_t i = 0; i < copies_; ++i) {
      inputs_.push_back(refs(node.inputs, integers));
      outputs_.push_back(refs(node.outputs, integers));
    }
  }
  int copies() const { return static_cast<int>(copies_); }
  const std::vector<TensorRef>& inputs(int copy) const { return inputs_[index(copy)]; }
  const std::vector<TensorRef>& outputs(int copy) const { return outputs_[index(copy)]; }

 private:
  static std::size_t index(int copy) { return static_cast<std::size_t>(copy); }

  std::vector<TensorRef> refs(const std::vector<ValueType>& types, std::int64_t integers) {
    std::vector<TensorRef> out;
    for (const ValueType& type : types) {
      out.emplace_back();
      if (type.kind == ValueKind::kCache) continue;
      buffers_.emplace_back(static_cast<std::int64_t>(bytes_of(type)), "bench");
      DeviceBuffer& buffer = buffers_.back();
      if (type.dtype == DataType::kInt32)
        fill_integers(buffer, integers);
      else
        fill_randomly(buffer.data(), buffer.bytes(), type.dtype);
      const std::int64_t width = type.shape.size() == 1 ? 1 : type.shape.back().extent;
      out.back() = {buffer.data(), type.dtype, type.shape[0].extent, width};
    }
    return out;
  }

  void fill_integers(const DeviceBuffer& buffer, std::int64_t below) {
    std::vector<std::int32_t> host(static_cast<std::size_t>(buffer.bytes()) / 4);
    for (std::int32_t& value : host)
      value = static_cast<std::int32_t>(random_() % static_cast<std::uint64_t>(below));
    check(cudaMemcpy(buffer.data(), host.data(), host.size() * 4, cudaMemcpyHostToDevice), "bench");
    check(cudaDeviceSynchronize(), "bench");
  }

  std::int64_t copies_ = 1;
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::vector<TensorRef>> inputs_;
  std::vector<std::vector<TensorRef>> outputs_;
  std::mt19937_64 random_{1};
};

// What the list's first kernel that serves the node takes; `bytes`, `flops`: of one launch.
template <class OpT>
void run_op(const std::string& name, OpT op, NodeView node, const Weights& weights, StepRig& rig,
            std::int64_t integers, double bytes, double flops, Report& report) {
  for (std::size_t i = 0; i < weights.size(); ++i)
    node.weights.push_back({"w" + std::to_string(i), weights[i].shape, weights[i].spec});
  for (const auto& entry : kernels(static_cast<const OpT*>(nullptr))) {
    if (!entry.reject(op, node, rig.features()).empty()) continue;
    const std::vector<PackedNeed> needs =
        entry.needs == nullptr ? std::vector<PackedNeed>{} : entry.needs(op, node);
    LoadContext load(planned_bytes(needs), rig.features(), rig.pool());
    const std::unique_ptr<CudaKernel> kernel = entry.make(op, node, weights, load);
    const DeviceBuffer packed = load.finish();
    StepContext& step = rig.context();
    const DeviceBuffer workspace(kernel->workspace_bytes(step.sizes), "bench");
    step.workspace = workspace.data();
    step.workspace_bytes = workspace.bytes();
    const Operands operands(node, integers);
    const int launches = std::max(24, operands.copies());
    const double seconds = graph_seconds(rig.stream(), launches, [&](int i) {
      const int copy = i % operands.copies();
      kernel->launch(operands.inputs(copy), operands.outputs(copy), step);
    });
    report.add(name, entry.name, seconds / launches, bytes, flops);
    return;
  }
}

ValueType rows_of(std::int64_t rows, std::int64_t width) {
  return ValueType::tensor(DataType::kBFloat16, {rows, width});
}
ValueType integers_of(std::int64_t rows) { return ValueType::tensor(DataType::kInt32, {rows}); }

QuantizedTensor random_weight(Shape shape) {
  Tensor out(DataType::kBFloat16, std::move(shape));
  auto* const values = out.mutable_as<std::uint16_t>();
  const std::int64_t count = out.view().elements();
  const std::int64_t distinct = std::min<std::int64_t>(count, std::int64_t{1} << 20);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < distinct; ++i) values[i] = float_to_bf16(normal(random));
  for (std::int64_t i = distinct; i < count; i += distinct)
    std::memcpy(values + i, values, 2 * static_cast<std::size_t>(std::min(distinct, count - i)));
  return QuantizedTensor::from(std::move(out));
}

void norms(std::int64_t rows, Report& report) {
  StepRig rig(batch_of(times(rows, 0), times(rows, 1)), {}, 0);
  const ValueType x = rows_of(rows, kWidth);
  const Weights gain = {random_weight({kWidth})};
  const double row_bytes = bytes_of(x);
  const std::string size = fmt::format(" {} x {}", rows, kWidth);
  if (report.wants("norm" + size))
    run_op("norm" + size, Norm{}, {{x}, {x}, {}, {}}, gain, rig, 0, 2 * row_bytes,
           3 * row_bytes / 2, report);
  if (report.wants("add_norm" + size))
    run_op("add_norm" + size, AddNorm{}, {{x, x}, {x, x}, {}, {}}, gain, rig, 0, 4 * row_bytes,
           4 * row_bytes / 2, report);
}

void ropes(std::int64_t tokens, DataType cache, Report& report) {
  const std::string name = fmt::format("rope_cache_write {} tokens, {}", tokens, to_string(cache));
  if (!report.wants(name)) return;
  // One prompt, or as many sequences that decode.
  const bool prompt = tokens > 256;
  StepRig rig(prompt ? batch_of({0}, times(1, static_cast<std::int32_t>(tokens)))
                     : batch_of(times(tokens, 100), times(tokens, 1)),
              {.kv_heads = kKvHeads, .head_dim = kHeadDim, .dtype = cache}, 1);
  RopeCacheWrite op;
  op.rope = {.heads = kHeads, .head_dim = kHeadDim, .rotary_dim = kHeadDim};
  for (std::int64_t i = 0; i < kHeadDim / 2; ++i)
    op.rope.inv_freq.push_back(std::pow(5e5F, -2.F * static_cast<float>(i) / kHeadDim));
  op.write = {.cache_layer = 0, .kv_heads = kKvHeads, .head_dim = kHeadDim};
  const ValueType q = rows_of(tokens, kHeads * kHeadDim);
  const ValueType k = rows_of(tokens, kKvHeads * kHeadDim);
  const double written =
      bytes_of(k) / 2 * static_cast<double>(size_of(cache)) +
      (cache == DataType::kInt8 ? 4. * kKvHeads * static_cast<double>(tokens) : 0);
  NodeView node{{q, k, k, integers_of(tokens)}, {q, ValueType::cache()}, {}, rig.group()};
  run_op(name, op, node, {}, rig, prompt ? tokens : 4096,
         2 * bytes_of(q) + 2 * bytes_of(k) + 2 * written, 3 * (bytes_of(q) + bytes_of(k)) / 2,
         report);
}

void tables(std::int64_t rows, const QuantizedTensor& table, Report& report) {
  const std::string name = fmt::format("embedding {} of {} x {}", rows, kVocabulary, kWidth);
  if (!report.wants(name)) return;
  StepRig rig(batch_of(times(rows, 0), times(rows, 1)), {}, 0);
  const ValueType y = rows_of(rows, kWidth);
  run_op(name, Embedding{}, {{integers_of(rows)}, {y}, {}, {}}, {table}, rig, kVocabulary,
         2 * bytes_of(y), 0, report);
}

void gates(std::int64_t rows, Report& report) {
  const std::string name = fmt::format("gated_activation {} x {}", rows, kInner);
  if (!report.wants(name)) return;
  StepRig rig(batch_of(times(rows, 0), times(rows, 1)), {}, 0);
  const ValueType x = rows_of(rows, kInner);
  run_op(name, GatedActivation{}, {{x, x}, {x}, {}, {}}, {}, rig, 0, 3 * bytes_of(x),
         6 * bytes_of(x) / 2, report);
}

void gathers(std::int64_t rows, std::int64_t of, Report& report) {
  const std::string name = fmt::format("gather_rows {} of {} x {}", rows, of, kWidth);
  if (!report.wants(name)) return;
  Batch batch = batch_of(times(of, 0), times(of, 1));
  batch.logit_rows = times(rows, 0);
  StepRig rig(batch, {}, 0);
  const ValueType y = rows_of(rows, kWidth);
  run_op(name, GatherRows{}, {{rows_of(of, kWidth), integers_of(rows)}, {y}, {}, {}}, {}, rig, of,
         2 * bytes_of(y), 0, report);
}

struct Sampling {
  const char* name;
  SamplingParams params;
  bool with_prompt = false;
  bool flat = false;
};

std::vector<Sampling> samplings() {
  std::vector<Sampling> out = {
      {"greedy", {.temperature = 0.F}},
      {"all", {}},
      {"top_k 50", {.top_k = 50}},
      {"top_p 0.9", {.top_p = 0.9F}},
      {"top_k 50 and top_p 0.9", {.top_k = 50, .top_p = 0.9F}},
      {"penalties and top_p 0.9", {.top_p = 0.9F, .repetition_penalty = 1.1F}, true},
      {"top_p 0.9 of flat rows", {.top_p = 0.9F}, false, true}};
  for (Sampling& sampling : out) sampling.params.seed = 1;
  return out;
}

// Any kVocabulary of them, one after another, are a row.
std::vector<float> random_logits(bool flat) {
  std::vector<float> out(8 * kVocabulary);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.F, flat ? 1.F : 1.5F);
  for (float& x : out) x = normal(random);
  std::uniform_real_distribution<float> raise(5.F, 15.F);
  for (int i = 0; !flat && i < 8 * 40; ++i) out[random() % out.size()] += raise(random);
  return out;
}

void fill_rows(const DeviceBuffer& to, std::int64_t rows, const std::vector<float>& logits) {
  constexpr std::size_t kWidthOfRow = kVocabulary;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::size_t at = static_cast<std::size_t>(row) * 10007 % (logits.size() - kWidthOfRow);
    check(cudaMemcpy(to.as<float>() + row * kVocabulary, logits.data() + at,
                     kWidthOfRow * sizeof(float), cudaMemcpyHostToDevice),
          "bench");
  }
  check(cudaDeviceSynchronize(), "bench");
}

// The whole sampler, which writes its results to the host's memory.
void sample(const Sampling& sampling, std::int64_t rows, Report& report) {
  const std::string name = fmt::format("sample {}, {} x {}", sampling.name, rows, kVocabulary);
  if (!report.wants(name)) return;
  Batch batch = batch_of(times(rows, 100), times(rows, 1));
  std::iota(batch.sample_row.begin(), batch.sample_row.end(), 0);
  batch.logit_rows = batch.sample_row;
  StepRig rig(batch, {}, 0);
  const DeviceBuffer last(rows * 4, "bench");
  Sampler sampler(
      {.slots = rows, .sequences = rows, .vocabulary = kVocabulary, .sequence_length = 4096},
      last.as<std::int32_t>());
  std::vector<SlotUpdate> updates;
  std::mt19937 random(1);
  for (std::int32_t s = 0; s < rows; ++s) {
    updates.push_back({.slot = s, .reset = true});
    updates.back().sampling = sampling.params;
    for (int i = 0; sampling.with_prompt && i < 1000; ++i)
      updates.back().history.push_back(static_cast<std::int32_t>(random() % kVocabulary));
  }
  sampler.take(updates);
  Upload upload;
  const SamplerPieces pieces = sampler.encode(batch, upload);
  upload.send(rig.stream());
  sampler.apply(pieces, upload, rig.stream());
  ResultPlace results{
      PinnedBuffer(rows * static_cast<std::int64_t>(sizeof(SampledSequence)), "bench"),
      PinnedBuffer(), Event()};
  const double bytes = 4. * static_cast<double>(rows * kVocabulary);
  const int copies = std::clamp(static_cast<int>(kRotated / bytes), 2, 64);
  const std::vector<float> values = random_logits(sampling.flat);
  std::vector<DeviceBuffer> logits;
  for (int i = 0; i < copies; ++i) {
    logits.emplace_back(static_cast<std::int64_t>(bytes), "bench");
    fill_rows(logits.back(), rows, values);
  }
  const int launches = std::max(24, copies);
  const SamplerPieces nothing;
  const double seconds = graph_seconds(rig.stream(), launches, [&](int i) {
    sampler.sample(logits[static_cast<std::size_t>(i % copies)].as<float>(), rig.context().view,
                   batch, nothing, upload, {}, results, rig.stream());
  });
  report.add(name, "sampler", seconds / launches, bytes, 0);
}

void run(const Options& options, ResultLog& log) {
  Report report(options, log);
  for (const std::int64_t rows : {1, 64, 2048}) norms(rows, report);
  for (const DataType cache : {DataType::kBFloat16, DataType::kFloat8E4M3, DataType::kInt8})
    for (const std::int64_t tokens : {1, 64, 2048}) ropes(tokens, cache, report);
  const QuantizedTensor table = random_weight({kVocabulary, kWidth});
  for (const std::int64_t rows : {1, 64, 2048}) tables(rows, table, report);
  for (const std::int64_t rows : {1, 64, 2048}) gates(rows, report);
  gathers(64, 2048, report);
  for (const Sampling& sampling : samplings())
    for (const std::int64_t rows : {1, 64, 256}) sample(sampling, rows, report);
}

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) {
  tenon::bench::ResultLog log(argc, argv);
  tenon::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--roof" && i + 1 < argc)
      options.roof = std::stod(argv[++i]);
    else
      options.wanted = flag;
  }
  try {
    log.set_device(tenon::cuda::DeviceFeatures::detect(0).describe());
    tenon::bench::run(options, log);
    log.write();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
