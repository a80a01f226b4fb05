// cuda_linear_bench [--sweep] [--ways] [--cases NAME,…] [--forms SUBSTRING] [--rows N,N,…]
// Linears of Llama-3.1-8B's shapes on one CUDA device, for each weight form: the streaming kernel
// in a recorded graph over enough copies of the weight that none is still in the cache, random
// data. Prints microseconds, the weight's bytes, the share of memory's speed as read here, and
// cuBLASLt's figure for the same bfloat16 product. --sweep: other numbers of warps and thread
// blocks. --ways: all ways of quantized weights beside each other (streaming up to 64 rows, widened
// in registers where the device can, dequantized to workspace for cuBLASLt).
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/linear_stream.h"
#include "backends/cuda/linear_widening.h"
#include "result_log.h"

namespace tenon::cuda {
namespace {

struct Case {
  const char* name;
  std::int64_t outputs, columns;
  bool gated = false;
};
constexpr Case kCases[] = {{"o", 4096, 4096},
                           {"qkv", 6144, 4096},
                           {"down", 4096, 14336},
                           {"gate+up", 28672, 4096, true},
                           {"head", 128256, 4096}};
constexpr std::int64_t kRotated = std::int64_t{512} << 20;  // bytes of all copies, at least
constexpr int kLaunches = 24;                               // in a graph, at least
constexpr int kReplays = 5;

class Rig {
 public:
  Rig() : features_(DeviceFeatures::detect(0)), blas_memory_(CublasLt::kWorkspaceBytes, "bench") {
    if (features_.cublaslt) blas_ = std::make_unique<CublasLt>(blas_memory_.data());
    check(cudaEventCreate(&begin_), "bench");
    check(cudaEventCreate(&end_), "bench");
    memory_ = DeviceBuffer(std::int64_t{6} << 30, "bench");
    fill();
    workspace_ = DeviceBuffer(std::int64_t{64} << 20, "bench");
    y_ = DeviceBuffer(std::int64_t{256} << 20, "bench");
  }

  const DeviceFeatures& features() const { return features_; }
  CublasLt* blas() { return blas_.get(); }
  cudaStream_t stream() const { return stream_.get(); }
  std::byte* weight(int copy, std::int64_t bytes) const { return memory_.data() + copy * bytes; }
  int copies(std::int64_t bytes) const {
    const std::int64_t most = memory_.bytes() / bytes;
    return static_cast<int>(std::clamp<std::int64_t>(kRotated / bytes + 1, 2, most));
  }
  std::byte* x() const { return memory_.data() + (std::int64_t{1} << 20) + 4096; }
  std::byte* y() const { return y_.data(); }
  std::byte* workspace() const { return workspace_.data(); }

  /// Microseconds of one launch, the median of replays.
  double time(int copies, const std::function<void(int copy)>& launch) {
    const int launches = std::max(kLaunches, copies);
    launch(0);
    check(cudaStreamSynchronize(stream()), "bench");
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "bench");
    for (int i = 0; i < launches; ++i) launch(i % copies);
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream(), &graph), "bench");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph, 0), "bench");
    std::vector<double> times;
    for (int i = 0; i <= kReplays; ++i) {
      check(cudaEventRecord(begin_, stream()), "bench");
      check(cudaGraphLaunch(executable, stream()), "bench");
      check(cudaEventRecord(end_, stream()), "bench");
      check(cudaEventSynchronize(end_), "bench");
      float ms = 0.F;
      check(cudaEventElapsedTime(&ms, begin_, end_), "bench");
      if (i > 0) times.push_back(1e3 * ms / launches);
    }
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

 private:
  // Random bfloat16 of small magnitude: as codes and as scales any of it will do.
  void fill() {
    constexpr std::int64_t kBytes = std::int64_t{64} << 20;
    std::vector<std::uint16_t> host(kBytes / 2);
    std::mt19937 random(1);
    for (std::uint16_t& bits : host) {
      const std::uint32_t r = random();  // ± 0.0078 … 0.0313, full mantissas
      bits = static_cast<std::uint16_t>((r & 0x807FU) | (120U + (r >> 8) % 2) << 7);
    }
    for (std::int64_t at = 0; at < memory_.bytes(); at += kBytes)
      check(cudaMemcpy(memory_.data() + at, host.data(), kBytes, cudaMemcpyHostToDevice), "bench");
  }

  DeviceFeatures features_;
  DeviceBuffer blas_memory_;
  std::unique_ptr<CublasLt> blas_;
  Stream stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
  DeviceBuffer memory_;
  DeviceBuffer workspace_;
  DeviceBuffer y_;
};

struct Form {
  const char* name;
  QuantSpec spec;
};

std::vector<Form> forms() {
  const auto parse = [](const char* text) { return Form{text, parse_quant_spec(text, "bench")}; };
  return {parse("bfloat16"),
          parse("float8_e4m3"),
          parse("int8 group row scale float32"),
          parse("int8 group 128 scale bfloat16"),
          parse("int4 group 128 scale bfloat16 offset 8"),
          parse("int4 group 32 scale bfloat16 offset 8"),
          parse("int4 group 32 scale bfloat16 minimum"),
          parse("int4 group 32 scale bfloat16 minimum super 256 sub 8")};
}

