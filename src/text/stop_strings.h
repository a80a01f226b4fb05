// Stop strings in streamed text: matched across the borders of tokens, in linear time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

/// Follows one stream of text. What might still become a stop string is held back; everything
/// else is given out at once. The stop that begins first wins; of those that begin at the same
/// place the one that is complete first (the shortest).
class StopStrings {
 public:
  /// Empty strings among `stops` are an Error{kInvalidArgument}. With `include_stop` the stop
  /// string itself is part of the text.
  explicit StopStrings(std::vector<std::string> stops, bool include_stop = false);

  struct Result {
    std::string text;      ///< may be shown now
    bool stopped = false;  ///< a stop string was found: nothing follows
  };

  /// Takes the next piece of the stream. After a stop it gives nothing.
  Result push(std::string_view delta);

  /// The end of the stream: gives out what was held back.
  Result flush();

  /// Which of the stop strings was found.
  std::optional<std::size_t> matched() const { return matched_; }

 private:
  struct Automaton;
  void step(unsigned char byte);
  void finish_match();

  std::shared_ptr<const Automaton> automaton_;
  bool include_stop_;
  std::string held_;         ///< text not given out yet
  std::uint32_t state_ = 0;  ///< of the automaton: the longest end of the text that begins a stop
  std::optional<std::size_t> matched_;
  std::optional<std::size_t> candidate_;  ///< a complete stop, while an earlier one may complete
  std::size_t candidate_begin_ = 0;       ///< its place in held_
};

}  // namespace tenon
