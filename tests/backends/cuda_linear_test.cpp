// CUDA kernels that read matrices, of every weight form, against the CPU's fp32 references.
// SPDX-License-Identifier: Apache-2.0
#include "cpu_linear_support.h"
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

using cpu::columns_for;
using cpu::RandomWeights;
using cpu::spec_of;
using cpu::weight_forms;

// Codes times scales need more bits than bfloat16 has: with many rows stream kernels multiply with
// the rounded weights.
constexpr std::int64_t kPackedStreamRows = 16;
DataType rounds_to(const std::string& kernel, const QuantizedTensor& weight, std::int64_t rows) {
  const bool rounds = kernel.find("stream_bf16") != std::string::npos && !weight.spec.is_float() &&
                      rows > kPackedStreamRows;
  return rounds ? DataType::kBFloat16 : DataType::kFloat32;
}

// Each output within what rounding may make of its sum (cpu_linear_support.h).
void expect_sums_close(const Tensor& got, const Tensor& expected, const QuantizedTensor& weight,
                       const Tensor& x, DataType rounded, const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const std::int64_t outputs = weight.rows();
  const std::int64_t columns = weight.columns();
  for (std::int64_t i = 0; i < got.view().elements(); ++i) {
    const float limit =
        cpu::tolerance(weight, i % outputs, x.view().as<float>() + i / outputs * columns, rounded);
    const float difference = std::fabs(got.view().as<float>()[i] - expected.view().as<float>()[i]);
    ASSERT_LE(difference, limit + 1e-6F) << what << " element " << i;
  }
}

/// The CPU's specification of linears whose inputs are rounded to `activation`.
template <class OpT>
const cpu::KernelEntry<OpT>& cpu_reference(DataType activation) {
  const cpu::KernelEntry<OpT>* found = nullptr;
  for (const cpu::KernelEntry<OpT>& entry : cpu::all_kernels<OpT>())
    if (entry.activation == activation) found = &entry;
  return *found;
}

template <class OpT>
std::vector<Tensor> cpu_result(const OpT& op, const OpCase& c,
                               const std::vector<QuantizedTensor>& weights,
                               DataType activation = DataType::kFloat32) {
  cpu::NodeView view;
  std::vector<Shape> shapes;
  for (const QuantizedTensor& w : weights) {
    view.weights.push_back({"w", w.shape, w.spec});
    shapes.push_back(w.shape);
  }
  for (const Tensor& input : c.inputs) {
    std::vector<Dim> dims;
    for (const std::int64_t extent : input.shape()) dims.emplace_back(extent);
    view.inputs.push_back(ValueType::tensor(input.dtype(), dims));
  }
  view.outputs = infer_output_types(op, view.inputs, shapes);
  ThreadPool pool({.threads = 2, .pin = false});
  const auto& entry = cpu_reference<OpT>(activation);
  const auto kernel = entry.make(op, view, weights, pool);
  std::vector<Tensor> outputs;
  for (const ValueType& type : view.outputs) {
    Shape shape;
    for (const Dim& dim : type.shape) shape.push_back(dim.extent);
    outputs.emplace_back(type.dtype, shape);
  }
  const std::int64_t bytes =
      kernel->workspace_bytes({.tokens = c.inputs[0].shape()[0]}, pool.size());
  Tensor workspace(DataType::kUInt8, {bytes});
  const Batch batch;
  cpu::StepContext step{
      pool, batch, nullptr, nullptr, {workspace.mutable_data(), workspace.bytes()}};
  kernel->run(cpu::refs_of(c.inputs), cpu::refs_of(outputs), step);
  return outputs;
}