std::int64_t scale_bytes(const PackedMatrix& m) {
  return m.rows * m.scale_stride * static_cast<std::int64_t>(size_of(m.scale_type));
}

// Bytes that one product reads of the packed weight.
std::int64_t weight_bytes(const PackedMatrix& m, bool minimum) {
  return m.rows * m.row_bytes + scale_bytes(m) * (minimum ? 2 : 1);
}

GemvArguments arguments_of(const Rig& rig, const Case& c, const PackedMatrix& form, bool minimum,
                           std::int64_t rows, int copy) {
  GemvArguments a;
  a.matrix = form;
  const std::int64_t bytes = aligned(weight_bytes(form, minimum));
  auto* const base = reinterpret_cast<const std::uint8_t*>(rig.weight(copy, bytes));
  a.matrix.codes = base;
  if (form.scale_stride > 0) a.matrix.scale = base + form.rows * form.row_bytes;
  if (minimum) a.matrix.minimum = base + form.rows * form.row_bytes + scale_bytes(form);
  if (form.step == ScaleStep::kRow) a.row_scale = static_cast<const float*>(a.matrix.scale);
  a.x = reinterpret_cast<const std::uint8_t*>(rig.x());
  a.x_rows = rows;
  a.rows = static_cast<std::int32_t>(form.rows);
  a.columns = static_cast<std::int32_t>(form.columns);
  a.segments = 1;
  a.gated = c.gated;
  a.kind = ActivationKind::kSilu;
  a.up_begin = static_cast<std::int32_t>(form.rows / 2);
  a.out[0] = {rig.y(), c.gated ? form.rows / 2 : form.rows, 0,
              c.gated ? DataType::kBFloat16 : DataType::kFloat32};
  return a;
}

double stream_time(Rig& rig, const Case& c, const PackedMatrix& form, bool minimum,
                   std::int64_t rows, int warps) {
  const int copies = rig.copies(aligned(weight_bytes(form, minimum)));
  return rig.time(copies, [&](int copy) {
    GemvArguments a = arguments_of(rig, c, form, minimum, rows, copy);
    const GemvLaunch launch = plan_gemv(a, rig.features(), warps);
    launch_gemv(a, launch, rig.stream());
  });
}

double widening_time(Rig& rig, const Case& c, const PackedMatrix& form, bool minimum,
                     std::int64_t rows) {
  const int copies = rig.copies(aligned(weight_bytes(form, minimum)));
  return rig.time(copies, [&](int copy) {
    const GemvArguments a = arguments_of(rig, c, form, minimum, rows, copy);
    launch_widening(a, plan_widening(a, rig.features()), rig.workspace(), rig.stream());
  });
}

// As LinearStream does. gate+up: without the activation.
double dequantized_time(Rig& rig, const Case& c, const PackedMatrix& form, bool minimum,
                        std::int64_t rows) {
  if (rig.blas() == nullptr) return 0;
  constexpr std::int64_t kPieceBytes = std::int64_t{32} << 20;
  const int copies = rig.copies(aligned(weight_bytes(form, minimum)));
  return rig.time(copies, [&](int copy) {
    const GemvArguments a = arguments_of(rig, c, form, minimum, rows, copy);
    const std::int64_t most = kPieceBytes / (2 * c.columns) / 64 * 64;
    for (std::int64_t at = 0; at < c.outputs; at += most) {
      const std::int64_t count = std::min(most, c.outputs - at);
      launch_dequantize(a.matrix, at, count, rig.workspace(), rig.stream());
      const MatmulShape shape{DataType::kBFloat16, DataType::kFloat32, rows, count,
                              c.columns,           c.outputs};
      rig.blas()->matmul(shape, rig.x(), rig.workspace(), rig.y() + at * 4, rig.stream());
    }
  });
}

// gate+up: the product alone, without the activation.
double cublaslt_time(Rig& rig, const Case& c, std::int64_t rows) {
  if (rig.blas() == nullptr) return 0;
  const std::int64_t bytes = 2 * c.outputs * c.columns;
  const MatmulShape shape{DataType::kBFloat16, DataType::kFloat32, rows,
                          c.outputs,           c.columns,          c.outputs};
  return rig.time(rig.copies(bytes), [&](int copy) {
    rig.blas()->matmul(shape, rig.x(), rig.weight(copy, bytes), rig.y(), rig.stream());
  });
}

// What a kernel reaches that only reads: the head's matrix, eight times.
double read_speed(Rig& rig) {
  const std::int64_t bytes = std::int64_t{2} << 30;
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double us = rig.time(1, [&](int) {
      check(cudaMemcpyAsync(rig.weight(0, 0), rig.weight(1, bytes), static_cast<std::size_t>(bytes),
                            cudaMemcpyDeviceToDevice, rig.stream()),
            "bench");
    });
    best = std::max(best, 2.0 * static_cast<double>(bytes) / us * 1e-6);
  }
  return best;
}

