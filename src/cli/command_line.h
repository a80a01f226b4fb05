// CommandLine: the flags of one subcommand. The parser behind it is CLI11's; unknown flags name the
// nearest known one, "--a-b" means "--a_b", and flags whose meaning arrives later are refused.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tenon::cli {

class CommandLine {
 public:
  /// `usage` is the text above the list of flags in --help.
  CommandLine(std::string name, std::string usage);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Each flag stands under "--name", or under several with commas between; `help` says what it does
  // and its default.
  /// "--a,!--no_a": the one with a mark sets false.
  void flag(const std::string& name, bool& value, const std::string& help);
  void option(const std::string& name, std::string& value, const std::string& help);
  void option(const std::string& name, std::int64_t& value, const std::string& help);
  void option(const std::string& name, int& value, const std::string& help);
  void option(const std::string& name, double& value, const std::string& help);
  void option(const std::string& name, std::optional<std::int64_t>& value, const std::string& help);
  void option(const std::string& name, std::optional<double>& value, const std::string& help);
  /// Several values, also by repeating the flag.
  void option(const std::string& name, std::vector<std::string>& value, const std::string& help);
  void positional(const std::string& name, std::string& value, const std::string& help);
  void required(const std::string& name);
  /// Headline of the flags that follow in --help.
  void group(const std::string& title);
  /// A flag of TensorRT-LLM's that this version does not have: given, it is an error saying so.
  void unsupported(const std::string& name);
  /// Text below the flags in --help.
  void footer(const std::string& text);

  /// False where --help was asked for and printed. Throws Error{kInvalidArgument}.
  bool parse(const std::vector<std::string>& arguments);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon::cli
