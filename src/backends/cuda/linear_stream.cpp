// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_stream.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/device/epilogue.h"
#include "backends/cuda/device_weight.h"
#include "backends/cuda/linear_cublaslt.h"
#include "backends/cuda/linear_widening.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kStreamRows = 8;         // of 16-bit matrices: more go to cuBLASLt
constexpr std::int64_t kPackedStreamRows = 48;  // of others: dequantizing is worth it beyond
constexpr std::int64_t kMostStreamRows = 64;    // that are tried where tactics are measured
constexpr std::int64_t kWideningBeyond = 16;    // where it can: more rows are widened, not streamed
constexpr int kManyBlocksWarps = 4;             // of a block, where many share a multiprocessor
constexpr std::int64_t kPieceBytes = std::int64_t{32} << 20;  // dequantized at a time: fits in L2
constexpr std::int64_t kMostBlocks = 65535;

std::size_t matrices(const Linear& op) { return static_cast<std::size_t>(op.segments); }
std::size_t matrices(const GatedLinear&) { return 2; }

DataType x_type(const NodeView& node) { return node.inputs[0].dtype; }

std::int64_t piece_rows(const PackedMatrix& form) {
  const std::int64_t rows = kPieceBytes / (2 * form.columns) / 64 * 64;
  return std::min(form.rows, std::max<std::int64_t>(rows, 64));
}

// Workspace: the dequantized piece, then gate and up of all rows.
std::int64_t piece_bytes(const PackedMatrix& form) {
  if (form.kind == CodeKind::k16Bit) return 0;
  return aligned(2 * piece_rows(form) * form.columns);
}

// Before `tokens` of any kind: a piece, and sums in parts; one way has it at a time.
std::int64_t stream_bytes(const PackedMatrix& form, std::int64_t tokens, std::int64_t row_bytes,
                          std::int64_t joined_row_bytes) {
  const std::int64_t dequantized =
      piece_bytes(form) + tokens * row_bytes + std::min(tokens, kMostJoinedRows) * joined_row_bytes;
  if (form.kind == CodeKind::k16Bit) return dequantized;
  return std::max(dequantized, widening_workspace(form.columns, tokens));
}

// cuBLASLt wants rows of 16 bytes, and pieces that begin so.
bool outputs_suit_cublaslt(const NodeView& node, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    if (node.weights[i].shape[0] % 8 != 0) return false;
  for (const ValueType& output : node.outputs)
    if (output.dtype != DataType::kFloat32 && output.dtype != x_type(node)) return false;
  return true;
}

