// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace tenon::log {

bool enabled(std::string_view category) {
  static const std::string wanted = [] {
    const char* variable = std::getenv("TENON_LOG");
    return "," + std::string(variable == nullptr ? "" : variable) + ",";
  }();
  return wanted.find("," + std::string(category) + ",") != std::string::npos ||
         wanted.find(",all,") != std::string::npos;
}

void write(std::string_view category, std::string_view message) {
  const std::string line = fmt::format("[tenon {}] {}\n", category, message);
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call: lines of threads do not mix
}

}  // namespace tenon::log
