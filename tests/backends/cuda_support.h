// What the tests of CUDA kernels share: every kernel of an op's list that this device can run, on
// the same inputs as the CPU's fp32 reference. Without a GPU the tests are skipped, and say so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/step_state.h"
#include "core/half.h"
#include "op_harness.h"

#define TENON_NEEDS_GPU()                                                              \
  if (const tenon::cuda::DeviceList list = tenon::cuda::devices(); list.names.empty()) \
  GTEST_SKIP() << "NOT TESTED, no GPU: " << list.why

namespace tenon::cuda {

using cpu::expect_close;
using cpu::int_tensor;
using cpu::make_batch;
using cpu::OpCase;
using cpu::random_tensor;
using cpu::TestCache;

inline const DeviceFeatures& test_features() {
  static const DeviceFeatures features = DeviceFeatures::detect(0);
  return features;
}

inline ThreadPool& test_pool() {
  static ThreadPool pool({.threads = 2, .pin = false});
  return pool;
}

/// One handle for all tests, one after another; null where the library was not found.
inline CublasLt* test_cublaslt() {
  if (!test_features().cublaslt) return nullptr;
  // Never destroyed: when statics are, the driver may be gone.
  static const auto* const workspace = new DeviceBuffer(CublasLt::kWorkspaceBytes, "test");
  static auto* const handle = new CublasLt(workspace->data());
  return handle;
}

/// float32 values as a device would hold them in `type`.
inline Tensor rounded_to(const Tensor& tensor, DataType type) {
  if (tensor.dtype() != DataType::kFloat32 || type == DataType::kFloat32) return tensor;
  const auto count = static_cast<std::size_t>(tensor.view().elements());
  std::vector<std::byte> raw(count * size_of(type));
  convert_from_float(type, tensor.view().as<float>(), raw.data(), count);
  Tensor out(DataType::kFloat32, tensor.shape());
  convert_to_float(type, raw.data(), out.mutable_as<float>(), count);
  return out;
}

/// A tensor in device memory, float32 ones held in `type`.
class DeviceTensor {
 public:
  DeviceTensor(const Tensor& tensor, DataType type)
      : type_(tensor.dtype() == DataType::kFloat32 ? type : tensor.dtype()),
        shape_(tensor.shape()) {
    const auto count = static_cast<std::size_t>(tensor.view().elements());
    std::vector<std::byte> raw(count * size_of(type_));
    if (count > 0 && tensor.dtype() == DataType::kFloat32)
      convert_from_float(type_, tensor.view().as<float>(), raw.data(), count);
    else if (count > 0)
      std::memcpy(raw.data(), tensor.data(), raw.size());
    memory_ = DeviceBuffer(static_cast<std::int64_t>(raw.size()), "test");
    if (raw.empty()) return;
    check(cudaMemcpy(memory_.data(), raw.data(), raw.size(), cudaMemcpyHostToDevice), "test");
    // A small copy is only on its way by then, and the op's stream does not wait for this one.
    check(cudaDeviceSynchronize(), "test");
  }
  /// Every byte 0xFF: no numbers.
  DeviceTensor(DataType type, Shape shape) : type_(type), shape_(std::move(shape)) {
    const std::int64_t bytes = byte_count(type_, shape_);
    memory_ = DeviceBuffer(bytes, "test");
    if (bytes == 0) return;
    check(cudaMemset(memory_.data(), 0xFF, static_cast<std::size_t>(bytes)), "test");
    check(cudaDeviceSynchronize(), "test");  // the op's stream does not wait for this one
  }

  TensorRef ref() const {
    TensorRef out{memory_.data(), type_, 1, shape_.back()};
    for (std::size_t d = 0; d + 1 < shape_.size(); ++d) out.rows *= shape_[d];
    return out;
  }
  Tensor fetch() const {
    Tensor raw(type_, shape_);
    if (raw.bytes() > 0)
      check(cudaMemcpy(raw.mutable_data(), memory_.data(), raw.bytes(), cudaMemcpyDeviceToHost),
            "test");
    if (type_ == DataType::kInt32 || type_ == DataType::kFloat32) return raw;
    Tensor out(DataType::kFloat32, shape_);
    convert_to_float(type_, raw.data(), out.mutable_as<float>(),
                     static_cast<std::size_t>(out.view().elements()));
    return out;
  }

