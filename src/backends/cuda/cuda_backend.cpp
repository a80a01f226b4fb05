// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_backend.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/storage.h"
#include "backends/kernel_report.h"
#include "backends/loading.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr int kLeastCapability = 80;
// Machine code of kernels and of cuBLASLt, loaded when first used; recorded steps.
constexpr std::int64_t kForeignBytes = std::int64_t{320} << 20;

// The variable that makes CUDA wait for every launch: recorded steps have to be told.
bool launches_block() {
  const char* value = std::getenv("CUDA_LAUNCH_BLOCKING");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

int driver_version() {
  int version = 0;
  check(cudaDriverGetVersion(&version), "the driver's version");
  return version;
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : features_(DeviceFeatures::detect(options.device)),
        pool_(ThreadPool::Options{.threads = options.threads, .pin = false}),
        tactics_(options.tactics) {
    cudaDeviceProp device{};
    check(cudaGetDeviceProperties(&device, options.device), "device properties");
    std::size_t free = 0;
    std::size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "device memory");
    properties_ = {.kind = "cuda",
                   .name = device.name,
                   .features = features_.describe(),
                   .memory_bytes = static_cast<std::int64_t>(free),
                   .free_bytes = static_cast<std::int64_t>(free),
                   .cores = features_.multiprocessors};
    tactic_identity_ = {
        .device = fmt::format("{} sm_{} {} multiprocessors", device.name, features_.capability,
                              features_.multiprocessors),
        .libraries = fmt::format("{}, CUDA runtime {}, driver {}", cublaslt_library().version,
                                 CUDART_VERSION, driver_version())};
  }

  const DeviceProperties& properties() const override { return properties_; }
  bool device_lost() const override { return context_is_lost(features_.device); }

  std::vector<std::string> fusions() const override {
    return {"fuse_add_norm",         "merge_linears", "fuse_gated_linear",
            "fuse_rope_cache_write", "fold_scales",   "remove_dead_nodes"};
  }

  KernelChoice choose(const ProgramDescription& program, const ProgramNode& node) const override {
    return choose_kernel(program, storage_types(program), node, features_).choice;
  }

  void plan(const ProgramDescription& program, Ledger& ledger,
            std::string_view owner) const override {
    plan_rows(rows_of(program, choose_all(program, storage_types(program))), ledger, owner);
  }

  std::unique_ptr<Executable> load(const ProgramDescription& program, const WeightLoader& weights,
                                   Communicator* communicator, Ledger& ledger,
                                   std::string_view owner) override;

 private:
  std::vector<ChosenKernel> choose_all(const ProgramDescription& program,
                                       const std::vector<DataType>& storage) const {
    std::vector<ChosenKernel> out;
    out.reserve(program.nodes.size());
    for (const ProgramNode& node : program.nodes)
      out.push_back(choose_kernel(program, storage, node, features_));
    return out;
  }

  static std::int64_t weight_bytes(std::span<const ChosenKernel> chosen) {
    std::vector<PackedNeed> needs;
    for (const ChosenKernel& kernel : chosen)
      needs.insert(needs.end(), kernel.needs.begin(), kernel.needs.end());
    return planned_bytes(needs);
  }

  std::vector<MemoryRow> rows_of(const ProgramDescription& program,
                                 std::span<const ChosenKernel> chosen) const {
    std::int64_t workspace = 0;
    for (const ChosenKernel& kernel : chosen)
      workspace = std::max(workspace, kernel.planned_workspace);
    return {{MemoryKind::kForeign, "code and libraries (predicted)", kForeignBytes},
            {MemoryKind::kWeights, "packed weights", weight_bytes(chosen)},
            {MemoryKind::kCache, "cache", PagedCache::bytes(program.cache)},
            {MemoryKind::kWorkspace, "activations", aligned(program.arena_bytes)},
            {MemoryKind::kWorkspace, "kernel workspace",
             CudaExecutable::workspace_bytes(workspace, features_)},
            {MemoryKind::kLogits, "sampler and slots", CudaExecutable::state_bytes(program)}};
  }

  DeviceFeatures features_;
  ThreadPool pool_;
  TacticOptions tactics_;
  TacticIdentity tactic_identity_;
  DeviceProperties properties_;
};

std::unique_ptr<Executable> CudaBackend::load(const ProgramDescription& program,
                                              const WeightLoader& weights,
                                              Communicator* communicator, Ledger& ledger,
                                              std::string_view owner) {
  const DeviceGuard guard(features_.device);
  CudaExecutable::Parts parts;
  parts.program = program;
  parts.storage = storage_types(program);
  parts.features = features_;
  parts.communicator = communicator;
  // Kernels keep references to the ops of the executable's own copy.
  const std::vector<ChosenKernel> chosen = choose_all(parts.program, parts.storage);
  const std::vector<MemoryRow> rows = rows_of(program, chosen);
  for (const ChosenKernel& kernel : chosen) {
    parts.choices.push_back(kernel.choice);
    parts.recordable = parts.recordable && kernel.recordable;
  }
  log_choices(program, parts.choices, parts.storage);
  parts.watched = launches_block();

  LoadContext context(weight_bytes(chosen), features_, pool_);
  LoadedWeights loader(program, weights);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    parts.kernels.push_back(chosen[i].make(loader.of(program.nodes[i]), context));
    parts.workspace_bytes =
        std::max(parts.workspace_bytes, parts.kernels.back()->workspace_bytes(program.limits));
    TENON_CHECK(
        parts.kernels.back()->workspace_bytes(program.limits) == chosen[i].planned_workspace,
        ErrorCode::kInternal, "[cuda] {} planned {} bytes of workspace and needs {}",
        chosen[i].choice.kernel, chosen[i].planned_workspace,
        parts.kernels.back()->workspace_bytes(program.limits));
  }
  parts.weights = context.finish();
  parts.release = release_rows(rows, ledger, owner);
  auto executable = std::make_unique<CudaExecutable>(std::move(parts));
  draw_rows(rows, ledger, owner);
  executable->choose_tactics(tactics_, tactic_identity_);
  return executable;
}

}  // namespace

DeviceList devices() {
  DeviceList out;
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    cudaGetLastError();
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0)
      out.why = "no NVIDIA driver (libcuda.so.1 does not load)";
    else if (code == cudaErrorInsufficientDriver)
      out.why = fmt::format("the driver serves CUDA {}.{}, this build needs {}.{}", driver / 1000,
                            driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else
      out.why = fmt::format("{} ({})", cudaGetErrorString(code), cudaGetErrorName(code));
    return out;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) continue;
    if (10 * properties.major + properties.minor < kLeastCapability) {
      out.why = fmt::format("{} has compute capability {}.{}, at least 8.0 is needed",
                            properties.name, properties.major, properties.minor);
      break;  // indices stay those of the driver
    }
    out.names.emplace_back(properties.name);
  }
  if (out.names.empty() && out.why.empty()) out.why = "no device";
  return out;
}

std::unique_ptr<Backend> make_backend(const CudaOptions& options) {
  const DeviceList list = devices();
  TENON_CHECK(options.device >= 0 && options.device < static_cast<int>(list.names.size()),
              ErrorCode::kUnsupported, "CUDA device {} cannot be used: {}", options.device,
              list.names.empty() ? list.why : fmt::format("there are {}", list.names.size()));
  const DeviceGuard guard(options.device);
  return std::make_unique<CudaBackend>(options);
}

}  // namespace tenon::cuda
