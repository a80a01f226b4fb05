// An Aho-Corasick automaton over bytes. The depth of its state is the length of text that may
// still belong to a stop string, hence what must be held back.
// SPDX-License-Identifier: Apache-2.0
#include "text/stop_strings.h"

#include <deque>
#include <map>

#include "core/check.h"

namespace tenon {

struct StopStrings::Automaton {
  struct Node {
    std::map<unsigned char, std::uint32_t> next;
    std::uint32_t fail = 0;  ///< the longest proper end of this text that begins a stop
    std::uint32_t depth = 0;
    std::int64_t stop = -1;    ///< the stop that is complete here
    std::uint32_t output = 0;  ///< the longest end of this text, or itself, that is a stop; 0: none
  };
  std::vector<Node> nodes{1};
  std::vector<std::string> stops;

  explicit Automaton(std::vector<std::string> strings);
  void insert(std::string_view stop, std::size_t index);
  void link();
  std::uint32_t follow(std::uint32_t state, unsigned char byte) const;
};

StopStrings::Automaton::Automaton(std::vector<std::string> strings) : stops(std::move(strings)) {
  for (std::size_t i = 0; i < stops.size(); ++i) {
    TENON_CHECK(!stops[i].empty(), ErrorCode::kInvalidArgument,
                "[stop strings] stop string {}: expected at least one character, got none", i);
    insert(stops[i], i);
  }
  link();
}

void StopStrings::Automaton::insert(std::string_view stop, std::size_t index) {
  std::uint32_t state = 0;
  for (const char c : stop) {
    const auto fresh = static_cast<std::uint32_t>(nodes.size());
    const auto [place, added] = nodes[state].next.emplace(static_cast<unsigned char>(c), fresh);
    const std::uint32_t target = place->second;
    if (added) {
      const std::uint32_t depth = nodes[state].depth + 1;
      nodes.emplace_back().depth = depth;
    }
    state = target;
  }
  if (nodes[state].stop < 0) nodes[state].stop = static_cast<std::int64_t>(index);
}

void StopStrings::Automaton::link() {
  std::deque<std::uint32_t> queue{0};
  while (!queue.empty()) {
    const std::uint32_t at = queue.front();
    queue.pop_front();
    for (const auto& [byte, child] : nodes[at].next) {
      Node& node = nodes[child];
      node.fail = at == 0 ? 0 : follow(nodes[at].fail, byte);
      node.output = node.stop >= 0 ? child : nodes[node.fail].output;
      queue.push_back(child);
    }
  }
}

std::uint32_t StopStrings::Automaton::follow(std::uint32_t state, unsigned char byte) const {
  for (;; state = nodes[state].fail) {
    const auto found = nodes[state].next.find(byte);
    if (found != nodes[state].next.end()) return found->second;
    if (state == 0) return 0;
  }
}

StopStrings::StopStrings(std::vector<std::string> stops, bool include_stop)
    : automaton_(std::make_shared<const Automaton>(std::move(stops))),
      include_stop_(include_stop) {}

/// Moves over one byte, already at the end of held_.
void StopStrings::step(unsigned char byte) {
  const auto& nodes = automaton_->nodes;
  state_ = automaton_->follow(state_, byte);
  const std::size_t end = held_.size();
  // Of the stops that end here only the longest begins first.
  if (const std::uint32_t output = nodes[state_].output; output != 0) {
    const std::size_t begin = end - nodes[output].depth;
    if (!candidate_.has_value() || begin < candidate_begin_) {
      candidate_ = static_cast<std::size_t>(nodes[output].stop);
      candidate_begin_ = begin;
    }
  }
  // A stop that begins before the candidate may still complete: only while the automaton is
  // inside a text that begins there.
  if (candidate_.has_value() && end - nodes[state_].depth >= candidate_begin_) finish_match();
}

void StopStrings::finish_match() {
  matched_ = candidate_;
  const std::size_t length = automaton_->stops[*matched_].size();
  held_.resize(candidate_begin_ + (include_stop_ ? length : 0));
}

StopStrings::Result StopStrings::push(std::string_view delta) {
  Result result;
  if (matched_.has_value()) {
    result.stopped = true;
    return result;
  }
  for (const char c : delta) {
    held_ += c;
    step(static_cast<unsigned char>(c));
    if (matched_.has_value()) {
      result.text = std::move(held_);
      held_.clear();
      result.stopped = true;
      return result;
    }
  }
  const std::size_t kept = automaton_->nodes[state_].depth;
  const std::size_t given = held_.size() - kept;
  result.text = held_.substr(0, given);
  held_.erase(0, given);
  candidate_begin_ -= candidate_.has_value() ? given : 0;
  return result;
}

StopStrings::Result StopStrings::flush() {
  Result result;
  if (!matched_.has_value() && candidate_.has_value()) finish_match();
  result.stopped = matched_.has_value();
  result.text = std::move(held_);
  held_.clear();
  state_ = 0;
  candidate_.reset();
  return result;
}

}  // namespace tenon
