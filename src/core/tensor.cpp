// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <cstdlib>
#include <cstring>

#include "core/check.h"

namespace tenon {

std::shared_ptr<std::byte> allocate_aligned(std::size_t count) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t rounded = (count + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
  TENON_CHECK(memory != nullptr, ErrorCode::kResourceExhausted,
              "out of memory: {} bytes could not be allocated", count);
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
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
