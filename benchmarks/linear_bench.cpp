// linear_bench [--threads N] [--size N] [--mib N] [--kernel NAME] [--form TEXT] [--rows N]
//              [--cpu_time 1]
// Speed of each kernel of Linear per weight form and number of rows, as GB/s of packed weights,
// GFLOP/s, and the share of what the machine could do, measured in the same run. Weights rotate
// through more memory than any cache holds. Random data. --cpu_time counts the time the processor
// was ours, for one thread on a busy machine.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_kernel.h"
#include "core/half.h"
#include "core/read_bandwidth.h"
#include "machine_roof.h"
#include "result_log.h"

namespace tenon::bench {
namespace {

struct Options {
  int threads = 0;
  std::int64_t size = 4096;
  std::int64_t mib = 1024;
  std::string kernel;
  std::string form;
  std::int64_t rows = 0;
  bool cpu_time = false;
};

constexpr const char* kForms[] = {
    "float32",
    "float16",
    "bfloat16",
    "int8 group row scale float32",
    "int8 group 32 scale float16",
    "int4 group 32 scale float16 offset 8",
    "int4 group 128 scale float16 offset 8",
    "codebook4 group 32 scale float16",
    "int4 group 32 scale float16 minimum super 256 sub 8",
    "int6 group 16 scale float16 offset 32 super 256 sub 8 signed",
};
constexpr std::int64_t kRows[] = {1, 4, 8, 16, 32, 64, 512};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--threads") options.threads = std::stoi(argv[i + 1]);
    if (flag == "--size") options.size = std::stoll(argv[i + 1]);
    if (flag == "--mib") options.mib = std::stoll(argv[i + 1]);
    if (flag == "--kernel") options.kernel = argv[i + 1];
    if (flag == "--form") options.form = argv[i + 1];
    if (flag == "--cpu_time") options.cpu_time = std::string(argv[i + 1]) == "1";
    if (flag == "--rows") options.rows = std::stoll(argv[i + 1]);
  }
  return options;
}

void fill(Tensor& tensor, std::mt19937_64& random) {
  if (tensor.data() == nullptr) return;
  if (is_floating_point(tensor.dtype())) {
    std::vector<float> values(tensor.bytes() / size_of(tensor.dtype()));
    std::uniform_real_distribution<float> range(-0.02F, 0.02F);
    for (float& v : values) v = range(random);
    convert_from_float(tensor.dtype(), values.data(), tensor.mutable_data(), values.size());
    return;
  }
  for (std::size_t i = 0; i < tensor.bytes(); ++i)
    tensor.mutable_data()[i] = static_cast<std::byte>(random());
}

QuantizedTensor random_weight(const QuantSpec& spec, std::int64_t size) {
  std::mt19937_64 random(1);
  QuantizedTensor w = QuantizedTensor::empty(spec, {size, size}, "benchmark");
  for (Tensor* part : {&w.codes, &w.scale, &w.sub_scale, &w.minimum, &w.sub_minimum, &w.codebook})
    fill(*part, random);
  return w;
}

struct Roof {
  double bandwidth;
  double fma;
  double tiles;
};

class Bench {
 public:
  Bench(const Options& options, ThreadPool& pool, const Roof& roof, ResultLog& log)
      : options_(options), pool_(pool), roof_(roof), log_(log) {}

  void run(const cpu::KernelEntry<Linear>& entry, const std::string& form) {
    const QuantSpec spec = parse_quant_spec(form, "benchmark");
    const std::int64_t size = options_.size;
    cpu::NodeView node;
    const ValueType type = ValueType::tensor(DataType::kFloat32, {Dim(Symbol::kTokens), Dim(size)});
    node.inputs = {type};
    node.outputs = {type};
    node.weights = {{"w", {size, size}, spec}};
    if (!entry.reject({}, node, cpu::CpuFeatures::detect()).empty()) return;
    const QuantizedTensor weight = random_weight(spec, size);
    const std::int64_t bytes = std::max<std::int64_t>(1, entry.planned_bytes({}, node));
    const std::int64_t copies = std::max<std::int64_t>(1, (options_.mib << 20) / bytes);
    std::vector<std::unique_ptr<cpu::CpuKernel>> kernels;
    for (std::int64_t i = 0; i < copies; ++i)
      kernels.push_back(entry.make({}, node, {weight}, pool_));
    for (const std::int64_t rows : kRows)
      if (options_.rows == 0 || options_.rows == rows) time(entry.name, form, kernels, rows);
  }

