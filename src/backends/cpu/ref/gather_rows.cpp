// GatherRows, the specification: rows of x that the index names, bytes copied.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cpu/ref/reference.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

class GatherRowsReference final : public CpuKernel {
 public:
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext&) const override {
    const TensorRef& x = inputs[0];
    const std::size_t bytes = static_cast<std::size_t>(x.width) * size_of(x.dtype);
    for (std::int64_t row = 0; row < outputs[0].rows; ++row) {
      const std::int32_t from = inputs[1].i32()[row];
      TENON_ASSERT(from >= 0 && from < x.rows);
      std::memcpy(outputs[0].data + static_cast<std::size_t>(row) * bytes,
                  x.data + static_cast<std::size_t>(from) * bytes, bytes);
    }
  }
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const GatherRows&, const NodeView&, Weights,
                                          ThreadPool&) {
  return std::make_unique<GatherRowsReference>();
}

}  // namespace tenon::cpu
