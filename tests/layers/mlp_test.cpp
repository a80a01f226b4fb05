// SPDX-License-Identifier: Apache-2.0
#include <numbers>

#include "layer_test_support.h"

namespace tenon {
namespace {

using namespace test;
using testing::HasSubstr;

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }
double gelu_tanh(double x) {
  return 0.5 * x *
         (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double relu(double x) { return x > 0.0 ? x : 0.0; }

struct NamedActivation {
  const char* name;
  double (*formula)(double);
};

const NamedActivation kActivations[] = {
    {"silu", [](double x) { return x * sigmoid(x); }},
    {"swish", [](double x) { return x * sigmoid(x); }},
    {"gelu", gelu},
    {"gelu_new", gelu_tanh},
    {"gelu_tanh", gelu_tanh},
    {"gelu_pytorch_tanh", gelu_tanh},
    {"gelu_fast", gelu_tanh},
    {"quick_gelu", [](double x) { return x * sigmoid(1.702 * x); }},
    {"relu", relu},
    {"relu2", [](double x) { return relu(x) * relu(x); }},
    {"sigmoid", sigmoid},
    {"tanh", [](double x) { return std::tanh(x); }},
    {"identity", [](double x) { return x; }},
};

const NamedActivation kGated[] = {
    {"swiglu", [](double x) { return x * sigmoid(x); }}, {"geglu", gelu}, {"gegelu", gelu}};

void expect_mlp(const NamedActivation& activation, bool bias, int tp) {
  layers::MLP layer({.hidden_size = 8,
                     .ffn_hidden_size = 12,
                     .hidden_act = activation.name,
                     .bias = bias,
                     .tp_size = tp});
  const Matrix fc = give(layer, "fc.weight", 1);
  const Matrix proj = give(layer, "proj.weight", 2);
  const Matrix fc_bias = bias ? give(layer, "fc.bias", 3) : Matrix{};
  const Matrix proj_bias = bias ? give(layer, "proj.bias", 4) : Matrix{};
  const Matrix x = random_matrix(5, 8, 5);
  Matrix hidden = affine(x, fc, fc_bias);
  for (double& value : hidden.values) value = activation.formula(value);
  expect_near(layer.forward(x.array()), affine(hidden, proj, proj_bias), 2e-5);
}

template <class Layer>
void expect_gated(const NamedActivation& activation, bool bias, int tp) {
  Layer layer({.hidden_size = 8,
               .ffn_hidden_size = 12,
               .hidden_act = activation.name,
               .bias = bias,
               .tp_size = tp});
  const Matrix fc = give(layer, "fc.weight", 1);
  const Matrix gate = give(layer, "gate.weight", 6);
  const Matrix proj = give(layer, "proj.weight", 2);
  const Matrix fc_bias = bias ? give(layer, "fc.bias", 3) : Matrix{};
  const Matrix gate_bias = bias ? give(layer, "gate.bias", 7) : Matrix{};
  const Matrix proj_bias = bias ? give(layer, "proj.bias", 4) : Matrix{};
  const Matrix x = random_matrix(5, 8, 5);
  Matrix hidden = affine(x, fc, fc_bias);
  const Matrix factor = affine(x, gate, gate_bias);
  for (std::size_t i = 0; i < hidden.values.size(); ++i)
    hidden.values[i] = activation.formula(hidden.values[i]) * factor.values[i];
  expect_near(layer.forward(x.array()), affine(hidden, proj, proj_bias), 2e-5);
}

TEST(MlpLayers, EveryActivation) {
  for (const NamedActivation& activation : kActivations) {
    SCOPED_TRACE(activation.name);
    expect_mlp(activation, true, 1);
    expect_gated<layers::GatedMLP>(activation, false, 1);
  }
  for (const NamedActivation& activation : kGated) {
    SCOPED_TRACE(activation.name);
    expect_gated<layers::GatedMLP>(activation, true, 1);
    expect_gated<layers::FusedGatedMLP>(activation, true, 1);
  }
}

TEST(MlpLayers, CutOverRanks) {
  for (const int tp : {2, 3}) {
    expect_mlp(kActivations[2], true, tp);
    expect_gated<layers::GatedMLP>(kActivations[0], true, tp);
    expect_gated<layers::FusedGatedMLP>(kActivations[0], false, tp);
  }
}

TEST(MlpLayers, UnknownActivations) {
  const auto mlp = [](const char* name) {
    return error_of(
        [&] { layers::MLP({.hidden_size = 8, .ffn_hidden_size = 12, .hidden_act = name}); });
  };
  EXPECT_THAT(mlp("gelu_pytorch_than"), HasSubstr("did you mean \"gelu_pytorch_tanh\"?"));
  EXPECT_THAT(mlp("swiglu"), HasSubstr("GatedMLP"));
  EXPECT_THAT(error_of([] {
                layers::GatedMLP({.hidden_size = 8, .ffn_hidden_size = 12, .hidden_act = "swigl"});
              }),
              HasSubstr("did you mean \"swiglu\"?"));
}

}  // namespace
}  // namespace tenon