 private:
  double clock() const {
    if (!options_.cpu_time) return now();
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }

  void time(const char* name, const std::string& form,
            const std::vector<std::unique_ptr<cpu::CpuKernel>>& kernels, std::int64_t rows) {
    const std::int64_t size = options_.size;
    Tensor x(DataType::kFloat32, {rows, size});
    for (std::int64_t i = 0; i < rows * size; ++i)
      x.mutable_as<float>()[i] = static_cast<float>(i * 7919 % 1000) / 1000.0F - 0.5F;
    Tensor y(DataType::kFloat32, {rows, size});
    const cpu::TensorRef in{x.mutable_data(), DataType::kFloat32, rows, size};
    const cpu::TensorRef out{y.mutable_data(), DataType::kFloat32, rows, size};
    const std::int64_t space = kernels[0]->workspace_bytes({.tokens = rows}, pool_.size());
    Tensor workspace(DataType::kUInt8, {space});
    const Batch batch;
    cpu::StepContext step{pool_, batch};
    step.workspace = {workspace.mutable_data(), workspace.bytes()};
    // Groups of calls are timed, so that the best of several is not a lucky cache hit.
    const std::size_t group = rows <= 16 ? std::max<std::size_t>(1, kernels.size() / 4) : 2;
    double best = 1e30;
    std::size_t next = 0;
    const double begin = now();
    for (int repeat = 0; repeat < 12 && (repeat < 4 || now() - begin < 2.0); ++repeat) {
      const double start = clock();
      for (std::size_t i = 0; i < group; ++i) {
        kernels[next]->run({&in, 1}, {&out, 1}, step);
        next = (next + 1) % kernels.size();
      }
      best = std::min(best, (clock() - start) / static_cast<double>(group));
    }
    const double bytes = static_cast<double>(kernels[0]->packed_bytes()) / best;
    const double flops = 2.0 * static_cast<double>(rows * size) * static_cast<double>(size) / best;
    const double peak = std::max(roof_.fma, roof_.tiles);
    log_.add(fmt::format("{} {} rows {}", name, form, rows), {{"us", best * 1e6},
                                                              {"gbytes_per_second", bytes / 1e9},
                                                              {"gflops_per_second", flops / 1e9}});
    fmt::print("{:18} {:58} {:4} {:9.1f} us {:7.2f} GB/s {:3.0f}% {:8.1f} GFLOP/s {:3.0f}%\n", name,
               form, rows, best * 1e6, bytes / 1e9, 100 * bytes / roof_.bandwidth, flops / 1e9,
               100 * flops / peak);
    std::fflush(stdout);
  }

  const Options& options_;
  ThreadPool& pool_;
  Roof roof_;
  ResultLog& log_;
};

int run(int argc, char** argv) {
  ResultLog log(argc, argv);
  const Options options = parse(argc, argv);
  ThreadPool pool({.threads = options.threads});
  const Roof roof{read_bandwidth(pool, std::int64_t{1} << 30, 8), fma_peak(pool), tile_peak(pool)};
  fmt::print("{} threads: read {:.1f} GB/s, fp32 FMA {:.0f} GFLOP/s, bf16 tiles {:.0f} GFLOP/s\n",
             pool.size(), roof.bandwidth / 1e9, roof.fma / 1e9, roof.tiles / 1e9);
  Bench bench(options, pool, roof, log);
  for (const auto& entry : cpu::kernels(static_cast<const Linear*>(nullptr))) {
    const std::string name = entry.name;
    if (entry.planned_bytes == nullptr) continue;  // the reference
    if (options.kernel.empty() ? name == "linear_baseline" : name != options.kernel) continue;
    for (const char* form : kForms)
      if (options.form.empty() || options.form == form) bench.run(entry, form);
  }
  log.write();
  return 0;
}

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) {
  try {
    return tenon::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "linear_bench: {}\n", error.what());
    return 1;
  }
}