class LinearStream final : public CudaKernel, public TunableKernel {
 public:
  struct Parts {
    GemvArguments arguments;                // without x and outputs
    std::unique_ptr<CublasLtLinear> large;  // 16-bit matrices: cuBLASLt's kernel
    bool dequantizes = false;               // others: whether many rows may go to cuBLASLt
    bool widens = false;                    // others: whether some may be widened on their way
    bool rows_apart = false;                // streams alone
    std::int64_t token_workspace = 0;       // of each row …
    std::int64_t joined_row_bytes = 0;      // … and of rows of joined segments
    DataType output = DataType::kFloat32;
    std::size_t segments = 1;
  };
  explicit LinearStream(Parts parts) : p_(std::move(parts)) {}

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const std::int64_t rows = inputs[0].rows;
    if (rows == 0) return;
    LinearTactic tactic = tactic_of(rows);
    const bool own = tactic.route == LinearTactic::Route::kStream ||
                     tactic.route == LinearTactic::Route::kWidening;
    if (!own && step.cublaslt == nullptr) tactic = {};
    if (tactic.route == LinearTactic::Route::kStream)
      stream(inputs[0], outputs, step);
    else if (tactic.route == LinearTactic::Route::kWidening)
      widen(inputs[0], outputs, step);
    else if (p_.large != nullptr)
      p_.large->launch_as(tactic, inputs, outputs, step);
    else
      multiply_dequantized(tactic, inputs[0], outputs, step);
  }

  std::int64_t workspace_bytes(const StepSizes& limits) const override {
    if (p_.rows_apart) return 0;
    return stream_bytes(p_.arguments.matrix, limits.tokens, p_.token_workspace,
                        p_.joined_row_bytes);
  }

  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const override {
    const LinearTactic stream{};
    std::vector<LinearTactic> out;
    if (p_.large != nullptr) {
      if (blas != nullptr) out = p_.large->tactics(rows, blas);
      if (rows <= kMostStreamRows || out.empty())
        out.insert(usual(rows) == stream ? out.begin() : out.end(), stream);
      return out;
    }
    if (may_widen(rows)) out.push_back({LinearTactic::Route::kWidening});
    // Dequantizing rounds: it is no way for so few rows that they are multiplied without it.
    if (blas != nullptr && p_.dequantizes && rows > kPackedStreamRows)
      for (const LinearTactic& way : dequantized_tactics(rows, *blas)) out.push_back(way);
    if (rows <= kMostStreamRows || out.empty())
      out.insert(usual(rows) == stream ? out.begin() : out.end(), stream);
    return out;
  }
  void set_tactic(std::int64_t rows, const LinearTactic& tactic) override {
    tactics_.set(rows, tactic);
  }

 private:
  bool may_widen(std::int64_t rows) const {
    return p_.widens && rows > kWideningBeyond && rows <= kWideningRows;
  }
  /// Where nothing was measured.
  LinearTactic usual(std::int64_t rows) const {
    if (may_widen(rows)) return {LinearTactic::Route::kWidening};
    const bool many =
        p_.large != nullptr ? rows > kStreamRows : p_.dequantizes && rows > kPackedStreamRows;
    return many ? LinearTactic{LinearTactic::Route::kProducts} : LinearTactic{};
  }
  LinearTactic tactic_of(std::int64_t rows) const {
    const LinearTactic* const set = tactics_.find(rows);
    return set != nullptr ? *set : usual(rows);
  }

  std::vector<LinearTactic> dequantized_tactics(std::int64_t rows, CublasLt& blas) const {
    const GemvArguments& a = p_.arguments;
    const std::int64_t first_piece = std::min(piece_rows(a.matrix), std::int64_t{a.rows});
    const DataType type = a.gated ? DataType::kFloat32 : p_.output;
    const MatmulShape shape{DataType::kBFloat16, type, rows, first_piece, a.columns, a.rows};
    return cublaslt_tactics(shape, p_.segments == 1,
                            p_.joined_row_bytes > 0 && rows <= kMostJoinedRows, blas);
  }

  GemvArguments arguments_of(const TensorRef& x, std::span<const TensorRef> outputs) const {
    GemvArguments a = p_.arguments;
    a.x = x.as<const std::uint8_t>();
    a.x_rows = x.rows;
    a.segments = static_cast<std::int32_t>(outputs.size());
    std::int32_t begin = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      a.out[i] = {outputs[i].data, outputs[i].width, begin, outputs[i].dtype};
      begin += static_cast<std::int32_t>(outputs[i].width);
    }
    return a;
  }

  void stream(const TensorRef& x, std::span<const TensorRef> outputs,
              const StepContext& step) const {
    GemvArguments a = arguments_of(x, outputs);
    const GemvLaunch launch = plan_gemv(a, *step.features);
    launch_gemv(a, launch, step.stream);
  }

  void widen(const TensorRef& x, std::span<const TensorRef> outputs,
             const StepContext& step) const {
    const GemvArguments a = arguments_of(x, outputs);
    launch_widening(a, plan_widening(a, *step.features), step.workspace, step.stream);
  }

  // Gate and up count as the halves of one output in workspace, joined segments as its parts.
  void multiply_dequantized(const LinearTactic& tactic, const TensorRef& x,
                            std::span<const TensorRef> outputs, const StepContext& step) const {
    const GemvArguments& a = p_.arguments;
    const bool joined = tactic.route == LinearTactic::Route::kJoined;
    const std::int64_t most = piece_rows(a.matrix);
    std::byte* const both = step.workspace + piece_bytes(a.matrix);
    std::int64_t begin = 0;
    const std::size_t segments = a.gated || joined ? 1 : outputs.size();
    for (std::size_t s = 0; s < segments; ++s) {
      TensorRef y = outputs[s];
      if (a.gated) y = {both, DataType::kFloat32, x.rows, 2 * y.width};
      if (joined) y = {both, y.dtype, x.rows, a.rows};
      for (std::int64_t at = 0; at < y.width; at += most) {
        const std::int64_t count = std::min(most, y.width - at);
        launch_dequantize(a.matrix, begin + at, count, step.workspace, step.stream);
        const MatmulShape shape{DataType::kBFloat16, y.dtype, x.rows, count, a.columns, y.width};
        step.cublaslt->matmul(shape, x.data, step.workspace,
                              y.data + at * static_cast<std::int64_t>(size_of(y.dtype)),
                              step.stream, tactic.algorithm);
      }
      if (a.bias != nullptr && !a.gated && !joined)
        launch_add_bias(y.data, y.dtype, a.bias + begin, y.rows, y.width, step.stream);
      begin += y.width;
    }
    if (joined) part(both, outputs, step);
    if (!a.gated) return;
    const TensorRef& out = outputs[0];
    launch_gate(a.kind, both, DataType::kFloat32, a.bias,
                a.bias == nullptr ? nullptr : a.bias + out.width, out.data, out.dtype, out.rows,
                out.width, step.stream);
  }

  void part(const std::byte* joined, std::span<const TensorRef> outputs,
            const StepContext& step) const {
    RowSplit split = split_of(joined, outputs);
    for (int i = 0; p_.arguments.bias != nullptr && i < split.segments; ++i)
      split.out[i].bias = p_.arguments.bias + split.out[i].begin;
    launch_split(split, step.stream);
  }

  Parts p_;
  TacticsByRows tactics_;
};

