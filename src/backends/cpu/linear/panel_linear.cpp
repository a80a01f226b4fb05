// Linear and GatedLinear over panels: packing, cutting a call into jobs, and the epilogue. All
// segments' panels form one row of units, so that one parallel loop serves them all.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/linear/float8_rows.h"
#include "backends/cpu/linear/linear_kernels.h"
#include "backends/cpu/linear/linear_plan.h"
#include "backends/cpu/linear/packed_weight.h"
#include "core/check.h"

namespace tenon::cpu {
namespace {

/// Adjacent segments that one job may touch before it makes another pass over x.
constexpr std::size_t kMostParts = 8;

class PanelLinear final : public CpuKernel {
 public:
  PanelLinear(LinearPlan plan, ActivationKind gate, std::span<const QuantizedTensor> weights,
              ThreadPool& pool)
      : plan_(std::move(plan)), gate_(gate) {
    const std::size_t count = plan_.matrices().size();
    std::int64_t first = 0;
    for (std::size_t i = 0; i < count; ++i) {
      weights_.push_back(pack_weight(weights[i], pool));
      const PanelMatrix& m = weights_.back().matrix;
      first_unit_.push_back(first);
      first += m.panels;
      sums_of_.push_back(sums_index(m));
      std::vector<float>& bias = biases_.emplace_back();
      if (weights.size() == count) continue;
      bias.resize(static_cast<std::size_t>(m.panels * kPanelRows));
      const QuantizedTensor& source = weights[count + i];
      TENON_CHECK(source.rows() * source.columns() == m.rows, ErrorCode::kInternal,
                  "[linear] bias is {}, expected [{}]", to_string(source.shape), m.rows);
      dequantize_row(source, 0, 0, m.rows, bias.data());
    }
  }

  std::int64_t packed_bytes() const override { return plan_.packed_bytes(); }

  std::int64_t workspace_bytes(const StepSizes& limits, int threads) const override {
    return plan_.workspace_bytes(limits, threads);
  }

  void run(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
           StepContext& step) const override {
    const std::int64_t rows = inputs[0].rows;
    if (rows == 0) return;
    Call call;
    call.x = inputs[0].f32();
    call.x_stride = plan_.in_features();
    call.outputs = outputs;
    call.space = plan_.workspace(rows, step.pool.size());
    call.workspace = step.workspace.data();
    TENON_ASSERT(static_cast<std::int64_t>(step.workspace.size()) >= call.space.total);
    prepare_x(call, rows, step.pool);
    const JobShape shape = plan_.jobs(rows, step.pool.size());
    for (int worker = 0; worker < step.pool.size(); ++worker)
      *kept_row(call, worker_space(call, worker)) = -1;
    step.pool.run(shape.jobs * shape.tiles, [&](std::int64_t index, int worker) {
      const std::int64_t tile = index % shape.tiles;
      const std::int64_t unit = index / shape.tiles * shape.job_units;
      const std::int64_t row = tile * shape.tile_rows;
      const Block block{row, std::min(shape.tile_rows, rows - row), unit,
                        std::min(shape.job_units, plan_.units() - unit)};
      std::byte* own = worker_space(call, worker);
      if (plan_.gated())
        run_gated(call, block, own);
      else
        run_plain(call, block, own);
    });
  }

 private:
  struct Call {
    const float* x = nullptr;
    std::int64_t x_stride = 0;
    const float* x_scales = nullptr;  ///< null: 1
    std::span<const TensorRef> outputs;
    LinearWorkspace space;
    std::byte* workspace = nullptr;
  };
  struct Block {
    std::int64_t row;
    std::int64_t rows;
    std::int64_t unit;
    std::int64_t units;
  };

  static std::byte* worker_space(const Call& call, int worker) {
    return call.workspace + call.space.workers + worker * call.space.worker_bytes;
  }
  static std::int64_t* kept_row(const Call& call, std::byte* own) {
    return reinterpret_cast<std::int64_t*>(own + call.space.kept_row);
  }

  std::size_t sums_index(const PanelMatrix& m) const {
    const auto chunks = plan_.sum_chunks();
    return static_cast<std::size_t>(std::find(chunks.begin(), chunks.end(), m.chunk) -
                                    chunks.begin());
  }