std::vector<std::int64_t> numbers(const std::string& text) {
  std::vector<std::int64_t> out;
  std::stringstream stream(text);
  for (std::string item; std::getline(stream, item, ',');) out.push_back(std::stoll(item));
  return out;
}

// One line: every way.
void print_ways(Rig& rig, const Form& form, const Case& c, const PackedMatrix& packed,
                std::int64_t rows, bench::ResultLog& log) {
  const bool minimum = form.spec.has_minimum;
  const double us_of_bytes = static_cast<double>(weight_bytes(packed, minimum)) / 4.65e6;
  const double us_of_products =
      2e-6 * static_cast<double>(rows) * static_cast<double>(c.outputs * c.columns) / 790;
  std::vector<std::pair<std::string, double>> times;
  if (rows <= 64) times.emplace_back("stream", stream_time(rig, c, packed, minimum, rows, 0));
  if (rows <= kWideningRows && widening_serves(packed, rig.features())) {
    times.emplace_back("widening", widening_time(rig, c, packed, minimum, rows));
  }
  times.emplace_back("dequantized", dequantized_time(rig, c, packed, minimum, rows));
  times.emplace_back("cublaslt bfloat16", cublaslt_time(rig, c, rows));
  fmt::print("{:>8} {:>4} rows: bytes {:.1f}, products {:.1f};", c.name, rows, us_of_bytes,
             us_of_products);
  for (const auto& [way, us] : times) {
    fmt::print("  {} {:.1f}", way, us);
    log.add(fmt::format("{} {} rows {} {}", form.name, c.name, rows, way), {{"us", us}});
  }
  fmt::print("\n");
}

void run(bool sweep, bool ways, const std::string& cases, const std::string& wanted,
         const std::vector<std::int64_t>& rows_list, double roof, bench::ResultLog& log) {
  Rig rig;
  log.set_device(rig.features().describe());
  fmt::print("{}; device copy {:.2f} TB/s, roof taken as {:.2f} TB/s\n", rig.features().describe(),
             read_speed(rig), roof);
  for (const Form& form : forms()) {
    if (std::string(form.name).find(wanted) == std::string::npos) continue;
    fmt::print("\n{}\n{:>8} {:>13} {:>5} {:>6} {:>9} {:>9} {:>6} {:>8} {:>9}\n", form.name, "case",
               "shape", "rows", "warps", "us", "MB", "roof", "GFLOP/s", "cublaslt");
    for (const Case& c : kCases) {
      if (!cases.empty() &&
          ("," + cases + ",").find(fmt::format(",{},", c.name)) == std::string::npos)
        continue;
      NodeView node;
      node.weights = {{"w", {c.outputs, c.columns}, form.spec}};
      const PackedForm packed = packed_form(node, 1, DataType::kBFloat16);
      if (!packed.why.empty()) {
        fmt::print("{}\n", packed.why);
        continue;
      }
      const double bytes = static_cast<double>(weight_bytes(packed.matrix, form.spec.has_minimum));
      for (const std::int64_t rows : rows_list) {
        if (ways) {
          if (packed.matrix.kind != CodeKind::k16Bit)
            print_ways(rig, form, c, packed.matrix, rows, log);
          continue;
        }
        const double blas = cublaslt_time(rig, c, rows);
        for (const int warps : sweep ? std::vector<int>{3, 4, 6, 8, 12, 16} : std::vector<int>{0}) {
          const double us = stream_time(rig, c, packed.matrix, form.spec.has_minimum, rows, warps);
          const double flops =
              2.0 * static_cast<double>(rows) * static_cast<double>(c.outputs * c.columns);
          log.add(fmt::format("{} {} rows {} warps {}", form.name, c.name, rows, warps),
                  {{"us", us},
                   {"share", bytes / us * 1e-6 / roof},
                   {"gflops_per_second", flops / us * 1e-3},
                   {"cublaslt_us", blas}});
          fmt::print(
              "{:>8} {:>6}x{:<6} {:>5} {:>6} {:>9.2f} {:>9.1f} {:>5.0f}% {:>8.0f} {:>9.2f}\n",
              c.name, c.outputs, c.columns, rows, warps, us, bytes * 1e-6,
              100 * bytes / us * 1e-6 / roof, flops / us * 1e-3, blas);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tenon::cuda

int main(int argc, char** argv) {
  tenon::bench::ResultLog log(argc, argv);
  bool sweep = false;
  bool ways = false;
  std::string cases;
  std::string forms;
  std::string rows = "1,8,16";
  double roof = 4.65;  // TB/s: what an H200 has been seen to read
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--sweep")
      sweep = true;
    else if (flag == "--ways")
      ways = true;
    else if (flag == "--cases" && i + 1 < argc)
      cases = argv[++i];
    else if (flag == "--forms" && i + 1 < argc)
      forms = argv[++i];
    else if (flag == "--rows" && i + 1 < argc)
      rows = argv[++i];
    else if (flag == "--roof" && i + 1 < argc)
      roof = std::stod(argv[++i]);
  }
  try {
    tenon::cuda::run(sweep, ways, cases, forms, tenon::cuda::numbers(rows), roof, log);
    log.write();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
