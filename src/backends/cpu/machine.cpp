// Reads /proc and the control groups (versions 1 and 2); a file that is missing sets no limit.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/machine.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

namespace tenon::cpu {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

std::int64_t read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value && value >= 0 ? value : kNoLimit;  // "max" is no number
}

// Kibibytes of a line such as "MemTotal:  16384 kB".
std::int64_t memory_info(const std::string& field) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(field + ":")) continue;
    std::int64_t value = 0;
    std::istringstream(line.substr(field.size() + 1)) >> value;
    return value * 1024;
  }
  return 0;
}

// A group is bound by every group above it as well.
void tighten(std::filesystem::path group, const std::filesystem::path& root, const char* limit,
             const char* usage, MachineMemory& memory) {
  for (;; group = group.parent_path()) {
    const std::int64_t most = read_number(group / limit);
    const std::int64_t used = read_number(group / usage);
    memory.total = std::min(memory.total, most);
    if (most != kNoLimit && used != kNoLimit)
      memory.free = std::min(memory.free, std::max<std::int64_t>(0, most - used));
    if (group == root || !group.has_relative_path()) return;
  }
}

}  // namespace

MachineMemory machine_memory() {
  MachineMemory memory{memory_info("MemTotal"), memory_info("MemAvailable")};
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "0::/path" or "5:memory:/path"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string relative = line.substr(std::min(line.size(), second + 2));
    const std::filesystem::path v2 = "/sys/fs/cgroup";
    const std::filesystem::path v1 = "/sys/fs/cgroup/memory";
    // Inside a container the path may be the host's; the mounted root is then the own group.
    const auto group = [&](const std::filesystem::path& root) {
      return relative.empty() || !std::filesystem::exists(root / relative) ? root : root / relative;
    };
    if (controllers.empty()) tighten(group(v2), v2, "memory.max", "memory.current", memory);
    if (controllers == "memory")
      tighten(group(v1), v1, "memory.limit_in_bytes", "memory.usage_in_bytes", memory);
  }
  return memory;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      const std::size_t at = line.find(": ");
      if (at != std::string::npos) return line.substr(at + 2);
    }
  return "unknown processor";
}

}  // namespace tenon::cpu
