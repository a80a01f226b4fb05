// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_float8.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/device/epilogue.h"
#include "backends/cuda/device_weight.h"
#include "backends/cuda/linear_cublaslt.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kStreamRows = 16;    // more go to cuBLASLt
constexpr std::int64_t kBlasMultiple = 16;  // of extents, that its fp8 products want
constexpr std::int64_t kSplitMultiple = 8;  // of widths, that launch_split() wants

std::size_t matrices(const Linear& op) { return static_cast<std::size_t>(op.segments); }
std::size_t matrices(const GatedLinear&) { return 2; }

void describe_op(const Linear&, Float8Epilogue&) {}
void describe_op(const GatedLinear& op, Float8Epilogue& epilogue) {
  epilogue.gated = true;
  epilogue.kind = op.kind;
}

// Types of what cuBLASLt writes: the node's outputs, or gate and up together.
std::vector<DataType> product_types(const Linear&, const NodeView& node) {
  std::vector<DataType> types;
  for (const ValueType& output : node.outputs) types.push_back(output.dtype);
  return types;
}
std::vector<DataType> product_types(const GatedLinear&, const NodeView&) {
  return {DataType::kBFloat16};
}

/// Which ways scaled products can take to a node's outputs.
struct ScaledWays {
  bool apart = false;   ///< a product a segment; of one product: that
  bool joined = false;  ///< one product of several segments, which a launch parts
};

ScaledWays scaled_ways(const Linear&, const NodeView& node) {
  ScaledWays ways{true, can_join(node)};
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const std::int64_t width = node.weights[i].shape[0];
    ways.apart = ways.apart && width % kBlasMultiple == 0;
    ways.joined = ways.joined && width % kSplitMultiple == 0;
  }
  return ways;
}
ScaledWays scaled_ways(const GatedLinear&, const NodeView&) { return {true, false}; }

/// Workspace for so many rows: sums (or what is joined, or gate and up, in no more bytes), codes,
/// scales of rows.
struct Places {
  std::int64_t codes = 0;
  std::int64_t scales = 0;
  std::int64_t total = 0;
};

Places places_of(const PackedMatrix& m, std::int64_t rows) {
  constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
  Places out;
  out.codes = aligned(rows * m.rows * kFloat);
  const std::int64_t streamed = std::min(rows, kStreamRows) * m.columns * 2;
  out.scales = out.codes + aligned(std::max(streamed, rows * m.row_bytes));
  out.total = out.scales + aligned(rows * kFloat);
  return out;
}

