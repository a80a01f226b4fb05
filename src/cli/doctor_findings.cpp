// What the facts mean: each finding with a remedy.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/doctor_facts.h"
#include "core/ledger.h"

namespace tenon::cli {
namespace {

constexpr std::int64_t kGib = std::int64_t{1} << 30;
constexpr std::int64_t kLittleMemory = kGib;
constexpr std::int64_t kLittleDisk = 2 * kGib;

void judge_processor(const ProcessorFacts& cpu, std::vector<Finding>& findings) {
  if (!cpu.vectors)
    findings.push_back({true, "the processor has no AVX2 with FMA: everything will be slow",
                        "use a machine of 2015 or later; in a virtual machine, pass the host's "
                        "processor through (qemu: -cpu host)"});
  if (cpu.allowed < cpu.logical)
    findings.push_back(
        {false, fmt::format("this process may use {} of {} processors", cpu.allowed, cpu.logical),
         "if that is not wanted: look at taskset, docker --cpuset-cpus, the batch "
         "system"});
  if (cpu.quota > 0 && cpu.quota < cpu.physical)
    findings.push_back(
        {cpu.quota < 1,
         fmt::format("the container grants {:.2f} of {} cores' time", cpu.quota, cpu.physical),
         "raise the limit (docker --cpus, Kubernetes resources.limits.cpu)"});
}

void judge_memory(const MemoryFacts& memory, std::vector<Finding>& findings) {
  if (memory.free_within_limit < kLittleMemory)
    findings.push_back(
        {true, fmt::format("only {} of memory are free", format_bytes(memory.free_within_limit)),
         "end what is not needed, raise the container's limit, or take a smaller "
         "model, --max_batch_size or --max_seq_len"});
  if (memory.limit < memory.total)
    findings.push_back({false,
                        fmt::format("the container may use {} of {} of memory",
                                    format_bytes(memory.limit), format_bytes(memory.total)),
                        "raise the limit (docker --memory, Kubernetes resources.limits.memory) for "
                        "larger models"});
  if (memory.transparent_huge_pages == "never")
    findings.push_back({false, "transparent huge pages are off: weights are read a little slower",
                        "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"});
}

void judge_gpus(const GpuFacts& gpu, std::vector<Finding>& findings) {
  if (!gpu.devices.empty() || !gpu.models.empty()) {
    if (gpu.usable.empty())
      findings.push_back({false, fmt::format("there are GPUs, but none is used: {}", gpu.unusable),
                          "models run on the processor; build with nvcc (TENON_CUDA=ON), and "
                          "install a driver that is not older than it"});
    if (gpu.driver.empty() || !gpu.library)
      findings.push_back({false,
                          gpu.driver.empty() ? "the GPUs have no driver in the kernel"
                                             : "the driver's library libcuda.so.1 does not load",
                          "install the NVIDIA driver; in a container, start it with --gpus all"});
  } else if (!gpu.driver.empty()) {
    findings.push_back({false, "an NVIDIA driver is loaded, but no /dev/nvidia* is visible here",
                        "in a container, start it with --gpus all"});
  }
}

void judge_cache(const CacheFacts& cache, std::vector<Finding>& findings) {
  if (!cache.problem.empty()) {
    findings.push_back({true, cache.problem, "export TENON_CACHE_DIR=/a/folder/you/may/write/to"});
    return;
  }
  if (!cache.writable)
    findings.push_back({true, fmt::format("{}: the cache folder cannot be written", cache.folder),
                        "export TENON_CACHE_DIR=/a/folder/you/may/write/to, or run with "
                        "--no_cache"});
  else if (cache.disk_free < kLittleDisk)
    findings.push_back(
        {true,
         fmt::format("{}: only {} free on its disk", cache.folder, format_bytes(cache.disk_free)),
         cache.bytes > 0 ? "tenon cache --clear, or TENON_CACHE_DIR on another disk"
                         : "free some space, or TENON_CACHE_DIR on another disk"});
}

}  // namespace

std::vector<Finding> judge(const MachineFacts& facts) {
  std::vector<Finding> findings;
  judge_processor(facts.processor, findings);
  judge_memory(facts.memory, findings);
  judge_gpus(facts.gpu, findings);
  judge_cache(facts.cache, findings);
  return findings;
}

}  // namespace tenon::cli
