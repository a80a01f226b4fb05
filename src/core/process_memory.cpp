// SPDX-License-Identifier: Apache-2.0
#include "core/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <sstream>
#include <string>

namespace tenon {

std::int64_t anonymous_memory() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("RssAnon:")) continue;
    std::int64_t kibibytes = 0;
    std::istringstream(line.substr(8)) >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

void give_back_free_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace tenon