template <class OpT>
void expect_linear_agrees(const OpT& op, const Tensor& x,
                          const std::vector<QuantizedTensor>& weights, const std::string& what) {
  for (const DataType storage : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    OpCase c;
    c.inputs = {rounded_to(x, storage)};
    c.batch = make_batch({0}, {static_cast<std::int32_t>(x.shape()[0])});
    const std::vector<Tensor> expected = cpu_result(op, c, weights);
    // The outputs stay float32: as the residual stream has them.
    NodeView view;
    for (const Tensor& input : c.inputs)
      view.inputs.push_back(ValueType::tensor(
          input.dtype() == DataType::kFloat32 ? storage : input.dtype(),
          {Dim(input.shape()[0]), Dim(input.shape().size() > 1 ? input.shape()[1] : 1)}));
    for (const Tensor& output : expected)
      view.outputs.push_back(
          ValueType::tensor(DataType::kFloat32, {Dim(output.shape()[0]), Dim(output.shape()[1])}));
    for (std::size_t i = 0; i < weights.size(); ++i)
      view.weights.push_back({"w" + std::to_string(i), weights[i].shape, weights[i].spec});
    for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
      if (entry.activation == DataType::kFloat8E4M3) continue;  // Float8Inputs
      if (!entry.reject(op, view, test_features()).empty()) continue;
      DeviceStep step(c.batch);
      const auto got = run_on_device(entry, op, view, c, storage, weights, step);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::string where = std::string(entry.name) + " " + to_string(storage) + " " + what;
        if constexpr (std::is_same_v<OpT, Linear>)
          expect_sums_close(got[i], expected[i], weights[i], c.inputs[0],
                            rounds_to(entry.name, weights[i], x.shape()[0]), where);
        else
          expect_close(
              got[i], expected[i],
              rounds_to(entry.name, weights[0], x.shape()[0]) == DataType::kFloat32 ? 2e-5F : 2e-2F,
              where);
      }
    }
  }
}

TEST(CudaLinear, EveryWeightForm) {
  TENON_NEEDS_GPU();
  for (const std::string& form : weight_forms())
    for (const std::int64_t rows : {1, 5, 70}) {
      const QuantSpec spec = spec_of(form);
      const std::int64_t columns = columns_for(spec, 384);
      RandomWeights random(7);
      const std::vector<QuantizedTensor> weights = {random.weight(spec, 80, columns)};
      expect_linear_agrees(Linear{}, random_tensor({rows, columns}, 3), weights,
                           form + " rows " + std::to_string(rows));
    }
}

TEST(CudaLinear, SegmentsAndBias) {
  TENON_NEEDS_GPU();
  for (const char* form :
       {"bfloat16", "float16", "float32", "int4 group 32 scale float16 offset 8"}) {
    const QuantSpec spec = spec_of(form);
    RandomWeights random(9);
    std::vector<QuantizedTensor> weights = {
        random.weight(spec, 96, 256), random.weight(spec, 32, 256), random.weight(spec, 40, 256)};
    for (const std::int64_t width : {96, 32, 40})
      weights.push_back(
          QuantizedTensor::from(random_tensor({width}, static_cast<unsigned>(width))));
    expect_linear_agrees(Linear{.segments = 3, .has_bias = true}, random_tensor({17, 256}, 3),
                         weights, form);
  }
}

// Rows of x in every pass of the streaming kernels, columns and outputs with tails, x in pieces.
TEST(CudaLinear, StreamGrid) {
  TENON_NEEDS_GPU();
  struct Extents {
    std::int64_t outputs, columns;
  };
  for (const char* form :
       {"bfloat16", "float16", "float8_e4m3", "float8_e4m3 group row scale float32",
        "int8 group row scale float32", "int8 group 128 scale bfloat16",
        "int4 group 32 scale float16 offset 8", "int4 group 64 scale bfloat16 minimum",
        "int4 group 128 scale float32 offset 8",
        "int4 group 32 scale float16 minimum super 256 sub 8"})
    for (const Extents extents : {Extents{33, 256}, Extents{40, 4352}}) {
      const QuantSpec spec = spec_of(form);
      RandomWeights random(19);
      const std::vector<QuantizedTensor> weights = {
          random.weight(spec, extents.outputs, extents.columns)};
      const NodeView view{
          {ValueType::tensor(spec == QuantSpec::floating(DataType::kFloat16) ? DataType::kFloat16
                                                                             : DataType::kBFloat16,
                             {Dim(1), Dim(extents.columns)})},
          {ValueType::tensor(DataType::kFloat32, {Dim(1), Dim(extents.outputs)})},
          {{"w", weights[0].shape, spec}}};
      int served = 0;
      for (const KernelEntry<Linear>& entry : device_kernels<Linear>())
        if (std::string(entry.name).find("stream") != std::string::npos)
          served += entry.reject(Linear{}, view, test_features()).empty() ? 1 : 0;
      EXPECT_EQ(served, 2) << form;
      for (const std::int64_t rows : {0, 1, 2, 7, 8, 16, 33, 128}) {
        if (extents.columns > 256 && rows > 16) continue;  // the reference is slow
        expect_linear_agrees(Linear{}, random_tensor({rows, extents.columns}, 3), weights,
                             std::string(form) + " rows " + std::to_string(rows));
      }
    }
}

