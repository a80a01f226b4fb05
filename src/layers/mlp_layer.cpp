// SPDX-License-Identifier: Apache-2.0
#include "layers/mlp_layer.h"

#include "layers/activation_name.h"
#include "layers/layer_name.h"
#include "layers/linear_layer.h"

namespace tenon {
namespace {

ColumnLinearLayer into(const std::string& name, std::int64_t hidden, std::int64_t ffn, bool bias,
                       const std::string& axis) {
  return {.name = name,
          .in_features = hidden,
          .out_features = ffn,
          .bias = bias,
          .share = {.axis = axis}};
}

RowLinearLayer out_of(const std::string& name, std::int64_t hidden, std::int64_t ffn, bool bias,
                      const std::string& axis, const std::string& output) {
  return {.name = name + ".proj",
          .in_features = ffn,
          .out_features = hidden,
          .bias = bias,
          .share = {.axis = axis},
          .output = output.empty() ? value_name(name + ".output") : output};
}

}  // namespace

ValueId MlpLayer::emit(GraphBuilder& builder, ValueId x) const {
  const ActivationKind kind = parse_activation(hidden_act, name);
  builder.axis(axis, {.units = ffn_hidden_size});
  const ValueId fc = into(name + ".fc", hidden_size, ffn_hidden_size, bias, axis).emit(builder, x);
  const ValueId hidden =
      builder.add1(Activation{.kind = kind}, {fc}, {}, value_name(name + ".hidden"));
  return out_of(name, hidden_size, ffn_hidden_size, bias, axis, output).emit(builder, hidden);
}

ValueId GatedMlpLayer::emit(GraphBuilder& builder, ValueId x) const {
  const ActivationKind kind = parse_gated_activation(hidden_act, name);
  builder.axis(axis, {.units = ffn_hidden_size});
  const ValueId fc = into(name + ".fc", hidden_size, ffn_hidden_size, bias, axis).emit(builder, x);
  const ValueId gate =
      into(name + ".gate", hidden_size, ffn_hidden_size, bias, axis).emit(builder, x);
  const ValueId hidden =
      builder.add1(GatedActivation{.kind = kind}, {fc, gate}, {}, value_name(name + ".hidden"));
  return out_of(name, hidden_size, ffn_hidden_size, bias, axis, output).emit(builder, hidden);
}

}  // namespace tenon