class LinearFloat8 final : public CudaKernel, public TunableKernel {
 public:
  struct Parts {
    PackedMatrix matrix;
    Float8Epilogue epilogue;                // without sums, rows and outputs
    const float* scaled_weights = nullptr;  // [rows of the matrix], never null where scaled
    bool scaled = false;
    ScaledWays ways;
    std::vector<std::int64_t> widths;  // of products: of segments, or of gate and up together
    std::vector<DataType> types;
  };
  explicit LinearFloat8(Parts parts) : p_(std::move(parts)) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const TensorRef& x = inputs[0];
    if (x.rows == 0) return;
    const LinearTactic tactic = tactic_of(x.rows);
    const bool streams = tactic.route == Route::kStream;
    const Places places = places_of(p_.matrix, x.rows);
    const Codes codes{step.workspace + places.codes,
                      reinterpret_cast<float*>(step.workspace + places.scales), x.rows};
    launch_round_rows({.x = x.data,
                       .rows = x.rows,
                       .columns = p_.matrix.columns,
                       .row_bytes = streams ? 0 : p_.matrix.row_bytes,
                       .codes = codes.data,
                       .scales = codes.scales},
                      step.features->capability >= 90, step.stream);
    switch (tactic.route) {
      case Route::kProducts: return multiply(tactic.algorithm, codes, outputs, step);
      case Route::kJoined: return join(tactic.algorithm, codes, outputs, step);
      case Route::kSums: {
        const MatmulShape shape = product(x.rows, p_.matrix.rows, DataType::kFloat32, false);
        step.cublaslt->matmul(shape, codes.data, p_.matrix.codes, step.workspace, step.stream,
                              tactic.algorithm);
        return finish_sums(codes, outputs, step);
      }
      default: stream(codes, step); return finish_sums(codes, outputs, step);
    }
  }

  std::int64_t workspace_bytes(const StepSizes& limits) const override {
    return places_of(p_.matrix, limits.tokens).total;
  }

  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const override {
    if (blas == nullptr) return {};
    std::vector<LinearTactic> out;
    if (p_.scaled) out = scaled_tactics(rows, *blas);
    // Sums beside scaled products: the library may be slow at those for some shape.
    const MatmulShape sums = product(rows, p_.matrix.rows, DataType::kFloat32, false);
    add(out, Route::kSums, blas->algorithms(sums, p_.scaled ? 1 : CublasLt::kProposals));
    if (rows <= kStreamRows) out.insert(out.begin(), LinearTactic{});
    return out;
  }
  void set_tactic(std::int64_t rows, const LinearTactic& tactic) override {
    tactics_.set(rows, tactic);
  }

 private:
  using Route = LinearTactic::Route;

  /// Rows of x, rounded.
  struct Codes {
    std::byte* data;
    float* scales;
    std::int64_t rows;
  };

  LinearTactic tactic_of(std::int64_t rows) const {
    const LinearTactic* const set = tactics_.find(rows);
    if (set != nullptr) return *set;
    if (rows <= kStreamRows) return {Route::kStream};
    if (!p_.scaled) return {Route::kSums};
    return {p_.ways.apart ? Route::kProducts : Route::kJoined};
  }

  MatmulShape product(std::int64_t rows, std::int64_t width, DataType type, bool scaled) const {
    const std::int64_t bytes = p_.matrix.row_bytes;
    return {DataType::kFloat8E4M3, type, rows, width, bytes, width, scaled};
  }

  // The library's first choice under its plain name, the others as what they are.
  static void add(std::vector<LinearTactic>& tactics, Route route,
                  std::span<const std::uint64_t> algorithms) {
    for (std::size_t i = 0; i < algorithms.size(); ++i)
      tactics.push_back({route, i == 0 ? 0 : algorithms[i]});
  }

  std::vector<LinearTactic> scaled_tactics(std::int64_t rows, CublasLt& blas) const {
    std::vector<LinearTactic> out;
    const auto algorithms = [&](std::int64_t width, DataType type, int most) {
      return blas.algorithms(product(rows, width, type, true), most);
    };
    if (p_.widths.size() == 1) {
      add(out, Route::kProducts, algorithms(p_.widths[0], p_.types[0], CublasLt::kProposals));
      return out;
    }
    bool apart = p_.ways.apart;
    for (std::size_t i = 0; i < p_.widths.size(); ++i)
      apart = apart && !algorithms(p_.widths[i], p_.types[i], 1).empty();
    if (apart) out.push_back({Route::kProducts});
    if (p_.ways.joined)
      add(out, Route::kJoined, algorithms(p_.matrix.rows, p_.types[0], CublasLt::kProposals));
    return out;
  }

  // Rows [begin, begin + y.width) of the matrix.
  void multiply_scaled(std::uint64_t algorithm, const Codes& codes, std::int64_t begin,
                       const TensorRef& y, const StepContext& step) const {
    step.cublaslt->matmul(product(codes.rows, y.width, y.dtype, true), codes.data,
                          p_.matrix.codes + begin * p_.matrix.row_bytes, y.data, step.stream,
                          algorithm, {codes.scales, p_.scaled_weights + begin});
  }

  void multiply(std::uint64_t algorithm, const Codes& codes, std::span<const TensorRef> outputs,
                const StepContext& step) const {
    const float* const bias = p_.epilogue.bias;
    if (p_.epilogue.gated) {
      const TensorRef& y = outputs[0];
      const TensorRef both{step.workspace, DataType::kBFloat16, codes.rows, p_.matrix.rows};
      multiply_scaled(algorithm, codes, 0, both, step);
      launch_gate(p_.epilogue.kind, both.data, both.dtype, bias,
                  bias == nullptr ? nullptr : bias + y.width, y.data, y.dtype, y.rows, y.width,
                  step.stream);
      return;
    }
    std::int64_t begin = 0;
    for (const TensorRef& y : outputs) {
      multiply_scaled(algorithm, codes, begin, y, step);
      if (bias != nullptr)
        launch_add_bias(y.data, y.dtype, bias + begin, y.rows, y.width, step.stream);
      begin += y.width;
    }
  }

  void join(std::uint64_t algorithm, const Codes& codes, std::span<const TensorRef> outputs,
            const StepContext& step) const {
    const TensorRef all{step.workspace, outputs[0].dtype, codes.rows, p_.matrix.rows};
    multiply_scaled(algorithm, codes, 0, all, step);
    RowSplit split = split_of(all.data, outputs);
    for (int i = 0; p_.epilogue.bias != nullptr && i < split.segments; ++i)
      split.out[i].bias = p_.epilogue.bias + split.out[i].begin;
    launch_split(split, step.stream);
  }

  // Sums of codes alone: scales and biases come after.
  void stream(const Codes& codes, const StepContext& step) const {
    GemvArguments a;
    a.matrix = p_.matrix;
    a.x = reinterpret_cast<const std::uint8_t*>(codes.data);
    a.x_rows = codes.rows;
    a.rows = static_cast<std::int32_t>(p_.matrix.rows);
    a.columns = static_cast<std::int32_t>(p_.matrix.columns);
    a.segments = 1;
    a.out[0] = {step.workspace, p_.matrix.rows, 0, DataType::kFloat32};
    const GemvLaunch launch = plan_gemv(a, *step.features);
    launch_gemv(a, launch, step.stream);
  }

  void finish_sums(const Codes& codes, std::span<const TensorRef> outputs,
                   const StepContext& step) const {
    Float8Epilogue epilogue = p_.epilogue;
    epilogue.sums = reinterpret_cast<const float*>(step.workspace);
    epilogue.x_scales = codes.scales;
    epilogue.rows = codes.rows;
    epilogue.segments = static_cast<std::int32_t>(outputs.size());
    std::int32_t begin = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      epilogue.out[i] = {outputs[i].data, outputs[i].width, begin, outputs[i].dtype};
      begin += static_cast<std::int32_t>(outputs[i].width);
    }
    launch_float8_epilogue(epilogue, step.stream);
  }

  Parts p_;
  TacticsByRows tactics_;
};