 private:
  DataType type_;
  Shape shape_;
  DeviceBuffer memory_;
};

/// One step's rows on the device, with a cache of one group where asked for.
class DeviceStep {
 public:
  explicit DeviceStep(const Batch& batch, TestCache* cache = nullptr)
      : program_(program_for(batch, cache)), state_(program_) {
    std::vector<const std::int32_t*> tables;
    std::vector<TableChange> changes;
    if (cache != nullptr) {
      tables.push_back(state_.tables(0));
      for (std::size_t s = 0; s < batch.slots.size(); ++s)
        changes.push_back({0, batch.slots[s], 0, cache->table(s)});
      cache_ =
          std::make_unique<PagedCache>(program_.cache, tables, StepState::table_stride(program_));
      // What is not written is no number.
      check(cudaMemset(cache_->layer(0).keys, 0xFF,
                       static_cast<std::size_t>(PagedCache::bytes(program_.cache))),
            "test");
      check(cudaDeviceSynchronize(), "test");
    }
    const StepSizes& sizes = program_.limits;
    const StepPieces pieces = StepState::encode(batch, changes, sizes, upload_);
    upload_.send(stream_.get());
    state_.apply_tables(pieces, upload_, stream_.get());
    state_.fill(pieces, upload_, stream_.get());
    stream_.synchronize();
    context_.stream = stream_.get();
    context_.view = state_.view();
    context_.sizes = sizes;
    for (std::size_t s = 0; s < batch.slots.size(); ++s) {
      const std::int64_t tokens = batch.token_begin[s + 1] - batch.token_begin[s];
      if (tokens == 1 && context_.decodes == static_cast<std::int64_t>(s)) ++context_.decodes;
      context_.longest_chunk = std::max(context_.longest_chunk, tokens);
      context_.longest_context =
          std::max(context_.longest_context, batch.cached_tokens[s] + tokens);
    }
    context_.cache = cache_.get();
    context_.features = &test_features();
    context_.cublaslt = test_cublaslt();
  }

  const StepSizes& sizes() const { return program_.limits; }
  StepContext& context() { return context_; }
  void synchronize() { stream_.synchronize(); }

 private:
  static ProgramDescription program_for(const Batch& batch, TestCache* cache) {
    ProgramDescription program;
    program.limits = {
        .tokens = batch.tokens(),
        .sequences = batch.sequences(),
        .logit_rows = static_cast<std::int64_t>(batch.logit_rows.size()),
        .encoder_tokens = batch.encoder_begin.empty() ? 0 : batch.encoder_begin.back()};
    program.slots = std::max<std::int64_t>(1, batch.sequences());
    for (const std::int32_t slot : batch.slots)
      program.slots = std::max<std::int64_t>(program.slots, slot + 1);
    if (cache != nullptr) {
      const auto groups = cache->get()->groups();
      program.cache.assign(groups.begin(), groups.end());
    }
    return program;
  }

