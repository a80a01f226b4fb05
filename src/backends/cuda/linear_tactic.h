// The ways in which a linear kernel can multiply, and which of them a node takes for how many rows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::cuda {

class CublasLt;  // cublaslt.h

/// One way. Its text: "stream", "cublaslt", "joined 1f0c…".
struct LinearTactic {
  enum class Route : std::uint8_t {
    kStream,    ///< the own kernel that streams the matrix
    kWidening,  ///< the own kernel for more rows that widens codes on their way (Hopper)
    kProducts,  ///< cuBLASLt, a product a segment
    kJoined,    ///< cuBLASLt, one product of all segments to workspace, then a launch that parts it
    kSums,      ///< cuBLASLt, one product of fp8 codes to fp32 sums, which a launch after scales
  };
  Route route = Route::kStream;
  std::uint64_t algorithm = 0;  ///< CublasLt::algorithms(); 0: the library's first

  std::string text() const;
  bool operator==(const LinearTactic&) const = default;
};

/// A step's rows are looked up under the next power of two.
constexpr std::int64_t tactic_rows(std::int64_t rows) {
  std::int64_t up = 1;
  while (up < rows) up *= 2;
  return up;
}

/// A kernel with several ways to do its work, for any number of rows that is asked for.
class TunableKernel {
 public:
  virtual ~TunableKernel() = default;
  /// Ways that serve up to `rows` rows (of tactic_rows()) within the workspace that was planned;
  /// first the one that is taken until another is set. `blas` may be null.
  virtual std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const = 0;
  /// For steps whose tactic_rows() are `rows`.
  virtual void set_tactic(std::int64_t rows, const LinearTactic& tactic) = 0;
};

/// What was set, by rows.
class TacticsByRows {
 public:
  void set(std::int64_t rows, const LinearTactic& tactic);
  /// Null where nothing was set.
  const LinearTactic* find(std::int64_t rows) const;

 private:
  struct Entry {
    bool set = false;
    LinearTactic tactic;
  };
  std::array<Entry, 32> entries_{};  // by log2 of tactic_rows()
};

}  // namespace tenon::cuda
