// LineReader: lines from a person (edited by libedit, with a history file) or from a script
// (plain).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace tenon::cli {

class LineReader {
 public:
  enum class Event {
    kLine,
    kEnd,          ///< end of input, Ctrl-D
    kInterrupted,  ///< Ctrl-C (needs a living InterruptGuard)
  };

  /// `history`: file that keeps the lines of a person; empty: none is kept.
  explicit LineReader(const std::filesystem::path& history);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// True where a person sits at a terminal.
  bool interactive() const { return editor_ != nullptr; }

  /// The next line without its end. A line that ends in "\" goes on in the next.
  Event read(std::string& line);

 private:
  struct Editor;
  Event read_piece(std::string& piece, bool continued);

  std::unique_ptr<Editor> editor_;
};

}  // namespace tenon::cli
