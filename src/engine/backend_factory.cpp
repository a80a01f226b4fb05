// SPDX-License-Identifier: Apache-2.0
#include "engine/backend_factory.h"

#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "core/check.h"
#ifdef TENON_HAS_CUDA
#include "backends/cuda/cuda_backend.h"
#endif

namespace tenon {
namespace {

int device_index(std::string_view wanted) {
  if (wanted == "cuda") return 0;
  const std::string_view digits = wanted.substr(5);
  int index = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  TENON_CHECK(error == std::errc{} && end == digits.data() + digits.size() && index >= 0,
              ErrorCode::kInvalidArgument, "device \"{}\": expected cuda:N with a number", wanted);
  return index;
}

}  // namespace

UsableGpus usable_gpus() {
#ifdef TENON_HAS_CUDA
  const cuda::DeviceList list = cuda::devices();
  return {list.names, list.why};
#else
  return {{}, "this build has no CUDA (TENON_CUDA=OFF, or no nvcc where it was built)"};
#endif
}

DeviceChoice choose_device(std::string_view wanted) {
  if (wanted == "cpu") return {};
  if (wanted == "auto") {
    const UsableGpus found = usable_gpus();
    if (!found.names.empty()) return {.kind = "cuda"};
    return {.note = found.why};
  }
  TENON_CHECK(wanted == "cuda" || wanted.starts_with("cuda:"), ErrorCode::kInvalidArgument,
              "device \"{}\": expected auto, cpu, cuda or cuda:N", wanted);
  const int index = device_index(wanted);
  const UsableGpus found = usable_gpus();
  TENON_CHECK(
      index < static_cast<int>(found.names.size()), ErrorCode::kUnsupported,
      "device {}: {}; use --device cpu", wanted,
      found.names.empty() ? found.why : fmt::format("there are {} devices", found.names.size()));
  return {.kind = "cuda", .index = index};
}

std::unique_ptr<Backend> make_backend(const RankDevice& rank) {
#ifdef TENON_HAS_CUDA
  if (rank.device.kind == "cuda") {
    const auto count = static_cast<int>(cuda::devices().names.size());
    return cuda::make_backend({.device = (rank.device.index + rank.rank) % std::max(count, 1),
                               .threads = rank.threads,
                               .tactics = rank.tactics});
  }
#endif
  TENON_ASSERT(rank.device.kind == "cpu");
  return cpu::make_backend({.threads = rank.threads, .pin = rank.pin, .cores = rank.cores});
}

}  // namespace tenon
