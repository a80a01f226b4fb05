// The memory ledger of one device: every row is planned before anything is loaded and then drawn
// from, so that the plan is the truth. Rows that we own are exact; host and foreign ones are
// predictions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

enum class MemoryKind {
  kWeights,
  kWeightCopies,
  kCache,
  kWorkspace,
  kLogits,
  kCommunication,
  kHost,
  kForeign
};

const char* to_string(MemoryKind kind) noexcept;

class Ledger {
 public:
  struct Row {
    MemoryKind kind;
    std::string name;  ///< "rank 0: packed weights"
    std::int64_t planned = 0;
    std::int64_t drawn = 0;
  };

  explicit Ledger(std::string device, std::int64_t limit_bytes = 0 /* 0: none */)
      : device_(std::move(device)), limit_(limit_bytes) {}

  /// Plans `bytes` more under (kind, name). Throws Error{kResourceExhausted} with the whole ledger
  /// where the sum of all planned rows passes the limit.
  void plan(MemoryKind kind, std::string_view name, std::int64_t bytes);
  /// Throws that error where the sum passes the limit: for who plans everything first, so that the
  /// error shows the whole ledger.
  void check() const;
  /// Records that `bytes` (negative: given back) were taken.
  void draw(MemoryKind kind, std::string_view name, std::int64_t bytes);

  /// For who learns the limit after the ledger was made, or plans everything before it counts.
  void set_limit(std::int64_t bytes) { limit_ = bytes; }

  const std::string& device() const { return device_; }
  std::int64_t limit() const { return limit_; }
  std::int64_t planned() const;
  std::int64_t drawn() const;
  std::vector<Row> rows() const;
  /// A table, one row a line, with the sums.
  std::string print() const;

 private:
  Row& row(MemoryKind kind, std::string_view name);

  std::string device_;
  std::int64_t limit_;
  mutable std::mutex mutex_;
  std::vector<Row> rows_;
};

/// "1.25 GiB", "17.0 MiB", "512 B"
std::string format_bytes(std::int64_t bytes);

}  // namespace tenon
