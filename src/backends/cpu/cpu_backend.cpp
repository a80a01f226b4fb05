// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_backend.h"

#include <algorithm>

#include "backends/cpu/cpu_executable.h"
#include "backends/cpu/kernel_choice.h"
#include "backends/cpu/machine.h"
#include "backends/kernel_report.h"
#include "backends/loading.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : pool_(std::make_shared<ThreadPool>(ThreadPool::Options{
            .threads = options.threads, .pin = options.pin, .cores = options.cores})) {
    const MachineMemory memory = machine_memory();
    properties_ = {.kind = "cpu",
                   .name = processor_name(),
                   .features = CpuFeatures::detect().describe(),
                   .memory_bytes = memory.total,
                   .free_bytes = memory.free,
                   .cores = pool_->size()};
  }

  const DeviceProperties& properties() const override { return properties_; }

  std::vector<std::string> fusions() const override {
    return {"fuse_add_norm",         "merge_linears", "fuse_gated_linear",
            "fuse_rope_cache_write", "fold_scales",   "remove_dead_nodes"};
  }

  KernelChoice choose(const ProgramDescription& program, const ProgramNode& node) const override {
    return choose_kernel(program, node, CpuFeatures::detect(program.policy.max_isa), pool_->size())
        .choice;
  }

  void plan(const ProgramDescription& program, Ledger& ledger,
            std::string_view owner) const override {
    plan_rows(rows_of(program, choose_all(program)), ledger, owner);
  }

  std::unique_ptr<Executable> load(const ProgramDescription& program, const WeightLoader& weights,
                                   Communicator* communicator, Ledger& ledger,
                                   std::string_view owner) override;

 private:
  std::vector<ChosenKernel> choose_all(const ProgramDescription& program) const {
    const CpuFeatures features = CpuFeatures::detect(program.policy.max_isa);
    std::vector<ChosenKernel> out;
    out.reserve(program.nodes.size());
    for (const ProgramNode& node : program.nodes)
      out.push_back(choose_kernel(program, node, features, pool_->size()));
    return out;
  }

  std::vector<MemoryRow> rows_of(const ProgramDescription& program,
                                 std::span<const ChosenKernel> chosen) const {
    std::int64_t packed = 0;
    std::int64_t workspace = 0;
    for (const ChosenKernel& kernel : chosen) {
      packed += kernel.planned_bytes;
      workspace = std::max(workspace, kernel.planned_workspace);
    }
    std::vector<MemoryRow> rows = {
        {MemoryKind::kWeights, "packed weights", packed},
        {MemoryKind::kCache, "cache", PagedCache::bytes(program.cache)},
        {MemoryKind::kWorkspace, "activations", CpuExecutable::activation_bytes(program)},
        {MemoryKind::kWorkspace, "kernel workspace",
         workspace + RopeTables::bytes(program.nodes, program.limits)},
        {MemoryKind::kLogits, "sampler", CpuExecutable::sampler_bytes(program, pool_->size())}};
    if (const std::int64_t swapped = PagedCache::swapped_bytes(program.cache))
      rows.push_back({MemoryKind::kHost, "swapped cache", swapped});
    return rows;
  }

  std::shared_ptr<ThreadPool> pool_;
  DeviceProperties properties_;
};

std::unique_ptr<Executable> CpuBackend::load(const ProgramDescription& program,
                                             const WeightLoader& weights,
                                             Communicator* communicator, Ledger& ledger,
                                             std::string_view owner) {
  CpuExecutable::Parts parts{.program = program, .pool = pool_, .communicator = communicator};
  // Kernels keep references to the ops of the executable's own copy.
  const std::vector<ChosenKernel> chosen = choose_all(parts.program);
  std::vector<MemoryRow> rows = rows_of(program, chosen);
  for (const ChosenKernel& kernel : chosen) parts.choices.push_back(kernel.choice);
  log_choices(program, parts.choices);

  std::int64_t packed = 0;
  std::int64_t workspace = 0;
  LoadedWeights loader(program, weights);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    parts.kernels.push_back(chosen[i].make(loader.of(program.nodes[i]), *pool_));
    packed += parts.kernels.back()->packed_bytes();
    workspace =
        std::max(workspace, parts.kernels.back()->workspace_bytes(program.limits, pool_->size()));
  }
  parts.workspace_bytes = workspace;
  rows[0].bytes = packed;
  rows[3].bytes = workspace + RopeTables::bytes(program.nodes, program.limits);
  draw_rows(rows, ledger, owner);
  parts.release = release_rows(std::move(rows), ledger, owner);
  return std::make_unique<CpuExecutable>(std::move(parts));
}

}  // namespace

std::unique_ptr<Backend> make_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace tenon::cpu
