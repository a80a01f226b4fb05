// What `doctor` finds on this machine, and what is wrong with it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::cli {

struct ProcessorFacts {
  std::string name;
  std::string isa;       ///< "amx vnni bf16": what Tenon's kernels may use
  bool vectors = false;  ///< AVX2 at least
  int logical = 0;       ///< of the machine
  int allowed = 0;       ///< logical ones in this process's affinity mask
  int physical = 0;      ///< physical cores among those
  double quota = 0;      ///< cores' worth of time the control group grants; 0: no limit
};

struct MemoryFacts {
  std::int64_t total = 0;
  std::int64_t available = 0;
  std::int64_t limit = 0;  ///< total, or the control group's limit where it is less
  std::int64_t free_within_limit = 0;
  std::string transparent_huge_pages;  ///< "always", "madvise", "never"; empty: the kernel has none
  std::int64_t reserved_huge_pages = 0;
};

struct GpuFacts {
  std::string driver;                ///< version line; empty: no driver
  std::vector<std::string> models;   ///< as the driver names them
  std::vector<std::string> devices;  ///< "/dev/nvidia0"
  bool library = false;              ///< libcuda.so.1 loads
  int cuda_version = 0;              ///< 12040: 12.4
  std::vector<std::string> usable;   ///< by this build, by index
  std::string unusable;              ///< why there are none of these
};

struct CacheFacts {
  std::string folder;   ///< empty: there is no place for one
  std::string problem;  ///< why it has no place
  bool writable = false;
  std::int64_t engines = 0;
  std::int64_t bytes = 0;
  std::int64_t disk_free = 0;
};

struct MachineFacts {
  ProcessorFacts processor;
  MemoryFacts memory;
  GpuFacts gpu;
  CacheFacts cache;
  int threads = 0;  ///< that Tenon starts unless told otherwise
};

MachineFacts find_machine_facts();

struct Finding {
  bool warning = false;  ///< else worth knowing
  std::string what;
  std::string remedy;
};

/// What is wrong, and what to do about it. Depends on the facts alone.
std::vector<Finding> judge(const MachineFacts& facts);

}  // namespace tenon::cli