void describe_op(const Linear&, const NodeView&, GemvArguments&) {}
void describe_op(const GatedLinear& op, const NodeView& node, GemvArguments& a) {
  a.gated = true;
  a.kind = op.kind;
  a.up_begin = static_cast<std::int32_t>(node.weights[0].shape[0]);
}

std::int64_t token_bytes(const Linear&, const NodeView&) { return 0; }
std::int64_t token_bytes(const GatedLinear&, const NodeView& node) {
  return 2 * node.weights[0].shape[0] * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

PackedNeed joined_bias_need(const NodeView& node, std::size_t count, const PackedMatrix& form) {
  PackedNeed out;
  for (std::size_t i = 0; i < count; ++i) out.key += node.weights[count + i].name + " ";
  out.key += "joined";
  out.bytes = form.rows * static_cast<std::int64_t>(sizeof(float));
  return out;
}

const float* load_joined_bias(const NodeView& node, const Weights& weights, std::size_t count,
                              const PackedMatrix& form, LoadContext& load) {
  std::vector<float> all;
  for (std::size_t i = 0; i < count; ++i) {
    const Tensor plain = dequantize(weights[count + i]);
    const auto* values = plain.view().as<float>();
    all.insert(all.end(), values, values + plain.view().elements());
  }
  return reinterpret_cast<const float*>(
      load.get(joined_bias_need(node, count, form).key, std::as_bytes(std::span(all))));
}

namespace {

// Of one chunk of a warp, with `count` rows of x.
int stage_bytes(const PackedMatrix& m, int count) {
  return 32 * gemv_stage_bytes(m.kind, m.step, m.scale_type == DataType::kFloat32,
                               m.minimum != nullptr) +
         count * gemv_x_bytes(m.kind);
}

// As many as fit where one block a multiprocessor has them all; then no more than its steps need.
int warps_of(const GemvArguments& a, int blocks, const DeviceFeatures& features, int wanted) {
  const int multiprocessors = std::max(1, features.multiprocessors);
  const int each = (blocks + multiprocessors - 1) / multiprocessors;
  int warps = each <= 1 ? kGemvMostWarps : each == 2 ? kGemvMostWarps / 2 : kManyBlocksWarps;
  if (wanted > 0) warps = wanted;
  const auto most =
      static_cast<int>(features.shared_bytes / (kGemvLeastDepth * stage_bytes(a.matrix, 8)));
  warps = std::clamp(warps, 1, std::clamp(most, 1, std::max(1, a.chunks)));
  const int steps = (a.chunks + warps - 1) / warps;
  return (a.chunks + steps - 1) / std::max(1, steps);
}

}  // namespace

GemvLaunch plan_gemv(GemvArguments& a, const DeviceFeatures& features, int warps) {
  const int block_rows = a.gated ? kGemvBlockRows / 2 : kGemvBlockRows;
  const int blocks = ((a.gated ? a.up_begin : a.rows) + block_rows - 1) / block_rows;
  const int chunk = gemv_chunk(a.matrix.kind);
  a.chunks = (a.columns + chunk - 1) / chunk;
  warps = warps_of(a, blocks, features, warps);
  GemvLaunch out;
  out.blocks = static_cast<unsigned>(blocks);
  out.threads = static_cast<unsigned>(warps * 32);
  const auto bytes = [&](int depth, std::int64_t width) {
    a.stage_bytes =
        stage_bytes(a.matrix, static_cast<int>(std::min<std::int64_t>(a.x_rows, width)));
    return warps * depth * a.stage_bytes;
  };
  if (a.x_rows > 8 && bytes(kGemvLeastDepth, 16) <= features.shared_bytes) out.width = 16;
  out.passes = static_cast<unsigned>((a.x_rows + out.width - 1) / out.width);
  out.depth = gemv_depth(a.matrix.kind);
  if (out.width > 8 || bytes(out.depth, out.width) > features.shared_bytes)
    out.depth = kGemvLeastDepth;
  out.shared_bytes = bytes(out.depth, out.width);
  TENON_ASSERT(out.shared_bytes <= features.shared_bytes);
  out.early = features.capability >= 90;
  return out;
}

void launch_gemv(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  switch (a.matrix.kind) {
    case CodeKind::k16Bit: launch_gemv_16bit(a, launch, stream); return;
    case CodeKind::kFloat8:
    case CodeKind::kInt8: launch_gemv_8bit(a, launch, stream); return;
    case CodeKind::kInt4: launch_gemv_4bit(a, launch, stream); return;
  }
}

template <class OpT>
std::string reject_stream(const OpT& op, const NodeView& node, const DeviceFeatures&,
                          DataType type) {
  if (x_type(node) != type) return fmt::format("x is stored as {}", to_string(x_type(node)));
  const std::size_t count = matrices(op);
  if (node.outputs.size() > kGemvMaxSegments)
    return fmt::format("{} segments, at most {}", node.outputs.size(), kGemvMaxSegments);
  const PackedForm form = packed_form(node, count, type);
  if (!form.why.empty()) return form.why;
  if (form.matrix.rows > kMostBlocks * kGemvBlockRows / 2) return "too many rows";
  return {};
}

template <class OpT>
std::vector<PackedNeed> stream_needs(const OpT& op, const NodeView& node, bool rows_apart) {
  const std::size_t count = matrices(op);
  const PackedMatrix form = packed_form(node, count, x_type(node)).matrix;
  std::vector<PackedNeed> needs = packed_needs(node, count, form);
  if (op.has_bias) needs.push_back(joined_bias_need(node, count, form));
  if (form.kind == CodeKind::k16Bit && !rows_apart && outputs_suit_cublaslt(node, count))
    for (PackedNeed& need : cublaslt_needs(op, node)) needs.push_back(std::move(need));
  return needs;
}

template <class OpT>
std::int64_t stream_workspace(const OpT& op, const NodeView& node, const StepSizes& limits) {
  const PackedMatrix form = packed_form(node, matrices(op), x_type(node)).matrix;
  return stream_bytes(form, limits.tokens, token_bytes(op, node), joined_row_bytes(node));
}

template <class OpT>
std::unique_ptr<CudaKernel> make_stream(const OpT& op, const NodeView& node, Weights weights,
                                        LoadContext& load, bool rows_apart) {
  const std::size_t count = matrices(op);
  LinearStream::Parts parts;
  GemvArguments& a = parts.arguments;
  const PackedMatrix form = packed_form(node, count, x_type(node)).matrix;
  a.matrix = load_packed(node, weights, count, form, load);
  a.rows = static_cast<std::int32_t>(form.rows);
  a.columns = static_cast<std::int32_t>(form.columns);
  if (form.step == ScaleStep::kRow) a.row_scale = static_cast<const float*>(a.matrix.scale);
  describe_op(op, node, a);
  if (op.has_bias) a.bias = load_joined_bias(node, weights, count, form, load);
  parts.rows_apart = rows_apart;
  if (!rows_apart) {
    const bool suits = outputs_suit_cublaslt(node, count);
    if (form.kind == CodeKind::k16Bit && suits)
      parts.large = make_cublaslt(op, node, weights, load);
    parts.dequantizes = form.kind != CodeKind::k16Bit && suits;
    parts.widens = widening_serves(form, load.features());
    parts.token_workspace = token_bytes(op, node);
    parts.joined_row_bytes = joined_row_bytes(node);
    parts.output = node.outputs[0].dtype;
    parts.segments = node.outputs.size();
  }
  return std::make_unique<LinearStream>(std::move(parts));
}

template std::string reject_stream(const Linear&, const NodeView&, const DeviceFeatures&, DataType);
template std::string reject_stream(const GatedLinear&, const NodeView&, const DeviceFeatures&,
                                   DataType);
template std::vector<PackedNeed> stream_needs(const Linear&, const NodeView&, bool);
template std::vector<PackedNeed> stream_needs(const GatedLinear&, const NodeView&, bool);
template std::int64_t stream_workspace(const Linear&, const NodeView&, const StepSizes&);
template std::int64_t stream_workspace(const GatedLinear&, const NodeView&, const StepSizes&);
template std::unique_ptr<CudaKernel> make_stream(const Linear&, const NodeView&, Weights,
                                                 LoadContext&, bool);
template std::unique_ptr<CudaKernel> make_stream(const GatedLinear&, const NodeView&, Weights,
                                                 LoadContext&, bool);

}  // namespace tenon::cuda
