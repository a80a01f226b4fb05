// TensorView: a dense row-major tensor somebody else owns. Tensor: one that keeps its bytes
// alive (an owned buffer, or a part of a mapped file).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "core/dtype.h"
#include "core/shape.h"

namespace tenon {

struct TensorView {
  const std::byte* data = nullptr;
  DataType dtype = DataType::kFloat32;
  Shape shape;

  std::int64_t elements() const { return element_count(shape); }
  std::size_t bytes() const { return static_cast<std::size_t>(byte_count(dtype, shape)); }
  std::span<const std::byte> span() const { return {data, bytes()}; }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data);
  }
};

class Tensor {
 public:
  Tensor() = default;
  /// Owned, 64-byte aligned, zeroed.
  Tensor(DataType dtype, Shape shape);
  /// A view kept alive by `owner` (a MappedFile, another buffer).
  Tensor(TensorView view, std::shared_ptr<const void> owner)
      : view_(std::move(view)), owner_(std::move(owner)) {}

  static Tensor from_floats(Shape shape, std::span<const float> values);

  const TensorView& view() const { return view_; }
  DataType dtype() const { return view_.dtype; }
  const Shape& shape() const { return view_.shape; }
  std::size_t bytes() const { return view_.bytes(); }
  const std::byte* data() const { return view_.data; }
  /// Only of an owned tensor; throws where the bytes belong to a file.
  std::byte* mutable_data();
  template <class T>
  T* mutable_as() {
    return reinterpret_cast<T*>(mutable_data());
  }

 private:
  TensorView view_;
  std::shared_ptr<const void> owner_;
  std::byte* mutable_ = nullptr;
};

/// `count` bytes, 64-byte aligned, uninitialised; throws Error{kResourceExhausted}.
std::shared_ptr<std::byte> allocate_aligned(std::size_t count);

}  // namespace tenon
