// An interpreter of just the pickle opcodes that saved weights need. It builds plain nodes and runs
// nothing: calls go to a PickleHost, which knows a closed list of globals.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace tenon {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kBytes,
  kList,
  kTuple,
  kDict,
  kGlobal,
  kObject,  ///< something the host made; `number` is the host's
};

using PickleRef = std::uint32_t;

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  std::int64_t number = 0;       ///< kBool, kInt, kObject
  double real = 0.0;             ///< kFloat
  std::string_view text;         ///< kString, kBytes; kGlobal: its name. In the pickle's bytes.
  std::string_view module;       ///< kGlobal
  std::vector<PickleRef> items;  ///< kList, kTuple; kDict: key, value, key, value, …
};

/// Owns all nodes; they refer to each other by index, so cycles are harmless.
class PickleHeap {
 public:
  explicit PickleHeap(std::string_view where) : where_(where) {}
  PickleRef add(PickleNode node);  ///< throws Error{kCorrupt} past a bound
  PickleNode& operator[](PickleRef ref) { return nodes_[ref]; }
  const PickleNode& operator[](PickleRef ref) const { return nodes_[ref]; }
  std::string_view where() const { return where_; }

 private:
  std::string_view where_;
  std::vector<PickleNode> nodes_;
};

class PickleHost {
 public:
  virtual ~PickleHost() = default;
  /// Throws Error{kUnsupported} naming a global that is not on the list.
  virtual void check_global(std::string_view module, std::string_view name) = 0;
  /// callable(*arguments); `arguments` is a tuple.
  virtual PickleRef call(PickleHeap& heap, PickleRef callable, PickleRef arguments) = 0;
  virtual PickleRef persistent(PickleHeap& heap, PickleRef id) = 0;
};

/// Runs `pickle` and gives back its one value. Throws Error{kCorrupt}; Error{kUnsupported} for
/// opcodes outside the list.
PickleRef run_pickle(std::span<const std::byte> pickle, PickleHeap& heap, PickleHost& host);

}  // namespace tenon
