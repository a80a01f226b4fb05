// WorkerChannel: messages over a socket between two processes of one machine. Each has a header
// (mark, kind, size), so that what a process wrote half before it died is seen for what it is.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tenon {

struct WorkerPacket {
  std::uint32_t kind = 0;
  std::vector<std::byte> bytes;
};

/// One thread may send while another receives.
class WorkerChannel {
 public:
  /// Takes the socket over.
  explicit WorkerChannel(int socket);
  ~WorkerChannel();
  WorkerChannel(const WorkerChannel&) = delete;
  WorkerChannel& operator=(const WorkerChannel&) = delete;

  /// False where the other end is gone. Waits while the other end's buffer is full.
  bool send(std::uint32_t kind, std::span<const std::byte> bytes);

  enum class Wait : std::uint8_t { kNo, kYes };
  enum class Received : std::uint8_t {
    kPacket,
    kNothing,  ///< no whole message is there (Wait::kNo)
    kEnd,      ///< the other end is gone
  };
  /// Throws Error{kCorrupt} where what came is no message, or the end came in the middle of one.
  Received receive(WorkerPacket& packet, Wait wait);

  /// Wakes whoever receives: it sees the end.
  void shut_down() noexcept;
  int socket() const { return socket_; }

 private:
  struct Header {
    std::uint32_t mark = 0;
    std::uint32_t kind = 0;
    std::uint64_t size = 0;
  };

  bool has_whole_packet();
  std::size_t take_buffered(std::span<std::byte> to);
  std::span<std::byte> payload_room();

  int socket_;
  std::array<std::byte, 64 * 1024> buffer_;  // what came and was not looked at
  std::size_t buffer_begin_ = 0;
  std::size_t buffer_end_ = 0;
  Header header_;
  std::size_t header_bytes_ = 0;    // that came
  std::vector<std::byte> payload_;  // room for what comes, by pieces
  std::size_t payload_bytes_ = 0;   // that came
};

}  // namespace tenon