// A vector of scales is not to be left out: where the matrix has none, it is of ones.
std::vector<float> ones_of(const PackedMatrix& form) {
  return std::vector<float>(static_cast<std::size_t>(form.rows), 1.F);
}

template <class OpT>
std::string reject_scaled(const OpT& op, const NodeView& node, const DeviceFeatures& features) {
  for (const DataType type : product_types(op, node)) {
    if (type != DataType::kBFloat16 && type != DataType::kFloat32)
      return fmt::format("an output is stored as {}", to_string(type));
    if (!(type == DataType::kBFloat16 ? features.scaled_to_bfloat16 : features.scaled_to_float32))
      return "scales in the products: " + features.scaled_missing;
  }
  const ScaledWays ways = scaled_ways(op, node);
  if (ways.apart || ways.joined) return {};
  return fmt::format("segments that are no multiples of {}, and cannot be joined", kBlasMultiple);
}

}  // namespace

template <class OpT>
std::string reject_float8(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                          Float8Products products) {
  if (!features.cublaslt) return "cuBLASLt: " + features.cublaslt_missing;
  if (features.capability < 89) return "fp8 products need compute capability 8.9 or more";
  const std::size_t count = matrices(op);
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const WeightUse& use = node.weights[i];
    if (!use.spec.suits_float8_inputs(use.shape[1]))
      return fmt::format("inputs of float8_e4m3 go with weights of float8_e4m3 alone, {} is {}",
                         use.name, to_string(use.spec));
    rows += use.shape[0];
  }
  if (rows % kBlasMultiple != 0)
    return fmt::format("{} outputs are no multiple of {}", rows, kBlasMultiple);
  std::string why = reject_stream(op, node, features, DataType::kBFloat16);
  if (why.empty() && products == Float8Products::kScaled) why = reject_scaled(op, node, features);
  return why;
}

