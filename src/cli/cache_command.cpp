// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "api/engine_cache.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "core/ledger.h"

namespace tenon::cli {

int cache_command(const Arguments& arguments) {
  bool clear = false;
  std::string remove;
  CommandLine line("cache",
                   "Shows the engines that `run` and `chat` made on the way, or removes them. They "
                   "lie in $TENON_CACHE_DIR, else ~/.cache/tenon; $TENON_CACHE_MAX_GIB (50) caps "
                   "their size, least recently used first to go.");
  line.flag("--clear", clear, "remove them all");
  line.option("--remove", remove, "remove the one of this key");
  if (!line.parse(arguments)) return 0;

  if (clear || !remove.empty()) {
    std::printf("freed %s\n", format_bytes(clear_cache(remove)).c_str());
    return 0;
  }
  std::printf("%s\n", cache_folder().c_str());
  std::int64_t total = 0;
  for (const CachedEngine& engine : list_cached_engines()) {
    total += engine.bytes;
    std::printf("  %s  %10s  %s\n", engine.key.c_str(), format_bytes(engine.bytes).c_str(),
                engine.made_of.c_str());
  }
  std::printf("  in all %s\n", format_bytes(total).c_str());
  return 0;
}

}  // namespace tenon::cli
