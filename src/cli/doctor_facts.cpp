// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor_facts.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "api/engine_cache.h"
#include "backends/cpu/cpu_features.h"
#include "backends/cpu/machine.h"
#include "core/thread_pool.h"
#include "engine/backend_factory.h"
#include "tenon/error.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The line's value after "KEY:", without the blanks before it.
std::string field(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key + ":")) continue;
    const std::size_t at = line.find_first_not_of(" \t", key.size() + 1);
    return at == line.npos ? "" : line.substr(at);
  }
  return "";
}

std::int64_t number(const std::string& text) {
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

ProcessorFacts find_processor() {
  ProcessorFacts facts;
  const cpu::CpuFeatures features = cpu::CpuFeatures::detect();
  facts.name = cpu::processor_name();
  facts.isa = features.describe();
  facts.vectors = features.isa >= cpu::Isa::kAvx2;
  facts.logical = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  facts.allowed =
      sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : facts.logical;
  facts.physical = static_cast<int>(physical_cores().size());
  facts.quota = cpu_quota();
  return facts;
}

MemoryFacts find_memory() {
  MemoryFacts facts;
  facts.total = number(field("/proc/meminfo", "MemTotal")) * 1024;
  facts.available = number(field("/proc/meminfo", "MemAvailable")) * 1024;
  const cpu::MachineMemory within = cpu::machine_memory();
  facts.limit = within.total;
  facts.free_within_limit = within.free;
  facts.reserved_huge_pages = number(field("/proc/meminfo", "HugePages_Total"));
  // "always [madvise] never": the brackets stand around what is set.
  const std::string modes = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const std::size_t begin = modes.find('[');
  const std::size_t end = modes.find(']');
  if (begin != modes.npos && end != modes.npos && begin < end)
    facts.transparent_huge_pages = modes.substr(begin + 1, end - begin - 1);
  return facts;
}

GpuFacts find_gpus() {
  GpuFacts facts;
  facts.driver = first_line("/proc/driver/nvidia/version");
  std::error_code ignored;
  for (const auto& gpu : fs::directory_iterator("/proc/driver/nvidia/gpus", ignored))
    facts.models.push_back(field(gpu.path() / "information", "Model"));
  for (const auto& device : fs::directory_iterator("/dev", ignored)) {
    const std::string name = device.path().filename().string();
    if (name.starts_with("nvidia") && name.size() > 6 &&
        std::all_of(name.begin() + 6, name.end(), [](char c) { return c >= '0' && c <= '9'; }))
      facts.devices.push_back(device.path().string());
  }
  std::sort(facts.devices.begin(), facts.devices.end());
  if (void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    facts.library = true;
    using GetVersion = int (*)(int*);
    if (const auto get = reinterpret_cast<GetVersion>(dlsym(library, "cuDriverGetVersion")))
      if (get(&facts.cuda_version) != 0) facts.cuda_version = 0;
    dlclose(library);
  }
  const UsableGpus usable = usable_gpus();
  facts.usable = usable.names;
  facts.unusable = usable.why;
  return facts;
}

CacheFacts find_cache() {
  CacheFacts facts;
  try {
    facts.folder = cache_folder().string();
    for (const CachedEngine& engine : list_cached_engines()) {
      ++facts.engines;
      facts.bytes += engine.bytes;
    }
  } catch (const Error& error) {
    facts.problem = error.what();
    return facts;
  }
  // It is made when first needed: what counts until then is the nearest folder above it.
  fs::path there = fs::absolute(facts.folder);
  std::error_code error;
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  facts.writable = fs::is_directory(there, error) && access(there.c_str(), W_OK | X_OK) == 0;
  const fs::space_info space = fs::space(there, error);
  if (!error) facts.disk_free = static_cast<std::int64_t>(space.available);
  return facts;
}

}  // namespace

MachineFacts find_machine_facts() {
  MachineFacts facts;
  facts.processor = find_processor();
  facts.memory = find_memory();
  facts.gpu = find_gpus();
  facts.cache = find_cache();
  facts.threads = available_cores();
  return facts;
}

}  // namespace tenon::cli