  /// Rounds rows of x, pads them to whole words of codes and sums their chunks, where asked for.
  void prepare_x(Call& call, std::int64_t rows, ThreadPool& pool) const {
    if (!plan_.copies_x() && plan_.sum_chunks().empty()) return;
    const std::int64_t features = plan_.in_features();
    const std::int64_t padded = plan_.padded_features();
    const float* source = call.x;
    auto* copy = reinterpret_cast<float*>(call.workspace + call.space.padded_x);
    auto* scales = reinterpret_cast<float*>(call.workspace + call.space.x_scales);
    pool.run_ranges(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* x = source + row * features;
        if (plan_.copies_x()) {
          float* out = copy + row * padded;
          if (plan_.float8_x())
            scales[row] = round_row_to_float8(x, features, out);
          else
            std::memcpy(out, x, static_cast<std::size_t>(features) * sizeof(float));
          std::fill(out + features, out + padded, 0.0F);
        }
        for (std::size_t i = 0; i < plan_.sum_chunks().size(); ++i) {
          const std::int64_t chunk = plan_.sum_chunks()[i];
          const std::int64_t chunks = (features + chunk - 1) / chunk;
          auto* sums = reinterpret_cast<float*>(call.workspace + call.space.sums[i]);
          plan_.isa().chunk_sums(x, features, chunk, sums + row * chunks);
        }
      }
    });
    if (plan_.float8_x()) call.x_scales = scales;
    if (plan_.copies_x()) {
      call.x = copy;
      call.x_stride = padded;
    }
  }

  PanelPart part(const Call& call, std::size_t index, std::int64_t panel, std::int64_t count,
                 std::int64_t row, float* out) const {
    const PanelMatrix& m = weights_[index].matrix;
    const float* sums = nullptr;
    if (m.minimum)
      sums = reinterpret_cast<const float*>(call.workspace + call.space.sums[sums_of_[index]]) +
             row * m.chunks;
    return {&m, panel, count, sums, out};
  }

  void multiply(const Call& call, const Block& block, std::span<const PanelPart> parts,
                std::int64_t out_stride, std::byte* own) const {
    plan_.isa().multiply({.x = call.x + block.row * call.x_stride,
                          .x_stride = call.x_stride,
                          .rows = block.rows,
                          .out_stride = out_stride,
                          .parts = parts.data(),
                          .part_count = static_cast<std::int64_t>(parts.size()),
                          .scratch = own,
                          .first_row = block.row,
                          .kept_row = kept_row(call, own)});
  }

  /// Sums of a part times the scales of its rows, where those are no part of its panels, and of
  /// the rows of x.
  void scale_sums(const Call& call, const Block& block, const PanelPart& part, std::size_t index,
                  std::int64_t stride) const {
    const std::int64_t count = part.count * kPanelRows;
    const float* scales = weights_[index].row_scales.data() + part.panel * kPanelRows;
    for (std::int64_t r = 0; r < block.rows; ++r) {
      float* sums = part.out + r * stride;
      if (part.matrix->row_scaled)
        for (std::int64_t i = 0; i < count; ++i) sums[i] *= scales[i];
      if (call.x_scales == nullptr) continue;
      const float x_scale = call.x_scales[block.row + r];
      for (std::int64_t i = 0; i < count; ++i) sums[i] *= x_scale;
    }
  }

  const float* bias_at(std::size_t index, std::int64_t panel) const {
    return biases_[index].empty() ? nullptr : biases_[index].data() + panel * kPanelRows;
  }

