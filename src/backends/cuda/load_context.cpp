// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/load_context.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/check.h"

namespace tenon::cuda {

std::int64_t planned_bytes(std::span<const PackedNeed> needs) {
  std::set<std::string_view> seen;
  std::int64_t total = 0;
  for (const PackedNeed& need : needs)
    if (seen.insert(need.key).second) total += aligned(need.bytes);
  return total;
}

LoadContext::LoadContext(std::int64_t bytes, const DeviceFeatures& features, ThreadPool& pool)
    : memory_(bytes, "packed weights"), features_(features), pool_(pool) {
  for (int i = 0; i < 2; ++i) staging_.push_back({PinnedBuffer(kStagingBytes, "staging"), Event()});
}

std::byte* LoadContext::get(const std::string& key, std::int64_t bytes, const Fill& fill) {
  if (bytes == 0) return nullptr;
  if (const auto known = pieces_.find(key); known != pieces_.end()) return known->second;
  TENON_CHECK(used_ + bytes <= memory_.bytes(), ErrorCode::kInternal,
              "[cuda] {} needs {} bytes beyond the {} of {} planned for weights", key, bytes, used_,
              memory_.bytes());
  std::byte* const begin = memory_.data() + used_;
  used_ += aligned(bytes);
  for (std::int64_t at = 0; at < bytes; at += kStagingBytes) {
    Staging& staging = staging_[next_];
    next_ = (next_ + 1) % staging_.size();
    staging.sent.synchronize();  // of the copy before; at once where there was none
    const std::int64_t count = std::min(kStagingBytes, bytes - at);
    const std::int64_t lines = (count + kDeviceAlignment - 1) / kDeviceAlignment;
    std::byte* const host = staging.memory.data();
    pool_.run_ranges(lines, 1024, [&](std::int64_t first, std::int64_t last, int) {
      const std::int64_t from = first * kDeviceAlignment;
      const std::int64_t to = std::min(count, last * kDeviceAlignment);
      fill(at + from, {host + from, static_cast<std::size_t>(to - from)});
    });
    check(cudaMemcpyAsync(begin + at, host, static_cast<std::size_t>(count), cudaMemcpyHostToDevice,
                          stream_.get()),
          "send weights");
    staging.sent.record(stream_.get());
  }
  pieces_.emplace(key, begin);
  return begin;
}

std::byte* LoadContext::get(const std::string& key, std::span<const std::byte> source) {
  return get(key, static_cast<std::int64_t>(source.size()),
             [source](std::int64_t begin, std::span<std::byte> out) {
               std::memcpy(out.data(), source.data() + begin, out.size());
             });
}

DeviceBuffer LoadContext::finish() {
  stream_.synchronize();
  return std::move(memory_);
}

}  // namespace tenon::cuda
