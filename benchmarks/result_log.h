// ResultLog: a benchmark's figures as JSON beside its printed table, for tools/bench_results.py.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/json.h"

namespace tenon::bench {

class ResultLog {
 public:
  /// Takes `--json FILE` out of the arguments; without it nothing is written.
  ResultLog(int& argc, char** argv);

  void set_device(std::string_view name) { json_.set("device", std::string(name)); }
  /// Figures of one case; the unit is the end of a figure's name ("median_us").
  void add(const std::string& name, std::initializer_list<std::pair<const char*, double>> figures);
  /// Throws Error{kIo} where the file cannot be written.
  void write() const;

 private:
  std::string path_;
  Json json_ = Json::object();
  Json cases_ = Json::object();
};

}  // namespace tenon::bench
