// Communicator: the collectives a rank takes part in. In-process, NCCL and MPI implement it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tenon {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int tp_rank() const = 0;
  virtual int tp_size() const = 0;

  /// Sum over the tensor-parallel group, in place. Adds in rank order on every rank, so that all
  /// hold the same bits.
  virtual void all_reduce(std::span<float> values) = 0;

  /// Columns of every rank, joined: `mine` is [rows, widths[tp_rank]], `all` [rows, sum of widths].
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all,
                          std::int64_t rows, std::span<const std::int64_t> widths,
                          std::size_t element_bytes) = 0;

  /// Between pipeline stages; `peer` is a rank of the world.
  virtual void send(int peer, std::span<const std::byte> data) = 0;
  virtual void receive(int peer, std::span<std::byte> data) = 0;

  /// Makes every rank that waits, or will wait, in a collective throw Error{kCancelled}: a rank
  /// that failed must not leave the others hanging.
  virtual void abort() noexcept = 0;

  /// Undoes an abort, for all ranks: what they had begun is forgotten, messages on their way are
  /// dropped. Called once, and only while no rank is in a collective or will enter one.
  virtual void reset() = 0;
};

}  // namespace tenon
