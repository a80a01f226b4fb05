// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "core/check.h"

namespace tenon {

namespace {

constexpr std::size_t kAlignment = 64;

using Block = std::shared_ptr<std::byte>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// Aligned by the allocator, so that its red zones lie right before and behind.
Block take(std::size_t count) {
  const std::size_t rounded = (count + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, std::max(rounded, kAlignment));
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}
#else
constexpr std::size_t kMapFrom = std::size_t{128} << 10;

// glibc before 2.38 does not find the room of a freed aligned block again, and a heap of such
// blocks grows without end. So a large one is a mapping of its own, which goes back whole, and a
// small one a plain block with room to align in.
Block take(std::size_t count) {
  if (count >= kMapFrom) {
    void* memory =
        ::mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    return {static_cast<std::byte*>(memory), [count](std::byte* p) { ::munmap(p, count); }};
  }
  void* block = std::malloc(count + kAlignment);
  if (block == nullptr) return nullptr;
  const std::size_t past = reinterpret_cast<std::uintptr_t>(block) % kAlignment;
  return {static_cast<std::byte*>(block) + (kAlignment - past) % kAlignment,
          [block](std::byte*) { std::free(block); }};
}
#endif

}  // namespace

std::shared_ptr<std::byte> allocate_aligned(std::size_t count) {
  Block block = count <= SIZE_MAX - kAlignment ? take(count) : nullptr;
  TENON_CHECK(block != nullptr, ErrorCode::kResourceExhausted,
              "out of memory: {} bytes could not be allocated", count);
  return block;
}

Tensor::Tensor(DataType dtype, Shape shape) {
  view_.dtype = dtype;
  view_.shape = std::move(shape);
  const std::size_t count = view_.bytes();
  auto memory = allocate_aligned(count);
  std::memset(memory.get(), 0, count);
  mutable_ = memory.get();
  view_.data = mutable_;
  owner_ = std::move(memory);
}

Tensor Tensor::from_floats(Shape shape, std::span<const float> values) {
  Tensor tensor(DataType::kFloat32, std::move(shape));
  TENON_CHECK(tensor.bytes() == values.size_bytes(), ErrorCode::kInvalidArgument,
              "a tensor of shape {} needs {} values, got {}", to_string(tensor.shape()),
              tensor.view().elements(), values.size());
  if (!values.empty()) std::memcpy(tensor.mutable_, values.data(), values.size_bytes());
  return tensor;
}

std::byte* Tensor::mutable_data() {
  TENON_ASSERT(mutable_ != nullptr);
  return mutable_;
}

}  // namespace tenon