  void run_plain(const Call& call, const Block& block, std::byte* own) const {
    auto* sums = reinterpret_cast<float*>(own + call.space.accumulators);
    const std::int64_t stride = block.units * kPanelRows;
    std::array<PanelPart, kMostParts> parts;
    std::array<std::size_t, kMostParts> segment;
    std::size_t count = 0;
    const auto flush = [&] {
      multiply(call, block, std::span(parts).first(count), stride, own);
      for (std::size_t i = 0; i < count; ++i) store(call, block, parts[i], segment[i], stride);
      count = 0;
    };
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const std::int64_t begin = std::max(block.unit, first_unit_[i]);
      const std::int64_t end =
          std::min(block.unit + block.units, first_unit_[i] + weights_[i].matrix.panels);
      if (begin >= end) continue;
      segment[count] = i;
      parts[count++] = part(call, i, begin - first_unit_[i], end - begin, block.row,
                            sums + (begin - block.unit) * kPanelRows);
      if (count == kMostParts) flush();
    }
    if (count > 0) flush();
  }

  void store(const Call& call, const Block& block, const PanelPart& part, std::size_t index,
             std::int64_t stride) const {
    const TensorRef& output = call.outputs[index];
    const std::int64_t column = part.panel * kPanelRows;
    const std::int64_t count = std::min(part.count * kPanelRows, part.matrix->rows - column);
    scale_sums(call, block, part, index, stride);
    for (std::int64_t r = 0; r < block.rows; ++r)
      plan_.isa().store(part.out + r * stride, bias_at(index, part.panel),
                        output.f32() + (block.row + r) * output.width + column, count);
  }

  void run_gated(const Call& call, const Block& block, std::byte* own) const {
    auto* gates = reinterpret_cast<float*>(own + call.space.accumulators);
    float* ups = gates + block.units * kPanelRows;
    const std::int64_t stride = 2 * block.units * kPanelRows;
    const PanelPart parts[] = {part(call, 0, block.unit, block.units, block.row, gates),
                               part(call, 1, block.unit, block.units, block.row, ups)};
    multiply(call, block, parts, stride, own);
    for (std::size_t i = 0; i < 2; ++i) scale_sums(call, block, parts[i], i, stride);
    const TensorRef& output = call.outputs[0];
    const std::int64_t column = block.unit * kPanelRows;
    for (std::int64_t r = 0; r < block.rows; ++r)
      plan_.isa().gate(
          {.kind = gate_,
           .gate = gates + r * stride,
           .up = ups + r * stride,
           .gate_bias = bias_at(0, block.unit),
           .up_bias = bias_at(1, block.unit),
           .out = output.f32() + (block.row + r) * output.width + column,
           .count = std::min(block.units * kPanelRows, weights_[0].matrix.rows - column)});
  }

  LinearPlan plan_;
  ActivationKind gate_;
  std::vector<PackedWeight> weights_;
  std::vector<std::int64_t> first_unit_;
  std::vector<std::size_t> sums_of_;
  std::vector<std::vector<float>> biases_;  ///< padded to whole panels; empty: none
};

LinearPlan plan_of(const Linear& op, const NodeView& node, const PanelIsa& isa, bool float8_x) {
  return {node, op.segments, false, isa, float8_x};
}

LinearPlan plan_of(const GatedLinear&, const NodeView& node, const PanelIsa& isa, bool float8_x) {
  return {node, 2, true, isa, float8_x};
}

}  // namespace

std::unique_ptr<CpuKernel> make_panel_linear(const Linear& op, const NodeView& node,
                                             std::vector<QuantizedTensor> weights, ThreadPool& pool,
                                             const PanelIsa& isa, bool float8_x) {
  return std::make_unique<PanelLinear>(plan_of(op, node, isa, float8_x), ActivationKind::kIdentity,
                                       weights, pool);
}

std::unique_ptr<CpuKernel> make_panel_linear(const GatedLinear& op, const NodeView& node,
                                             std::vector<QuantizedTensor> weights, ThreadPool& pool,
                                             const PanelIsa& isa, bool float8_x) {
  return std::make_unique<PanelLinear>(plan_of(op, node, isa, float8_x), op.kind, weights, pool);
}

std::int64_t panel_linear_bytes(const Linear& op, const NodeView& node, const PanelIsa& isa,
                                bool float8_x) {
  return plan_of(op, node, isa, float8_x).packed_bytes();
}

std::int64_t panel_linear_bytes(const GatedLinear& op, const NodeView& node, const PanelIsa& isa,
                                bool float8_x) {
  return plan_of(op, node, isa, float8_x).packed_bytes();
}

std::int64_t panel_linear_workspace(const Linear& op, const NodeView& node, const StepSizes& limits,
                                    int threads, const PanelIsa& isa, bool float8_x) {
  return plan_of(op, node, isa, float8_x).workspace_bytes(limits, threads);
}

std::int64_t panel_linear_workspace(const GatedLinear& op, const NodeView& node,
                                    const StepSizes& limits, int threads, const PanelIsa& isa,
                                    bool float8_x) {
  return plan_of(op, node, isa, float8_x).workspace_bytes(limits, threads);
}

}  // namespace tenon::cpu
