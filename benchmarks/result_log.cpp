// SPDX-License-Identifier: Apache-2.0
#include "result_log.h"

#include <fstream>

#include "core/check.h"

namespace tenon::bench {

ResultLog::ResultLog(int& argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) != "--json") continue;
    path_ = argv[i + 1];
    for (int rest = i; rest + 2 <= argc; ++rest) argv[rest] = argv[rest + 2];
    argc -= 2;
    return;
  }
}

void ResultLog::add(const std::string& name,
                    std::initializer_list<std::pair<const char*, double>> figures) {
  Json row = Json::object();
  for (const auto& [figure, value] : figures) row.set(figure, value);
  cases_.set(name, std::move(row));
}

void ResultLog::write() const {
  if (path_.empty()) return;
  Json all = json_;
  all.set("cases", cases_);
  std::ofstream file(path_);
  file << all.dump(2) << "\n";
  file.flush();
  TENON_CHECK(file.good(), ErrorCode::kIo, "{}: cannot be written", path_);
}

}  // namespace tenon::bench
