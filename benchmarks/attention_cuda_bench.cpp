// attention_cuda_bench [NAME]
// Attention over the paged cache on one CUDA device, every kernel of the list that serves the case
// but the plain one: milliseconds, products and bytes a second, and what share that is of the
// device's rate. Random data, several layers in turn so that no cache helps. NAME: kernels whose
// name contains it.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/cuda/cuda_kernel.h"
#include "core/dtype.h"
#include "cuda_bench_rig.h"
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
  std::vector<Case> out = {context(16, 1024), context(4, 4096), context(1, 16384), decode(64, 4096),
                           decode(64, 8192),  decode(1, 1024),  decode(1, 4096),   decode(1, 32768),
                           decode(256, 1024), decode(64, 128)};
  out.push_back(context(4, 4096));
  out.back().name += ", own keys for each head";
  out.back().kv_heads = 32;
  out.push_back(context(4, 4096));
  out.back().name += ", heads of 64";
  out.back().head_dim = 64;
  for (Case c : {context(4, 4096), decode(64, 4096)}) {
    c.name += ", heads of 256";
    c.heads = 16;
    c.head_dim = 256;
    out.push_back(c);
  }
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

class Bench {
 public:
  explicit Bench(const Case& c)
      : case_(c),
        batch_(batch_of(c.cached, c.fresh)),
        layers_(std::clamp<std::int64_t>(static_cast<std::int64_t>(2e8 / bytes(c)), 1, 16)),
        rig_(batch_, {.kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = c.cache}, layers_),
        values_(4 * batch_.tokens() * c.heads * c.head_dim, "bench") {
    fill_randomly(values_.data(), values_.bytes() / 2);
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
    node.cache = rig_.group();
    if (const std::string why = entry.reject(op, node, rig_.features()); !why.empty()) {
      fmt::print("  {:<20} {}\n", entry.name, why);
      return;
    }
    const std::vector<PackedNeed> needs = entry.needs(op, node);
    LoadContext load(planned_bytes(needs), rig_.features(), rig_.pool());
    std::vector<std::unique_ptr<CudaKernel>> kernels;
    for (op.cache_layer = 0; op.cache_layer < layers_; ++op.cache_layer)
      kernels.push_back(entry.make(op, node, {}, load));
    const DeviceBuffer packed = load.finish();
    StepContext& step = rig_.context();
    const DeviceBuffer workspace(kernels[0]->workspace_bytes(step.sizes), "bench");
    step.workspace = workspace.data();
    step.workspace_bytes = workspace.bytes();
    const TensorRef q{values_.data(), DataType::kBFloat16, batch_.tokens(), width};
    TensorRef out = q;
    out.data += values_.bytes() / 2;
    const double seconds = graph_seconds(rig_.stream(), static_cast<int>(layers_),
                                         [&](int layer) {
                                           kernels[static_cast<std::size_t>(layer)]->launch(
                                               std::vector{q, TensorRef{}}, std::vector{out}, step);
                                         }) /
                           static_cast<double>(layers_);
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
  std::int64_t layers_ = 1;
  StepRig rig_;
  DeviceBuffer values_;
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
