// AllReduce, AllGather, Send and Receive: through the step's Communicator. No faster form exists
// on a CPU: the work is in the communicator.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cpu/ref/reference.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

std::span<std::byte> bytes_of(const TensorRef& value) {
  return {value.data, static_cast<std::size_t>(value.rows * value.width) * size_of(value.dtype)};
}

Communicator& communicator_of(const StepContext& step) {
  TENON_ASSERT(step.communicator != nullptr);
  return *step.communicator;
}

class AllReduceKernel final : public CpuKernel {
 public:
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const auto from = bytes_of(inputs[0]);
    const auto to = bytes_of(outputs[0]);
    if (from.data() != to.data() && !from.empty()) std::memcpy(to.data(), from.data(), from.size());
    communicator_of(step).all_reduce({outputs[0].f32(), to.size() / sizeof(float)});
  }
};

class AllGatherKernel final : public CpuKernel {
 public:
  explicit AllGatherKernel(const AllGather& op) : op_(op) {}
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    communicator_of(step).all_gather(bytes_of(inputs[0]), bytes_of(outputs[0]), inputs[0].rows,
                                     op_.widths, size_of(inputs[0].dtype));
  }

 private:
  AllGather op_;
};

class SendKernel final : public CpuKernel {
 public:
  explicit SendKernel(const Send& op) : op_(op) {}
  void run(std::span<const TensorRef> inputs, std::span<const TensorRef>,
           StepContext& step) const override {
    communicator_of(step).send(static_cast<int>(op_.peer), bytes_of(inputs[0]));
  }

 private:
  Send op_;
};

class ReceiveKernel final : public CpuKernel {
 public:
  explicit ReceiveKernel(const Receive& op) : op_(op) {}
  void run(std::span<const TensorRef>, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    communicator_of(step).receive(static_cast<int>(op_.peer), bytes_of(outputs[0]));
  }

 private:
  Receive op_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_reference(const AllReduce&, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<AllReduceKernel>();
}

std::unique_ptr<CpuKernel> make_reference(const AllGather& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return std::make_unique<AllGatherKernel>(op);
}

std::unique_ptr<CpuKernel> make_reference(const Send& op, const NodeView&, Weights, ThreadPool&) {
  return std::make_unique<SendKernel>(op);
}

std::unique_ptr<CpuKernel> make_reference(const Receive& op, const NodeView&, Weights,
                                          ThreadPool&) {
  return std::make_unique<ReceiveKernel>(op);
}

}  // namespace tenon::cpu
