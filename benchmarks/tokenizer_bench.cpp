// Encoding and decoding speed of a tokenizer on a text: MB of text per second of CPU time.
// A plain program: tokenizer_bench DIRECTORY-or-tokenizer.json TEXT…; tools/bench_tokenizers.py
// prints the same for Hugging Face's tokenizers on one thread.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "core/file.h"
#include "tenon/error.h"
#include "text/tokenizer.h"

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The best of five runs.
template <class Work>
double best_of_five(const Work& work) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double begin = cpu_seconds();
    work();
    best = std::min(best, cpu_seconds() - begin);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: tokenizer_bench DIRECTORY-or-tokenizer.json TEXT...\n");
    return 2;
  }
  try {
    const std::filesystem::path path = argv[1];
    const double begin = cpu_seconds();
    const auto tokenizer = std::filesystem::is_directory(path)
                               ? tenon::Tokenizer::load_directory(path)
                               : tenon::Tokenizer::from_json(tenon::read_file(path), path.string());
    fmt::print("load {:.3f} s\n", cpu_seconds() - begin);
    for (int i = 2; i < argc; ++i) {
      const std::string text = tenon::read_file(argv[i]);
      std::vector<std::int32_t> ids;
      const double encode = best_of_five([&] { ids = tokenizer->encode(text, false); });
      std::size_t decoded = 0;
      const double decode = best_of_five([&] { decoded = tokenizer->decode(ids, false).size(); });
      fmt::print("{}: {} bytes, {} ids, encode {:.1f} MB/s, decode {:.1f} MB/s\n", argv[i],
                 text.size(), ids.size(), static_cast<double>(text.size()) / encode / 1e6,
                 static_cast<double>(decoded) / decode / 1e6);
    }
  } catch (const tenon::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