// More rows of the matrix than the thread blocks that a device has at a time.
TEST(CudaLinear, StreamOfManyBlocks) {
  TENON_NEEDS_GPU();
  const std::int64_t outputs = test_features().multiprocessors * std::int64_t{40} + 24;
  for (const char* form :
       {"bfloat16", "float8_e4m3", "int8 group 128 scale bfloat16",
        "int4 group 128 scale float16 offset 8", "int4 group 32 scale bfloat16 minimum"}) {
    RandomWeights random(23);
    const std::vector<QuantizedTensor> weights = {random.weight(spec_of(form), outputs, 640)};
    for (const std::int64_t rows : {1, 3, 16})
      expect_linear_agrees(Linear{}, random_tensor({rows, 640}, 3), weights,
                           std::string(form) + " rows " + std::to_string(rows));
  }
}

TEST(CudaLinear, OddExtents) {
  TENON_NEEDS_GPU();
  for (const std::int64_t columns : {1, 3, 17, 130})
    for (const std::int64_t outputs : {1, 5, 65}) {
      RandomWeights random(11);
      expect_linear_agrees(Linear{}, random_tensor({3, columns}, 3),
                           {random.weight(spec_of("bfloat16"), outputs, columns)},
                           std::to_string(columns) + " to " + std::to_string(outputs));
    }
}

TEST(CudaLinear, Gated) {
  TENON_NEEDS_GPU();
  for (const char* form :
       {"bfloat16", "float16", "float32", "float8_e4m3", "float8_e4m3 group row scale float32",
        "int8 group row scale float32", "int4 group 32 scale float16 offset 8"})
    for (const bool bias : {false, true})
      for (const std::int64_t rows : {1, 9, 70}) {
        const QuantSpec spec = spec_of(form);
        RandomWeights random(13);
        std::vector<QuantizedTensor> weights = {random.weight(spec, 88, 256),
                                                random.weight(spec, 88, 256)};
        for (int i = 0; bias && i < 2; ++i)
          weights.push_back(
              QuantizedTensor::from(random_tensor({88}, static_cast<unsigned>(5 + i))));
        expect_linear_agrees(GatedLinear{.kind = ActivationKind::kSilu, .has_bias = bias},
                             random_tensor({rows, 256}, 3, spec.bits == 8 ? 0.02F : 0.5F), weights,
                             std::string(form) + " rows " + std::to_string(rows));
      }
}

/// The kernels that round x to fp8, with x stored as bfloat16, against the CPU's that does so.
/// Tensor cores add fp8 products with fewer bits than fp32: with many rows the bound is wider.
template <class OpT>
void expect_float8_agrees(const OpT& op, const Tensor& x,
                          const std::vector<QuantizedTensor>& weights, const std::string& what) {
  OpCase c;
  c.inputs = {rounded_to(x, DataType::kBFloat16)};
  const std::int64_t rows = x.shape()[0];
  c.batch = make_batch({0}, {static_cast<std::int32_t>(rows)});
  const std::vector<Tensor> expected = cpu_result(op, c, weights, DataType::kFloat8E4M3);
  NodeView view;
  view.inputs = {ValueType::tensor(DataType::kBFloat16, {Dim(rows), Dim(x.shape()[1])})};
  for (const Tensor& output : expected)
    view.outputs.push_back(
        ValueType::tensor(DataType::kFloat32, {Dim(output.shape()[0]), Dim(output.shape()[1])}));
  for (std::size_t i = 0; i < weights.size(); ++i)
    view.weights.push_back({"w" + std::to_string(i), weights[i].shape, weights[i].spec});
  const bool few = rows <= kPackedStreamRows;
  for (const KernelEntry<OpT>& entry : device_kernels<OpT>()) {
    if (entry.activation != DataType::kFloat8E4M3) continue;
    const std::string where = std::string(entry.name) + " " + what;
    const bool sums = std::string_view(entry.name).ends_with("_sums");
    const std::string why = entry.reject(op, view, test_features());
    ASSERT_EQ(why.empty(), sums || test_features().scaled_missing.empty()) << where << why;
    if (!why.empty()) continue;
    DeviceStep step(c.batch);
    const auto got = run_on_device(entry, op, view, c, DataType::kBFloat16, weights, step, 2);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      if constexpr (std::is_same_v<OpT, Linear>)
        expect_sums_close(got[i], expected[i], weights[i], c.inputs[0],
                          few ? DataType::kFloat32 : DataType::kBFloat16, where);
      else
        expect_close(got[i], expected[i], few ? 2e-5F : 2e-2F, where);
    }
  }
}

