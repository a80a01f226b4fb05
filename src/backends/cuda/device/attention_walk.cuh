// How the work of a decode step is shared out: every (sequence, key-value head) pair has its keys
// in units of a size that follows from the sequence's own length, and a thread block takes a run of
// units, so that blocks have equal numbers of keys however the lengths differ. A unit's sums, and
// the order in which a pair's units are added up, do not depend on who computes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cuda/device/key_rows.h"

namespace tenon::cuda {

inline constexpr int kDecodeTile = 64;      // tokens
inline constexpr int kDecodeUnitTiles = 4;  // of a unit, at least
// Units of a pair at most: enough for one long sequence to occupy the device.
inline constexpr int kFewDecodeUnits = 16;
inline constexpr int kDecodeUnitsOfSequence = 256;
__host__ __device__ constexpr int most_decode_units(int rows) { return rows > 8 ? 32 : 64; }

/// Keys of a decode's sequence: tiles [first, first + tiles) by place / kDecodeTile.
struct DecodeSpan {
  std::int32_t begin = 0;  // places
  std::int32_t end = 0;
  __device__ std::int32_t first() const { return begin / kDecodeTile; }
  __device__ std::int32_t tiles() const {
    return end <= begin ? 0 : (end + kDecodeTile - 1) / kDecodeTile - first();
  }
};

/// One sequence of the step: no keys where it has not one token.
struct DecodeSequence {
  DecodeSpan span;
  std::int32_t slot = 0;
  std::int32_t token = 0;  // row of the step
};

/// All is asked for at once: a chain of loads that wait for one another is most of the time of a
/// short context.
__device__ inline DecodeSequence decode_sequence(const AttentionArguments& a, const StepView& view,
                                                 std::int32_t s) {
  const std::int32_t begin = view.token_begin[s];
  const std::int32_t end = view.token_begin[s + 1];
  const std::int32_t place = view.cached_tokens[s];
  const KeyRange range = key_range(a, place, std::int64_t{place} + 1);
  DecodeSequence out{{}, view.slots[s], begin};
  if (end - begin == 1)
    out.span = {static_cast<std::int32_t>(range.begin), static_cast<std::int32_t>(range.end)};
  return out;
}

/// Units that a pair has at most; `pairs`: of its sequence; `most`: most_decode_units().
__device__ inline std::int32_t pair_units(std::int32_t pairs, std::int32_t most) {
  return min(most, max(kFewDecodeUnits, kDecodeUnitsOfSequence / pairs));
}
/// Tiles of a unit of a pair with so many; `units`: pair_units().
__device__ inline std::int32_t unit_tiles(std::int32_t tiles, std::int32_t units) {
  if (tiles <= kDecodeUnitTiles * units) return kDecodeUnitTiles;
  return (tiles + units - 1) / units;
}

/// Sequences of a launch whose DecodeSequence lies in shared memory: the first ones.
inline constexpr std::int32_t kKnownSequences = 192;

/// `before[s]`: tiles of all sequences before s; it and `known` lie in shared memory.
struct DecodePlan {
  const AttentionArguments& a;
  const StepView& view;
  const std::uint32_t* before = nullptr;  // [sequences + 1]
  const DecodeSequence* known = nullptr;  // [min(sequences, kKnownSequences)]
  std::int32_t sequences = 0;
  std::int32_t heads = 0;         // pairs of one sequence
  std::int32_t pair_units = 0;    // at most
  std::int32_t longest_unit = 0;  // tiles

  __device__ std::uint64_t total() const {
    return static_cast<std::uint64_t>(before[sequences]) * heads;
  }
  /// Tiles of one block's share. No smaller than a unit: where there are few units, the first
  /// blocks get them, which are those on different multiprocessors.
  __device__ std::uint64_t share() const {
    const std::uint64_t even = (total() + gridDim.x - 1) / gridDim.x;
    const auto unit = static_cast<std::uint64_t>(longest_unit);
    return even < unit ? unit : even;
  }
};

/// Goes over the tiles of one block's units, in order.
struct DecodeWalk {
  std::uint64_t pair_at = 0;  // of the pair's first tile among all
  std::uint64_t end = 0;      // of the block's share
  std::int32_t s = 0;
  std::int32_t head = 0;
  std::int32_t tile = 0;  // of the pair
  std::int32_t tiles = 0;
  std::int32_t unit = 0;  // tiles of a unit
  std::int32_t left = 0;  // tiles of this unit, this one included
  bool valid = false;
  DecodeSequence sequence;

  __device__ void enter(const DecodePlan& plan) {
    sequence = s < kKnownSequences ? plan.known[s] : decode_sequence(plan.a, plan.view, s);
    tiles = static_cast<std::int32_t>(plan.before[s + 1] - plan.before[s]);
    unit = unit_tiles(tiles, plan.pair_units);
  }
  __device__ void start(const DecodePlan& plan, std::uint64_t begin, std::uint64_t share) {
    const std::uint64_t total = plan.total();
    if (begin >= total) return;
    end = begin + share < total ? begin + share : total;
    std::int32_t low = 0;  // the last s with before[s] * heads <= begin has tiles
    std::int32_t high = plan.sequences;
    while (high - low > 1) {
      const std::int32_t middle = (low + high) / 2;
      if (static_cast<std::uint64_t>(plan.before[middle]) * plan.heads <= begin)
        low = middle;
      else
        high = middle;
    }
    s = low;
    enter(plan);
    const auto within =
        static_cast<std::int32_t>(begin - static_cast<std::uint64_t>(plan.before[s]) * plan.heads);
    head = within / tiles;
    pair_at = begin - static_cast<std::uint32_t>(within - head * tiles);
    tile = (within - head * tiles + unit - 1) / unit * unit;
    settle(plan);
  }
  /// After `tile` reached the first tile of a unit, or the pair's end.
  __device__ void settle(const DecodePlan& plan) {
    if (tile >= tiles) {
      pair_at += static_cast<std::uint32_t>(tiles);
      tile = 0;
      if (++head == plan.heads) {
        head = 0;
        do ++s;
        while (s < plan.sequences && plan.before[s + 1] == plan.before[s]);
        if (s < plan.sequences) enter(plan);
      }
    }
    left = min(unit, tiles - tile);
    valid = s < plan.sequences && pair_at + static_cast<std::uint32_t>(tile) < end;
  }
  __device__ bool ends_unit() const { return left == 1; }
  __device__ void next(const DecodePlan& plan) {
    ++tile;
    if (--left == 0) settle(plan);
  }
  __device__ bool is_one_unit() const { return tiles <= unit; }
  __device__ std::int32_t units() const { return (tiles + unit - 1) / unit; }
  /// The block that computes the unit which begins at `tile_of_unit`.
  __device__ std::int32_t owner(std::int32_t tile_of_unit, std::uint64_t share) const {
    return static_cast<std::int32_t>((pair_at + static_cast<std::uint32_t>(tile_of_unit)) / share);
  }
};

}  // namespace tenon::cuda
