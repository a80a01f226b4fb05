// Runs the real program as a user does, each test in a folder and with a cache of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "tenon/error.h"

namespace tenon::test {

namespace fs = std::filesystem;

struct Result {
  int code = -1;  ///< exit code; -1 where a signal ended it
  int signal = 0;
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest();
  ~CliTest() override;

  /// Waits for its end. `input` is standard input.
  Result run(const std::vector<std::string>& arguments, const std::string& input = "") const;
  /// Runs beside the test, until finish().
  struct Started {
    pid_t process = 0;
    std::string out_file, err_file;
  };
  Started start(const std::vector<std::string>& arguments, const std::string& input = "",
                const std::string& out_file = "") const;
  static Result finish(const Started& started);
  /// As run(), with standard output in `file`; Result::out stays empty.
  Result run_into(const std::string& file, const std::vector<std::string>& arguments,
                  const std::string& input = "") const;

  /// As run(), and expects exit code 0.
  std::string out_of(const std::vector<std::string>& arguments,
                     const std::string& input = "") const;
  Json json_of(const std::vector<std::string>& arguments) const;

  /// A path in the test's own folder.
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& content) const;
  /// An engine of the small text model, in folder `name`.
  std::string build_engine(const std::string& name = "engine") const;

  fs::path folder_;
  std::map<std::string, std::string> environment_;
};

/// The small model with a tokenizer and a chat template.
std::string text_model();
std::string data_file(const std::string& name);

/// "[0.0] a\n" and the like, without trailing newlines.
std::string trimmed(std::string text);

}  // namespace tenon::test