TEST(CudaLinear, Float8Inputs) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED, no cuBLASLt";
  for (const char* form : {"float8_e4m3", "float8_e4m3 group row scale float32"})
    for (const std::int64_t columns : {64, 384, 1096})  // whole lines, and not
      for (const std::int64_t rows : {0, 1, 5, 16, 17, 70, 300}) {
        const QuantSpec spec = spec_of(form);
        RandomWeights random(7);
        const std::vector<QuantizedTensor> weights = {random.weight(spec, 80, columns)};
        Tensor x = random_tensor({rows, columns}, 3);
        if (rows > 1)  // a row of zeros has a scale of 0
          std::fill_n(x.mutable_as<float>(), columns, 0.F);
        expect_float8_agrees(Linear{}, x, weights,
                             fmt::format("{} {} columns {} rows", form, columns, rows));
      }
}

TEST(CudaLinear, Float8InputsOfSegmentsAndGates) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED, no cuBLASLt";
  const QuantSpec spec = spec_of("float8_e4m3 group row scale float32");
  for (const bool bias : {false, true})
    for (const std::int64_t rows : {3, 40}) {
      RandomWeights random(9);
      std::vector<QuantizedTensor> weights = {
          random.weight(spec, 96, 256), random.weight(spec, 24, 256), random.weight(spec, 40, 256)};
      for (const std::int64_t width : {96, 24, 40})
        if (bias)
          weights.push_back(
              QuantizedTensor::from(random_tensor({width}, static_cast<unsigned>(width))));
      expect_float8_agrees(Linear{.segments = 3, .has_bias = bias}, random_tensor({rows, 256}, 3),
                           weights, fmt::format("segments, {} rows", rows));
      weights = {random.weight(spec, 88, 256), random.weight(spec, 88, 256)};
      for (int i = 0; bias && i < 2; ++i)
        weights.push_back(QuantizedTensor::from(random_tensor({88}, static_cast<unsigned>(5 + i))));
      expect_float8_agrees(GatedLinear{.kind = ActivationKind::kSilu, .has_bias = bias},
                           random_tensor({rows, 256}, 3, 0.02F), weights,
                           fmt::format("gated, {} rows", rows));
    }
}

// Needs no GPU: what the kernel refuses, and that all with scales in the products refuse it too.
TEST(CudaLinear, Float8InputsGoWithFloat8Weights) {
  const KernelEntry<Linear>& scaled_entry = device_kernels<Linear>()[0];
  const KernelEntry<Linear>& entry = device_kernels<Linear>()[1];
  ASSERT_STREQ(scaled_entry.name, "linear_fp8");
  ASSERT_STREQ(entry.name, "linear_fp8_sums");
  DeviceFeatures features;
  features.capability = 90;
  features.cublaslt = true;
  features.scaled_to_bfloat16 = features.scaled_to_float32 = true;
  const auto why = [&](const char* form, std::int64_t outputs, DataType storage) {
    NodeView view;
    view.inputs = {ValueType::tensor(storage, {Dim(4), Dim(256)})};
    view.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(4), Dim(outputs)})};
    view.weights = {{"w0", {outputs, 256}, spec_of(form)}};
    const std::string reason = entry.reject(Linear{}, view, features);
    EXPECT_EQ(scaled_entry.reject(Linear{}, view, features), reason);
    return reason;
  };
  const char* const scaled = "float8_e4m3 group row scale float32";
  EXPECT_EQ(why(scaled, 32, DataType::kBFloat16), "");
  EXPECT_EQ(why("float8_e4m3", 32, DataType::kBFloat16), "");
  for (const char* form : {"bfloat16", "int8 group row scale float32",
                           "float8_e4m3 group 128 scale float32", "float8_e5m2"})
    EXPECT_NE(why(form, 32, DataType::kBFloat16).find(std::string("w0 is ") + form),
              std::string::npos);
  EXPECT_NE(why(scaled, 40, DataType::kBFloat16), "");  // no multiple of 16
  EXPECT_NE(why(scaled, 32, DataType::kFloat32), "");
  features.capability = 80;
  EXPECT_NE(why(scaled, 32, DataType::kBFloat16), "");
}

