// What users hand to the command line: --input_file of each kind, and a saved conversation. The
// first byte says which, the rest is the file.
// SPDX-License-Identifier: Apache-2.0
#include "cli/input_file.h"

#include "cli/chat_session.h"
#include "fuzz_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static tenon::FuzzDirectory directory;
  constexpr const char* kNames[] = {"a.jsonl", "a.csv", "a.npy", "a.txt", "chat.json"};
  if (size == 0) return 0;
  const std::size_t kind = data[0] % std::size(kNames);
  directory.clear();
  directory.write(kNames[kind], tenon::FuzzInput{data + 1, size - 1}.text());
  const std::filesystem::path path = directory.path() / kNames[kind];
  return tenon::fuzz([&] {
    if (kind == 4) {
      tenon::cli::read_conversation(path);
      return;
    }
    const tenon::cli::Prompts prompts = tenon::cli::read_input_file(path);
    if (prompts.texts.empty() == prompts.ids.empty()) std::abort();
    for (const auto& row : prompts.ids)
      for (const std::int32_t id : row)
        if (id < 0) std::abort();
  });
}
