// Prompts from --input_file: .txt (the whole file is one prompt), .jsonl (a prompt a line), .npy
// (token ids, a prompt a row), .csv (token ids, a prompt a line).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tenon::cli {

/// Either texts or ids.
struct Prompts {
  std::vector<std::string> texts;
  std::vector<std::vector<std::int32_t>> ids;
};

Prompts read_input_file(const std::filesystem::path& path);

}  // namespace tenon::cli