TEST(CudaLinear, Embedding) {
  TENON_NEEDS_GPU();
  for (const std::string& form : weight_forms()) {
    const QuantSpec spec = spec_of(form);
    RandomWeights random(15);
    OpCase c;
    c.inputs = {int_tensor({0, 19, 3, 25, 8, 7})};  // 25 and, with row_begin, 0 to 4 are not here
    c.batch = make_batch({0}, {6});
    const std::vector<QuantizedTensor> weights = {random.weight(spec, 20, columns_for(spec, 200))};
    const Embedding op{.row_begin = 5};
    const std::vector<Tensor> expected = cpu_result(op, c, weights);
    NodeView view;
    view.inputs = {ValueType::tensor(DataType::kInt32, {Dim(6)})};
    view.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(6), Dim(weights[0].columns())})};
    view.weights = {{"w0", weights[0].shape, weights[0].spec}};
    for (const KernelEntry<Embedding>& entry : device_kernels<Embedding>()) {
      if (!entry.reject(op, view, test_features()).empty()) continue;
      DeviceStep step(c.batch);
      const auto got = run_on_device(entry, op, view, c, DataType::kFloat32, weights, step);
      expect_close(got[0], expected[0], 0.F, form);
    }
  }
}

TEST(CudaLinear, RowsDoNotDependOnEachOther) {
  TENON_NEEDS_GPU();
  RandomWeights random(17);
  const auto storage_of = [](DataType activation) {
    return activation == DataType::kFloat32 ? DataType::kFloat32 : DataType::kBFloat16;
  };
  const std::vector<QuantizedTensor> weights = {random.weight(spec_of("bfloat16"), 128, 512)};
  const Tensor x = random_tensor({70, 512}, 3);
  const auto rows_of = [&](const KernelEntry<Linear>& entry, std::int64_t rows) {
    Tensor part(DataType::kFloat32, {rows, 512});
    std::memcpy(part.mutable_data(), x.data(), part.bytes());
    OpCase c;
    c.inputs = {part};
    c.batch = make_batch({0}, {static_cast<std::int32_t>(rows)});
    NodeView view;
    const DataType storage = storage_of(entry.activation);
    view.inputs = {ValueType::tensor(storage, {Dim(rows), Dim(512)})};
    view.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(rows), Dim(128)})};
    view.weights = {{"w0", weights[0].shape, weights[0].spec}};
    DeviceStep step(c.batch);
    return run_on_device(entry, Linear{}, view, c, storage, weights, step)[0];
  };
  int ran = 0;
  for (const KernelEntry<Linear>& entry : device_kernels<Linear>()) {
    if (!entry.row_invariant) continue;
    NodeView view;
    view.inputs = {ValueType::tensor(storage_of(entry.activation), {Dim(1), Dim(512)})};
    view.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(1), Dim(128)})};
    view.weights = {{"w0", weights[0].shape, weights[0].spec}};
    if (!entry.reject(Linear{}, view, test_features()).empty()) continue;
    ++ran;
    const Tensor all = rows_of(entry, 70);
    for (const std::int64_t rows : {1, 2, 8, 16, 33}) {
      const Tensor some = rows_of(entry, rows);
      EXPECT_EQ(std::memcmp(all.data(), some.data(), some.bytes()), 0) << entry.name << " " << rows;
    }
  }
  EXPECT_EQ(ran, 2);  // plain, and the streaming kernel
}

}  // namespace
}  // namespace tenon::cuda
