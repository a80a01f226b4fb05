// Upload: what the host sends to the device for one step, gathered in one page-locked buffer and
// sent by one copy. A ring of them lets the host prepare a step while others run.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "backends/cuda/cuda_api.h"

namespace tenon::cuda {

class Upload {
 public:
  /// Pieces start at multiples of 16 bytes. Gives the offset.
  std::int64_t add(std::span<const std::byte> bytes) {
    const std::int64_t at = (used_ + 15) / 16 * 16;
    reserve(at + static_cast<std::int64_t>(bytes.size()));
    if (!bytes.empty()) std::memcpy(host_.data() + at, bytes.data(), bytes.size());
    used_ = at + static_cast<std::int64_t>(bytes.size());
    return at;
  }
  template <class T>
  std::int64_t add(const std::vector<T>& values) {
    return add(std::as_bytes(std::span(values)));
  }

  /// Waits until the copy before is through, so that the buffer may be written again.
  void clear() {
    sent_.synchronize();
    used_ = 0;
  }

  /// Queues the copy. Later work on the stream finds piece `offset` at device(offset).
  void send(cudaStream_t stream) {
    if (used_ > device_.bytes()) {
      check(cudaStreamSynchronize(stream), "grow a step's upload");  // readers of the old one
      device_ = DeviceBuffer(host_.bytes(), "a step's upload");
    }
    if (used_ > 0)
      check(cudaMemcpyAsync(device_.data(), host_.data(), static_cast<std::size_t>(used_),
                            cudaMemcpyHostToDevice, stream),
            "send a step");
    sent_.record(stream);
  }
  template <class T>
  const T* device(std::int64_t offset) const {
    return reinterpret_cast<const T*>(device_.data() + offset);
  }
  std::int64_t used() const { return used_; }

 private:
  // Grows by doubling: a long prompt's history may pass what steps usually send.
  void reserve(std::int64_t bytes) {
    if (bytes <= host_.bytes()) return;
    std::int64_t capacity = std::max<std::int64_t>(host_.bytes(), std::int64_t{1} << 16);
    while (capacity < bytes) capacity *= 2;
    PinnedBuffer larger(capacity, "a step's upload");
    if (used_ > 0) std::memcpy(larger.data(), host_.data(), static_cast<std::size_t>(used_));
    host_ = std::move(larger);
  }

  PinnedBuffer host_;
  DeviceBuffer device_;
  std::int64_t used_ = 0;
  Event sent_;
};

}  // namespace tenon::cuda
