// AllReduce, AllGather, Send and Receive, plain: through the host and the step's Communicator. They
// wait for the device, so they cannot be recorded; a communicator between devices needs none of
// this.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/plain/plain_kernels.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

std::int64_t bytes_of(const TensorRef& value) {
  return value.elements() * static_cast<std::int64_t>(size_of(value.dtype));
}

// Page-locked memory that grows to the largest value met.
class HostCopy {
 public:
  std::span<std::byte> room(std::int64_t bytes) {
    if (memory_.bytes() < bytes) memory_ = PinnedBuffer(bytes, "a collective's host copy");
    return {memory_.data(), static_cast<std::size_t>(bytes)};
  }
  std::span<std::byte> fetch(const TensorRef& value, cudaStream_t stream) {
    const auto host = room(bytes_of(value));
    check(cudaMemcpyAsync(host.data(), value.data, host.size(), cudaMemcpyDeviceToHost, stream),
          "fetch for a collective");
    check(cudaStreamSynchronize(stream), "wait for a collective's input");
    return host;
  }
  static void send(std::span<const std::byte> host, const TensorRef& value, cudaStream_t stream) {
    check(cudaMemcpyAsync(value.data, host.data(), host.size(), cudaMemcpyHostToDevice, stream),
          "give back a collective's result");
    check(cudaStreamSynchronize(stream), "wait for a collective's result");
  }

 private:
  PinnedBuffer memory_;
};

Communicator& communicator_of(const StepContext& step) {
  TENON_ASSERT(step.communicator != nullptr);
  return *step.communicator;
}

class AllReducePlain final : public CudaKernel {
 public:
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const auto host = copy_.fetch(inputs[0], step.stream);
    communicator_of(step).all_reduce(
        {reinterpret_cast<float*>(host.data()), host.size() / sizeof(float)});
    HostCopy::send(host, outputs[0], step.stream);
  }

 private:
  mutable HostCopy copy_;
};

class AllGatherPlain final : public CudaKernel {
 public:
  explicit AllGatherPlain(const AllGather& op) : op_(op) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const auto mine = mine_.fetch(inputs[0], step.stream);
    const auto all = all_.room(bytes_of(outputs[0]));
    communicator_of(step).all_gather(mine, all, inputs[0].rows, op_.widths,
                                     size_of(inputs[0].dtype));
    HostCopy::send(all, outputs[0], step.stream);
  }

 private:
  AllGather op_;
  mutable HostCopy mine_;
  mutable HostCopy all_;
};

class SendPlain final : public CudaKernel {
 public:
  explicit SendPlain(const Send& op) : op_(op) {}
  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef>,
              const StepContext& step) const override {
    communicator_of(step).send(static_cast<int>(op_.peer), copy_.fetch(inputs[0], step.stream));
  }

 private:
  Send op_;
  mutable HostCopy copy_;
};

class ReceivePlain final : public CudaKernel {
 public:
  explicit ReceivePlain(const Receive& op) : op_(op) {}
  void launch(std::span<const TensorRef>, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const auto host = copy_.room(bytes_of(outputs[0]));
    communicator_of(step).receive(static_cast<int>(op_.peer), host);
    HostCopy::send(host, outputs[0], step.stream);
  }

 private:
  Receive op_;
  mutable HostCopy copy_;
};

}  // namespace

std::unique_ptr<CudaKernel> make_plain(const AllReduce&, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<AllReducePlain>();
}

std::unique_ptr<CudaKernel> make_plain(const AllGather& op, const NodeView&, Weights,
                                       LoadContext&) {
  return std::make_unique<AllGatherPlain>(op);
}

std::unique_ptr<CudaKernel> make_plain(const Send& op, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<SendPlain>(op);
}

std::unique_ptr<CudaKernel> make_plain(const Receive& op, const NodeView&, Weights, LoadContext&) {
  return std::make_unique<ReceivePlain>(op);
}

}  // namespace tenon::cuda
