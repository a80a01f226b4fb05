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

// Each output within what rounding may make of its sum (cpu_linear_support.h).
void expect_sums_close(const Tensor& got, const Tensor& expected, const QuantizedTensor& weight,
                       const Tensor& x, const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const std::int64_t outputs = weight.rows();
  const std::int64_t columns = weight.columns();
  for (std::int64_t i = 0; i < got.view().elements(); ++i) {
    const float limit = cpu::tolerance(
        weight, i % outputs, x.view().as<float>() + i / outputs * columns, DataType::kFloat32);
    const float difference = std::fabs(got.view().as<float>()[i] - expected.view().as<float>()[i]);
    ASSERT_LE(difference, limit + 1e-6F) << what << " element " << i;
  }
}

template <class OpT>
std::vector<Tensor> cpu_result(const OpT& op, const OpCase& c,
                               const std::vector<QuantizedTensor>& weights) {
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
  const auto& entry = cpu::all_kernels<OpT>().back();
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
      if (!entry.reject(op, view, test_features()).empty()) continue;
      DeviceStep step(c.batch);
      const auto got = run_on_device(entry, op, view, c, storage, weights, step);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::string where = std::string(entry.name) + " " + to_string(storage) + " " + what;
        if constexpr (std::is_same_v<OpT, Linear>)
          expect_sums_close(got[i], expected[i], weights[i], c.inputs[0], where);
        else
          expect_close(got[i], expected[i], 2e-5F, where);
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
      weights.push_back(QuantizedTensor::from(random_tensor({width}, 5)));
    expect_linear_agrees(Linear{.segments = 3, .has_bias = true}, random_tensor({17, 256}, 3),
                         weights, form);
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
       {"bfloat16", "float16", "float32", "int4 group 32 scale float16 offset 8"})
    for (const bool bias : {false, true}) {
      const QuantSpec spec = spec_of(form);
      RandomWeights random(13);
      std::vector<QuantizedTensor> weights = {random.weight(spec, 88, 256),
                                              random.weight(spec, 88, 256)};
      for (int i = 0; bias && i < 2; ++i)
        weights.push_back(QuantizedTensor::from(random_tensor({88}, 5)));
      expect_linear_agrees(GatedLinear{.kind = ActivationKind::kSilu, .has_bias = bias},
                           random_tensor({70, 256}, 3, 0.5F), weights, form);
    }
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
  const std::vector<QuantizedTensor> weights = {random.weight(spec_of("bfloat16"), 128, 512)};
  const Tensor x = random_tensor({70, 512}, 3);
  const auto rows_of = [&](const KernelEntry<Linear>& entry, std::int64_t rows) {
    Tensor part(DataType::kFloat32, {rows, 512});
    std::memcpy(part.mutable_data(), x.data(), part.bytes());
    OpCase c;
    c.inputs = {part};
    c.batch = make_batch({0}, {static_cast<std::int32_t>(rows)});
    NodeView view;
    view.inputs = {ValueType::tensor(DataType::kFloat32, {Dim(rows), Dim(512)})};
    view.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(rows), Dim(128)})};
    view.weights = {{"w0", weights[0].shape, weights[0].spec}};
    DeviceStep step(c.batch);
    return run_on_device(entry, Linear{}, view, c, DataType::kFloat32, weights, step)[0];
  };
  for (const KernelEntry<Linear>& entry : device_kernels<Linear>()) {
    if (!entry.row_invariant || std::string(entry.name) != "linear_plain") continue;
    const Tensor all = rows_of(entry, 70);
    const Tensor one = rows_of(entry, 1);
    EXPECT_EQ(std::memcmp(all.data(), one.data(), one.bytes()), 0) << entry.name;
  }
}

}  // namespace
}  // namespace tenon::cuda
