// SPDX-License-Identifier: Apache-2.0
#include "layers/linear_layer.h"

#include "layers/layer_name.h"

namespace tenon {
namespace {

std::vector<ShardMark> mark(const AxisShare& share, int dim) {
  if (share.axis.empty()) return {};
  return {{share.axis, dim, share.extent_per_unit, share.per_group}};
}

ValueId emit_linear(GraphBuilder& builder, ValueId x, Linear op, WeightId matrix, WeightId bias,
                    const std::string& name, const std::string& output) {
  std::vector<WeightId> weights = {matrix};
  op.has_bias = bias != kNoId;
  if (op.has_bias) weights.push_back(bias);
  return builder.add1(op, {x}, std::move(weights), output.empty() ? value_name(name) : output);
}

}  // namespace

ValueId LinearLayer::emit(GraphBuilder& builder, ValueId x) const {
  const WeightId matrix = builder.weight(name + ".weight", {out_features, in_features});
  const WeightId vector = bias ? builder.weight(name + ".bias", {out_features}) : kNoId;
  return emit_linear(builder, x, Linear{}, matrix, vector, name, output);
}

ValueId ColumnLinearLayer::emit(GraphBuilder& builder, ValueId x) const {
  const WeightId matrix = builder.weight(tied_weight.empty() ? name + ".weight" : tied_weight,
                                         {out_features, in_features}, mark(share, 0));
  const WeightId vector =
      bias ? builder.weight(name + ".bias", {out_features}, mark(share, 0)) : kNoId;
  return emit_linear(builder, x, Linear{.gather_output = gather_output}, matrix, vector, name,
                     output);
}

ValueId RowLinearLayer::emit(GraphBuilder& builder, ValueId x) const {
  const WeightId matrix =
      builder.weight(name + ".weight", {out_features, in_features}, mark(share, 1));
  const WeightId vector = bias ? builder.weight(name + ".bias", {out_features}) : kNoId;
  return emit_linear(builder, x, Linear{}, matrix, vector, name, output);
}

}  // namespace tenon
