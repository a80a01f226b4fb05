// Owners of what the CUDA runtime hands out (streams, events, memory), and its error check. Every
// call's return code is looked at; the messages name what was being done.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace tenon::cuda {

/// Throws Error for anything but cudaSuccess: kResourceExhausted where memory ran out, else
/// kInternal, "[cuda] <what>: <the runtime's words>". Sticky errors stay with the context.
void check(cudaError_t code, const char* what);

/// An error sticks to `device`'s context: every call fails with it until the process ends. Waits
/// for what runs there.
bool context_is_lost(int device);

/// After a launch: what the launch itself refused (grid, shared memory, no code for this device).
void check_launch(const char* kernel);

/// How often memory was asked for, and how often the host really waited for the device, in this
/// process: a step is to do little of either.
struct RuntimeCalls {
  std::int64_t allocations = 0;  ///< of device and of page-locked memory
  std::int64_t waits = 0;        ///< for streams, and for events that were not there yet
};
RuntimeCalls runtime_calls();

/// Makes `device` current for the calling thread, and the one before again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

/// A stream that does not wait for the default stream.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&&) = delete;

  cudaStream_t get() const { return stream_; }
  void synchronize() const;
  void wait(cudaEvent_t event) const;

 private:
  cudaStream_t stream_ = nullptr;
};

/// An event without timing.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;

  cudaEvent_t get() const { return event_; }
  void record(cudaStream_t stream) const;
  bool done() const;         ///< throws what the work before it failed with
  void synchronize() const;  ///< likewise

 private:
  cudaEvent_t event_ = nullptr;
};

/// Device memory, at least 256-byte aligned, uninitialised; of no bytes: null.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(std::int64_t bytes, const char* what);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Page-locked host memory: copies to and from the device run beside the host's work.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(std::int64_t bytes, const char* what);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept { swap(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void swap(PinnedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Every separate piece of device memory starts at a multiple of this.
inline constexpr std::int64_t kDeviceAlignment = 256;
constexpr std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
}

}  // namespace tenon::cuda