  ProgramDescription program_;
  Stream stream_;
  StepState state_;
  Upload upload_;
  std::unique_ptr<PagedCache> cache_;
  StepContext context_;
};

template <class OpT>
std::span<const KernelEntry<OpT>> device_kernels() {
  return kernels(static_cast<const OpT*>(nullptr));
}

/// The case's node with float32 values stored in `storage`, and weights of these specs.
template <class OpT>
NodeView device_view(const OpT& op, const OpCase& c, DataType storage,
                     const std::vector<QuantizedTensor>& weights) {
  const cpu::NodeView plain = cpu::view_of_case(op, c);
  NodeView view{plain.inputs, plain.outputs, {}, {}};
  if (c.reads_cache) view.cache = c.cache->groups()[0];
  for (auto* types : {&view.inputs, &view.outputs})
    for (ValueType& type : *types)
      if (type.kind == ValueKind::kTensor && type.dtype == DataType::kFloat32) type.dtype = storage;
  for (std::size_t i = 0; i < weights.size(); ++i)
    view.weights.push_back({"w" + std::to_string(i), weights[i].shape, weights[i].spec});
  return view;
}

/// Runs one kernel, `launches` times; outputs and workspace start as no numbers.
template <class OpT>
std::vector<Tensor> run_on_device(const KernelEntry<OpT>& entry, const OpT& op,
                                  const NodeView& view, const OpCase& c, DataType storage,
                                  const std::vector<QuantizedTensor>& weights, DeviceStep& step,
                                  int launches = 1) {
  std::vector<PackedNeed> needs;
  if (entry.needs != nullptr) needs = entry.needs(op, view);
  LoadContext load(planned_bytes(needs), test_features(), test_pool());
  const auto kernel = entry.make(op, view, weights, load);
  EXPECT_EQ(load.used(), planned_bytes(needs)) << entry.name;
  const DeviceBuffer memory = load.finish();
  const std::int64_t bytes = kernel->workspace_bytes(step.sizes());
  EXPECT_EQ(bytes, entry.planned_workspace == nullptr
                       ? 0
                       : entry.planned_workspace(op, view, step.sizes()))
      << entry.name;
  const DeviceTensor workspace(DataType::kUInt8, {aligned(bytes)});
  step.context().workspace = workspace.ref().data;
  step.context().workspace_bytes = bytes;

  std::vector<DeviceTensor> inputs;
  std::vector<DeviceTensor> outputs;
  std::vector<TensorRef> input_refs;
  std::vector<TensorRef> output_refs;
  for (const Tensor& input : c.inputs) inputs.emplace_back(input, storage);
  for (const DeviceTensor& input : inputs) input_refs.push_back(input.ref());
  if (c.reads_cache) input_refs.push_back({});
  for (const ValueType& type : view.outputs) {
    if (type.kind == ValueKind::kCache) continue;
    Shape shape;
    for (const Dim& dim : type.shape) shape.push_back(dim.extent);
    outputs.emplace_back(type.dtype, shape);
  }
  for (const DeviceTensor& output : outputs) output_refs.push_back(output.ref());
  for (int i = 0; i < launches; ++i) kernel->launch(input_refs, output_refs, step.context());
  step.synchronize();
  std::vector<Tensor> results;
  for (const DeviceTensor& output : outputs) results.push_back(output.fetch());
  return results;
}

inline std::vector<QuantizedTensor> plain_weights(const OpCase& c) {
  std::vector<QuantizedTensor> out;
  for (const Tensor& weight : c.weights) out.push_back(QuantizedTensor::from(weight));
  return out;
}

/// How far an output may be off in each storage type, beyond `tolerance`: its own rounding.
inline float rounding_of(DataType storage) {
  return storage == DataType::kBFloat16 ? 0.005F : storage == DataType::kFloat16 ? 0.0007F : 0.F;
}

/// Every kernel of the list against the CPU's reference, values stored as float32 and in 16 bits.
template <class OpT>
void expect_device_agrees(const OpT& op, const OpCase& original, float tolerance,
                          const std::string& what = {}) {
  for (const DataType storage : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    OpCase c = original;
    for (Tensor& input : c.inputs) input = rounded_to(input, storage);
    const std::vector<Tensor> expected = cpu::run_reference(op, c);
    const std::vector<QuantizedTensor> weights = plain_weights(c);
    const NodeView view = device_view(op, c, storage, weights);
    int ran = 0;
    for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
      if (!entry.reject(op, view, test_features()).empty()) continue;
      ++ran;
      DeviceStep step(c.batch);
      const auto got = run_on_device(entry, op, view, c, storage, weights, step);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        expect_close(got[i], expected[i], tolerance + rounding_of(storage),
                     std::string(entry.name) + " " + to_string(storage) + " " + what);
    }
    EXPECT_GT(ran, 0) << what;
  }
}

}  // namespace tenon::cuda
