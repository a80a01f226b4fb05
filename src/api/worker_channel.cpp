// SPDX-License-Identifier: Apache-2.0
#include "api/worker_channel.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace tenon {
namespace {

constexpr std::uint32_t kMark = 0x6e6e6574;  // "tenn"
/// Logits of the largest step fit many times over.
constexpr std::uint64_t kLargest = std::uint64_t{1} << 36;
/// Memory for a message grows as it comes, by that much at a time.
constexpr std::size_t kPiece = std::size_t{16} << 20;

}  // namespace

WorkerChannel::WorkerChannel(int socket) : socket_(socket) {}
WorkerChannel::~WorkerChannel() { ::close(socket_); }

void WorkerChannel::shut_down() noexcept { ::shutdown(socket_, SHUT_RDWR); }

bool WorkerChannel::send(std::uint32_t kind, std::span<const std::byte> bytes) {
  Header header{kMark, kind, bytes.size()};
  std::array<iovec, 2> parts = {iovec{&header, sizeof(header)},
                                iovec{const_cast<std::byte*>(bytes.data()), bytes.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (message.msg_iovlen > 0) {
    const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    auto left = static_cast<std::size_t>(sent);
    while (message.msg_iovlen > 0 && left >= message.msg_iov->iov_len) {
      left -= message.msg_iov->iov_len;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
    if (message.msg_iovlen == 0) break;
    message.msg_iov->iov_base = static_cast<std::byte*>(message.msg_iov->iov_base) + left;
    message.msg_iov->iov_len -= left;
  }
  return true;
}

std::size_t WorkerChannel::take_buffered(std::span<std::byte> to) {
  const std::size_t count = std::min(to.size(), buffer_end_ - buffer_begin_);
  if (count > 0) std::memcpy(to.data(), buffer_.data() + buffer_begin_, count);
  buffer_begin_ += count;
  return count;
}

/// Where the payload's next bytes belong.
std::span<std::byte> WorkerChannel::payload_room() {
  if (payload_bytes_ == payload_.size())
    payload_.resize(payload_bytes_ + static_cast<std::size_t>(std::min<std::uint64_t>(
                                         header_.size - payload_bytes_, kPiece)));
  return std::span(payload_).subspan(payload_bytes_);
}

/// Of what is buffered; the rest of a large payload comes straight to its place.
bool WorkerChannel::has_whole_packet() {
  if (header_bytes_ < sizeof(header_)) {
    auto* at = reinterpret_cast<std::byte*>(&header_);
    header_bytes_ += take_buffered({at + header_bytes_, sizeof(header_) - header_bytes_});
    if (header_bytes_ < sizeof(header_)) return false;
    TENON_CHECK(header_.mark == kMark && header_.size <= kLargest, ErrorCode::kCorrupt,
                "[worker] what came is no message (mark {:#x}, {} bytes)", header_.mark,
                header_.size);
    payload_.clear();
    payload_bytes_ = 0;
  }
  while (payload_bytes_ < header_.size && buffer_begin_ < buffer_end_)
    payload_bytes_ += take_buffered(payload_room());
  return payload_bytes_ == header_.size;
}

WorkerChannel::Received WorkerChannel::receive(WorkerPacket& packet, Wait wait) {
  while (!has_whole_packet()) {
    const bool in_payload = header_bytes_ == sizeof(header_);
    const bool direct = in_payload && header_.size - payload_bytes_ > buffer_.size();
    const std::span<std::byte> to = direct ? payload_room() : std::span<std::byte>(buffer_);
    ssize_t came = 0;
    do came = ::recv(socket_, to.data(), to.size(), wait == Wait::kNo ? MSG_DONTWAIT : 0);
    while (came < 0 && errno == EINTR);
    const auto bytes = static_cast<std::size_t>(std::max<ssize_t>(came, 0));
    if (direct) {
      payload_bytes_ += bytes;
    } else {
      buffer_begin_ = 0;
      buffer_end_ = bytes;
    }
    if (came > 0) continue;
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::kNothing;
    TENON_CHECK(header_bytes_ == 0, ErrorCode::kCorrupt,
                "[worker] the end came in the middle of a message");
    return Received::kEnd;
  }
  header_bytes_ = 0;
  packet.kind = header_.kind;
  packet.bytes = std::exchange(payload_, {});
  return Received::kPacket;
}

}  // namespace tenon
