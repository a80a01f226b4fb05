// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"

#include <atomic>

#include "core/check.h"

namespace tenon::cuda {
namespace {

std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> waits{0};

}  // namespace

RuntimeCalls runtime_calls() { return {.allocations = allocations, .waits = waits}; }

void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  const bool memory = code == cudaErrorMemoryAllocation;
  if (memory) cudaGetLastError();  // not sticky: the next launch must not report it again
  fail(memory ? ErrorCode::kResourceExhausted : ErrorCode::kInternal, "[cuda] {}: {} ({})", what,
       cudaGetErrorString(code), cudaGetErrorName(code));
}

bool context_is_lost(int device) {
  int before = 0;
  if (cudaGetDevice(&before) != cudaSuccess || cudaSetDevice(device) != cudaSuccess) return true;
  cudaGetLastError();  // one that does not stick goes by being asked for
  const bool lost = cudaDeviceSynchronize() != cudaSuccess;
  if (before != device) cudaSetDevice(before);
  return lost;
}

void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

DeviceGuard::DeviceGuard(int device) {
  check(cudaGetDevice(&before_), "current device");
  if (before_ == device) return;
  check(cudaSetDevice(device), "choose a device");
  changed_ = true;
}

DeviceGuard::~DeviceGuard() {
  if (changed_) cudaSetDevice(before_);
}

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make a stream");
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void Stream::synchronize() const {
  ++waits;
  check(cudaStreamSynchronize(stream_), "wait for a stream");
}

void Stream::wait(cudaEvent_t event) const {
  check(cudaStreamWaitEvent(stream_, event, 0), "order streams");
}

Event::Event() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "make an event");
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

void Event::record(cudaStream_t stream) const {
  check(cudaEventRecord(event_, stream), "record an event");
}

bool Event::done() const {
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) return false;
  check(code, "work on the device");
  return true;
}

void Event::synchronize() const {
  if (done()) return;
  ++waits;
  check(cudaEventSynchronize(event_), "work on the device");
}

DeviceBuffer::DeviceBuffer(std::int64_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  ++allocations;
  const cudaError_t code =
      cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free, &total);
    fail(ErrorCode::kResourceExhausted,
         "[cuda] {} bytes for {} could not be had: the device has {} of {} free; use a smaller "
         "cache, batch or step, or end what else runs there",
         bytes, what, free, total);
  }
  check(code, what);
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedBuffer::PinnedBuffer(std::int64_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  ++allocations;
  check(cudaHostAlloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(bytes),
                      cudaHostAllocDefault),
        what);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

}  // namespace tenon::cuda