template <class OpT>
std::vector<PackedNeed> float8_needs(const OpT& op, const NodeView& node, Float8Products products) {
  const std::size_t count = matrices(op);
  const PackedMatrix form = packed_form(node, count, DataType::kBFloat16).matrix;
  std::vector<PackedNeed> needs = packed_needs(node, count, form);
  if (op.has_bias) needs.push_back(joined_bias_need(node, count, form));
  if (products == Float8Products::kScaled && form.scale_stride == 0)
    needs.push_back(constant_need(ones_of(form)));
  return needs;
}

template <class OpT>
std::unique_ptr<CudaKernel> make_float8(const OpT& op, const NodeView& node, Weights weights,
                                        LoadContext& load, Float8Products products) {
  const std::size_t count = matrices(op);
  const PackedMatrix form = packed_form(node, count, DataType::kBFloat16).matrix;
  LinearFloat8::Parts parts;
  parts.matrix = load_packed(node, weights, count, form, load);
  describe_op(op, parts.epilogue);
  parts.epilogue.w_scales = static_cast<const float*>(parts.matrix.scale);
  parts.epilogue.width = form.rows;
  if (op.has_bias) parts.epilogue.bias = load_joined_bias(node, weights, count, form, load);
  parts.scaled = products == Float8Products::kScaled;
  if (parts.scaled) {
    parts.scaled_weights = parts.epilogue.w_scales;
    if (form.scale_stride == 0) parts.scaled_weights = upload_constant(ones_of(form), load);
    parts.ways = scaled_ways(op, node);
    parts.types = product_types(op, node);
    if (parts.epilogue.gated)
      parts.widths = {form.rows};
    else
      for (std::size_t i = 0; i < count; ++i) parts.widths.push_back(node.weights[i].shape[0]);
  }
  return std::make_unique<LinearFloat8>(std::move(parts));
}

template <class OpT>
std::int64_t float8_workspace(const OpT& op, const NodeView& node, const StepSizes& limits) {
  return places_of(packed_form(node, matrices(op), DataType::kBFloat16).matrix, limits.tokens)
      .total;
}

template std::string reject_float8(const Linear&, const NodeView&, const DeviceFeatures&,
                                   Float8Products);
template std::string reject_float8(const GatedLinear&, const NodeView&, const DeviceFeatures&,
                                   Float8Products);
template std::vector<PackedNeed> float8_needs(const Linear&, const NodeView&, Float8Products);
template std::vector<PackedNeed> float8_needs(const GatedLinear&, const NodeView&, Float8Products);
template std::unique_ptr<CudaKernel> make_float8(const Linear&, const NodeView&, Weights,
                                                 LoadContext&, Float8Products);
template std::unique_ptr<CudaKernel> make_float8(const GatedLinear&, const NodeView&, Weights,
                                                 LoadContext&, Float8Products);
template std::int64_t float8_workspace(const Linear&, const NodeView&, const StepSizes&);
template std::int64_t float8_workspace(const GatedLinear&, const NodeView&, const StepSizes&);

}  // namespace tenon::cuda
