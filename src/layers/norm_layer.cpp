// SPDX-License-Identifier: Apache-2.0
#include "layers/norm_layer.h"

#include "core/check.h"
#include "layers/layer_name.h"

namespace tenon {
namespace {

ValueId emit_norm(GraphBuilder& builder, ValueId x, const Norm& op, std::int64_t width,
                  const std::string& name, const std::string& output) {
  std::vector<WeightId> weights = {builder.weight(name + ".weight", {width})};
  if (op.has_bias) weights.push_back(builder.weight(name + ".bias", {width}));
  return builder.add1(op, {x}, std::move(weights), output.empty() ? value_name(name) : output);
}

}  // namespace

ValueId RmsNormLayer::emit(GraphBuilder& builder, ValueId x) const {
  const Norm op{.kind = NormKind::kRms,
                .eps = static_cast<float>(eps),
                .weight_offset = static_cast<float>(weight_offset)};
  return emit_norm(builder, x, op, normalized_shape, name, output);
}

ValueId LayerNormLayer::emit(GraphBuilder& builder, ValueId x) const {
  const Norm op{.kind = NormKind::kLayer, .eps = static_cast<float>(eps), .has_bias = bias};
  return emit_norm(builder, x, op, normalized_shape, name, output);
}

ValueId GroupNormLayer::emit(GraphBuilder& builder, ValueId x) const {
  TENON_CHECK(num_groups > 0 && num_channels % num_groups == 0, ErrorCode::kInvalidArgument,
              "{}: num_groups is {}, expected a divisor of num_channels, {}", name, num_groups,
              num_channels);
  const Norm op{.kind = NormKind::kGroup,
                .eps = static_cast<float>(eps),
                .groups = num_groups,
                .has_bias = affine_bias};
  return emit_norm(builder, x, op, num_channels, name, output);
}

}  // namespace tenon
