// Tactics: which of several ways to do the same work is fastest on this device. Measured once, kept
// in a file. Pure: the device and its clock are the caller's (TacticTimer).
//
// Never wrong, only slower: a name counts only where it is among the candidates of the problem at
// hand, and the first candidate is what is done where nothing is known.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon {

enum class TacticMode : std::uint8_t {
  kOff,      ///< nothing is measured or read: the first candidates
  kAuto,     ///< what the file does not know is measured
  kRefresh,  ///< everything is measured again
};

struct TacticOptions {
  TacticMode mode = TacticMode::kOff;
  /// Folders of files, in order: the first that has a good one is read, the first that takes one
  /// keeps what was measured. Empty: nothing is kept, and only kRefresh measures.
  std::vector<std::string> folders;
  double seconds = 5;  ///< no measuring begins later; what is left waits for the next load
};

/// What measured figures hold for: those of another device, library or version are not used.
struct TacticIdentity {
  std::string device;     ///< "NVIDIA H200 sm_90 132 multiprocessors"
  std::string libraries;  ///< "cuBLASLt 13.1.0, driver 13.0"

  /// "nvidia_h200_sm_90_132_multiprocessors.json": one file a device.
  std::string file_name() const;
};

/// Ways to do one piece of work.
struct TacticProblem {
  std::string work;       ///< kernel, shapes, types
  std::int64_t rows = 0;  ///< largest number of rows that it stands for
  std::vector<std::string> candidates;
};

struct Tactic {
  std::string name;
  double microseconds = 0;
  double default_microseconds = 0;  ///< of the first candidate
  bool operator==(const Tactic&) const = default;
};

/// By work and rows.
using TacticTable = std::map<std::pair<std::string, std::int64_t>, Tactic>;

/// Text of the file. parse_tactics() throws Error{kCorrupt} for damage, Error{kUnsupported} for a
/// file of another identity, Tenon or version; `where` names it.
std::string print_tactics(const TacticTable& table, const TacticIdentity& identity);
TacticTable parse_tactics(std::string_view text, std::string_view where,
                          const TacticIdentity& identity);

/// Of the first folder whose file is good; the others' faults are a log line each.
TacticTable load_tactics(const TacticOptions& options, const TacticIdentity& identity);
/// Adds `table` to what the file holds, in the first folder that can be written. Where none can, a
/// log line says so.
void keep_tactics(const TacticOptions& options, const TacticIdentity& identity,
                  const TacticTable& table);

/// The measuring seat.
class TacticTimer {
 public:
  virtual ~TacticTimer() = default;
  /// Microseconds that `candidate` takes. Throws where it does not run after all.
  virtual double measure(const TacticProblem& problem, std::size_t candidate) = 0;
  /// Seconds since some moment.
  virtual double now() = 0;
};

struct TacticSearch {
  std::vector<std::size_t> chosen;  ///< a candidate's index, one a problem
  TacticTable measured;             ///< what was found now, to be kept
  int known = 0;                    ///< problems that the table answered
  int left = 0;                     ///< that the time did not reach
  double seconds = 0;
};

/// Measures what `known` does not answer. The first candidate is left for another that is faster by
/// more than kTacticMargin.
TacticSearch choose_tactics(std::span<const TacticProblem> problems, const TacticTable& known,
                            TacticTimer& timer, double seconds);

inline constexpr double kTacticMargin = 0.03;

}  // namespace tenon
