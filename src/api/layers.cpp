// Public layers: a layer's nodes between an input and an output, and the weights it was given.
// SPDX-License-Identifier: Apache-2.0
#include "tenon/layers.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "api/layer_runner.h"
#include "core/check.h"
#include "core/nearest_name.h"
#include "layers/attention_layer.h"
#include "layers/embedding_layer.h"
#include "layers/linear_layer.h"
#include "layers/mlp_layer.h"
#include "layers/norm_layer.h"

namespace tenon::layers {
namespace {

constexpr const char* kRows = "rows";
constexpr const char* kEncoderRows = "encoder_rows";

std::int64_t sum(const std::vector<std::int32_t>& lengths, const char* what) {
  std::int64_t total = 0;
  for (const std::int32_t length : lengths) {
    TENON_CHECK(length >= 0, ErrorCode::kInvalidArgument, "{}: {} is negative", what, length);
    total += length;
  }
  return total;
}

void check_matrix(const Array& x, std::int64_t width, const std::string& what) {
  TENON_CHECK(x.shape.size() == 2 && x.shape[0] >= 1 && x.shape[1] == width,
              ErrorCode::kInvalidArgument, "{} is {}, expected [rows, {}]", what,
              to_string(x.shape), width);
  TENON_CHECK(element_count(x.shape, what) == static_cast<std::int64_t>(x.data.size()),
              ErrorCode::kInvalidArgument, "{} is {}, but has {} numbers", what, to_string(x.shape),
              x.data.size());
}

}  // namespace

/// The inputs that a layer's nodes may read.
struct LayerInputs {
  ValueId x = kNoId;  ///< float rows, or ids of an Embedding
  ValueId positions = kNoId;
  ValueId encoder = kNoId;
};

class Layer::Impl {
 public:
  using Emit = std::function<ValueId(GraphBuilder&, const LayerInputs&)>;

  static std::unique_ptr<Impl> make(std::string name, std::int64_t width, int tp_size, Emit emit) {
    auto impl = std::make_unique<Impl>();
    impl->name = std::move(name);
    impl->width = width;
    impl->tp_size = tp_size;
    impl->emit = std::move(emit);
    return impl;
  }

  std::string name;                ///< prefix of the weights inside, not seen outside
  std::int64_t width = 0;          ///< of x; 0: x are ids
  std::int64_t ids = 0;            ///< number of ids, where x are ids
  std::int64_t encoder_width = 0;  ///< 0: none
  int tp_size = 1;
  Emit emit;
  /// Rows of the parts that may be set as one ("qkv").
  std::vector<std::pair<std::string, std::int64_t>> merged;
  std::map<std::string, std::pair<Shape, std::vector<float>>> given;

  Graph graph(std::int64_t rows, std::int64_t encoder_rows) const;
  std::vector<WeightDescription> descriptions() const;
  void set(std::string_view weight, const Shape& shape, const std::vector<float>& data);
  Array run(const Array* x, LayerStep step, const Array* encoder) const;

 private:
  HostWeights host_weights() const;
};

Graph Layer::Impl::graph(std::int64_t rows, std::int64_t encoder_rows) const {
  GraphBuilder builder(name);
  const auto int_input = [&](const char* input, Symbol symbol) {
    return builder.input(input, ValueType::tensor(DataType::kInt32, {symbol}));
  };
  LayerInputs inputs;
  inputs.x = int_input("token_ids", Symbol::kTokens);
  inputs.positions = int_input("positions", Symbol::kTokens);
  if (width > 0) {
    const WeightId table = builder.weight(kRows, {rows, width});
    inputs.x = builder.add1(tenon::Embedding{}, {inputs.x}, {table}, "x");
  }
  if (encoder_width > 0) {
    const ValueId encoder_ids = int_input("logit_rows", Symbol::kLogitRows);
    const WeightId table = builder.weight(kEncoderRows, {encoder_rows, encoder_width});
    inputs.encoder = builder.add1(tenon::Embedding{}, {encoder_ids}, {table}, "encoder");
  }
  builder.output(emit(builder, inputs), "output");
  return builder.finish();
}

std::vector<WeightDescription> Layer::Impl::descriptions() const {
  std::vector<WeightDescription> result;
  for (const Weight& weight : graph(1, 1).weights)
    if (weight.name.starts_with(name + "."))
      result.push_back({weight.name.substr(name.size() + 1), weight.shape});
  return result;
}

void Layer::Impl::set(std::string_view weight, const Shape& shape, const std::vector<float>& data) {
  std::vector<std::string> known;
  Shape expected;
  for (const WeightDescription& description : descriptions()) {
    known.push_back(description.name);
    if (description.name == weight) expected = description.shape;
  }
  TENON_CHECK(!expected.empty(), ErrorCode::kNotFound, "{} has no weight \"{}\"{}", name, weight,
              did_you_mean(weight, known));
  TENON_CHECK(shape == expected, ErrorCode::kInvalidArgument, "{}.{} is {}, expected {}", name,
              weight, to_string(shape), to_string(expected));
  TENON_CHECK(element_count(shape) == static_cast<std::int64_t>(data.size()),
              ErrorCode::kInvalidArgument, "{}.{} is {}, but has {} numbers", name, weight,
              to_string(shape), data.size());
  given.insert_or_assign(std::string(weight), std::pair(shape, data));
}

HostWeights Layer::Impl::host_weights() const {
  HostWeights weights;
  std::string missing;
  for (const WeightDescription& description : descriptions()) {
    const auto found = given.find(description.name);
    if (found == given.end())
      missing += fmt::format("{}{} {}", missing.empty() ? "" : ", ", description.name,
                             to_string(description.shape));
    else
      weights.add(name + "." + description.name, description.shape, found->second.second);
  }
  TENON_CHECK(missing.empty(), ErrorCode::kInvalidArgument, "{}: set_weight was not called for {}",
              name, missing);
  return weights;
}

Array Layer::Impl::run(const Array* x, LayerStep step, const Array* encoder) const {
  HostWeights weights = host_weights();
  const std::int64_t rows = static_cast<std::int64_t>(step.token_ids.size());
  std::int64_t encoder_rows = 0;
  if (x != nullptr) weights.add(kRows, x->shape, x->data);
  if (encoder != nullptr) {
    weights.add(kEncoderRows, encoder->shape, encoder->data);
    encoder_rows = encoder->shape[0];
    // A sequence that attends to nothing makes the step as long as the encoder's rows: a logit row
    // must name a token that is there.
    const std::int64_t more = std::max<std::int64_t>(encoder_rows - rows, 0);
    step.lengths.push_back(static_cast<std::int32_t>(more));
    step.encoder_lengths.push_back(0);
    step.token_ids.resize(static_cast<std::size_t>(rows + more), 0);
    step.positions.resize(step.token_ids.size(), 0);
  }
  const Tensor output = run_layer(graph(rows, encoder_rows), weights, step, tp_size);
  const std::int64_t out_width = output.shape()[1];
  const float* data = output.view().as<float>();
  return {std::vector<float>(data, data + rows * out_width), {rows, out_width}};
}

Layer::Layer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  TENON_CHECK(impl_->tp_size >= 1, ErrorCode::kInvalidArgument,
              "{}: tp_size is {}, expected 1 or more", impl_->name, impl_->tp_size);
  TENON_CHECK(impl_->width >= 1 || impl_->ids >= 1, ErrorCode::kInvalidArgument,
              "{}: the inputs' width is {}, expected 1 or more", impl_->name, impl_->width);
  impl_->descriptions();  // reports what the options get wrong
}
Layer::Layer(Layer&&) noexcept = default;
Layer& Layer::operator=(Layer&&) noexcept = default;
Layer::~Layer() = default;

std::vector<WeightDescription> Layer::weights() const { return impl_->descriptions(); }

std::string Layer::print() const { return tenon::print(impl_->graph(1, 1)); }

void Layer::set_weight(std::string_view name, const std::vector<std::int64_t>& shape,
                       const std::vector<float>& data) {
  const std::size_t dot = name.find('.');
  if (impl_->merged.empty() || name.substr(0, dot) != "qkv") return impl_->set(name, shape, data);
  const std::string suffix(dot == std::string_view::npos ? "" : name.substr(dot));
  std::int64_t rows = 0;
  for (const auto& [part, count] : impl_->merged) rows += count;
  TENON_CHECK(!shape.empty() && shape[0] == rows &&
                  element_count(shape) == static_cast<std::int64_t>(data.size()),
              ErrorCode::kInvalidArgument, "{}.{} is {} with {} numbers, expected {} rows",
              impl_->name, name, to_string(shape), data.size(), rows);
  const std::size_t row_size = data.size() / static_cast<std::size_t>(rows);
  auto next = data.begin();
  for (const auto& [part, count] : impl_->merged) {
    const auto end = next + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(count) * row_size);
    Shape part_shape = shape;
    part_shape[0] = count;
    impl_->set(part + suffix, part_shape, std::vector<float>(next, end));
    next = end;
  }
}

Array RowLayer::forward(const Array& x, const Sequences& sequences) const {
  const std::string& name = impl_->name;
  check_matrix(x, impl_->width, name + ": x");
  const std::int64_t rows = x.shape[0];
  LayerStep step;
  step.token_ids.resize(static_cast<std::size_t>(rows));
  std::iota(step.token_ids.begin(), step.token_ids.end(), 0);
  step.lengths = sequences.sequence_lengths;
  if (step.lengths.empty()) step.lengths = {static_cast<std::int32_t>(rows)};
  TENON_CHECK(sum(step.lengths, "sequence_lengths") == rows, ErrorCode::kInvalidArgument,
              "{}: sequence_lengths add up to {}, expected the {} rows of x", name,
              sum(step.lengths, "sequence_lengths"), rows);
  step.positions = sequences.positions;
  if (step.positions.empty())
    for (const std::int32_t length : step.lengths)
      for (std::int32_t i = 0; i < length; ++i) step.positions.push_back(i);
  TENON_CHECK(step.positions.size() == step.token_ids.size(), ErrorCode::kInvalidArgument,
              "{}: there are {} positions, expected one for each of the {} rows of x", name,
              step.positions.size(), rows);
  for (const std::int32_t position : step.positions)
    TENON_CHECK(position >= 0, ErrorCode::kInvalidArgument,
                "{}: positions has {}, expected 0 or more", name, position);
  if (impl_->encoder_width == 0) return impl_->run(&x, std::move(step), nullptr);

  check_matrix(sequences.encoder, impl_->encoder_width, name + ": encoder");
  step.encoder_lengths = sequences.encoder_lengths;
  if (step.encoder_lengths.empty())
    step.encoder_lengths = {static_cast<std::int32_t>(sequences.encoder.shape[0])};
  TENON_CHECK(step.encoder_lengths.size() == step.lengths.size() &&
                  sum(step.encoder_lengths, "encoder_lengths") == sequences.encoder.shape[0],
              ErrorCode::kInvalidArgument,
              "{}: encoder_lengths are {} that add up to {}, expected one for each of {} sequences "
              "that add up to the {} rows of encoder",
              name, step.encoder_lengths.size(), sum(step.encoder_lengths, "encoder_lengths"),
              step.lengths.size(), sequences.encoder.shape[0]);
  return impl_->run(&x, std::move(step), &sequences.encoder);
}

// ---------------------------------------------------------------------------------- the layers

Linear::Linear(const LinearOptions& o)
    : RowLayer(Impl::make("linear", o.in_features, o.tp_size,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            return LinearLayer{.name = "linear",
                                               .in_features = o.in_features,
                                               .out_features = o.out_features,
                                               .bias = o.bias}
                                .emit(builder, in.x);
                          })) {}

ColumnLinear::ColumnLinear(const LinearOptions& o)
    : RowLayer(Impl::make("linear", o.in_features, o.tp_size,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            builder.axis("out", {.units = o.out_features});
                            return ColumnLinearLayer{.name = "linear",
                                                     .in_features = o.in_features,
                                                     .out_features = o.out_features,
                                                     .bias = o.bias,
                                                     .share = {.axis = "out"},
                                                     .gather_output = o.gather_output}
                                .emit(builder, in.x);
                          })) {}

RowLinear::RowLinear(const LinearOptions& o)
    : RowLayer(Impl::make("linear", o.in_features, o.tp_size,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            builder.axis("in", {.units = o.in_features});
                            return RowLinearLayer{.name = "linear",
                                                  .in_features = o.in_features,
                                                  .out_features = o.out_features,
                                                  .bias = o.bias,
                                                  .share = {.axis = "in"}}
                                .emit(builder, in.x);
                          })) {}

Embedding::Embedding(const EmbeddingOptions& o)
    : Layer([&] {
        TENON_CHECK(o.sharding_dim == 0 || o.sharding_dim == 1, ErrorCode::kInvalidArgument,
                    "embedding: sharding_dim is {}, expected 0 or 1", o.sharding_dim);
        auto impl = std::make_unique<Impl>();
        impl->name = "embedding";
        impl->ids = o.num_embeddings;
        impl->tp_size = o.tp_size;
        impl->emit = [o](GraphBuilder& builder, const LayerInputs& in) {
          return EmbeddingLayer{.name = "embedding",
                                .num_embeddings = o.num_embeddings,
                                .embedding_dim = o.embedding_dim,
                                .sharding = o.sharding_dim == 0 ? EmbeddingSharding::kVocabulary
                                                                : EmbeddingSharding::kHidden}
              .emit(builder, in.x);
        };
        return impl;
      }()) {}

Array Embedding::forward(const std::vector<std::int32_t>& ids) const {
  TENON_CHECK(!ids.empty(), ErrorCode::kInvalidArgument, "embedding: there are no ids");
  for (const std::int32_t id : ids)
    TENON_CHECK(id >= 0 && id < impl_->ids, ErrorCode::kInvalidArgument,
                "embedding: id {} is outside of the table's {} rows", id, impl_->ids);
  LayerStep step;
  step.token_ids = ids;
  step.positions.resize(ids.size(), 0);
  step.lengths = {static_cast<std::int32_t>(ids.size())};
  return impl_->run(nullptr, std::move(step), nullptr);
}

RmsNorm::RmsNorm(const RmsNormOptions& o)
    : RowLayer(Impl::make(
          "norm", o.normalized_shape, 1, [o](GraphBuilder& builder, const LayerInputs& in) {
            return RmsNormLayer{
                .name = "norm", .normalized_shape = o.normalized_shape, .eps = o.eps}
                .emit(builder, in.x);
          })) {}

LayerNorm::LayerNorm(const LayerNormOptions& o)
    : RowLayer(Impl::make("norm", o.normalized_shape, 1,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            return LayerNormLayer{.name = "norm",
                                                  .normalized_shape = o.normalized_shape,
                                                  .eps = o.eps,
                                                  .bias = o.bias}
                                .emit(builder, in.x);
                          })) {}

GroupNorm::GroupNorm(const GroupNormOptions& o)
    : RowLayer(
          Impl::make("norm", o.num_channels, 1, [o](GraphBuilder& builder, const LayerInputs& in) {
            return GroupNormLayer{.name = "norm",
                                  .num_groups = o.num_groups,
                                  .num_channels = o.num_channels,
                                  .eps = o.eps,
                                  .affine_bias = o.affine_bias}
                .emit(builder, in.x);
          })) {}

MLP::MLP(const MlpOptions& o)
    : RowLayer(Impl::make("mlp", o.hidden_size, o.tp_size,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            const MlpLayer layer{.name = "mlp",
                                                 .hidden_size = o.hidden_size,
                                                 .ffn_hidden_size = o.ffn_hidden_size,
                                                 .hidden_act = o.hidden_act,
                                                 .bias = o.bias};
                            return layer.emit(builder, in.x);
                          })) {}

GatedMLP::GatedMLP(const MlpOptions& o)
    : RowLayer(Impl::make("mlp", o.hidden_size, o.tp_size,
                          [o](GraphBuilder& builder, const LayerInputs& in) {
                            const GatedMlpLayer layer{.name = "mlp",
                                                      .hidden_size = o.hidden_size,
                                                      .ffn_hidden_size = o.ffn_hidden_size,
                                                      .hidden_act = o.hidden_act,
                                                      .bias = o.bias};
                            return layer.emit(builder, in.x);
                          })) {}

FusedGatedMLP::FusedGatedMLP(const MlpOptions& o) : RowLayer(GatedMLP(o)) {}

namespace {

AttentionLayer attention_layer(const AttentionOptions& o, const std::string& name) {
  AttentionLayer layer;
  layer.name = name;
  layer.hidden_size = o.hidden_size;
  layer.num_attention_heads = o.num_attention_heads;
  layer.num_kv_heads = o.num_kv_heads;
  layer.attention_head_size = o.attention_head_size;
  layer.encoder_hidden_size = o.encoder_hidden_size;
  layer.qkv_bias = layer.dense_bias = o.bias;
  const bool causal = o.attention_mask_type == AttentionMaskType::kCausal ||
                      o.attention_mask_type == AttentionMaskType::kSlidingWindowCausal;
  layer.mask = causal ? AttentionMask::kCausal : AttentionMask::kBidirectional;
  if (o.attention_mask_type == AttentionMaskType::kSlidingWindowCausal) {
    TENON_CHECK(o.sliding_window > 0, ErrorCode::kInvalidArgument,
                "{}: a sliding window mask needs sliding_window, which is {}", name,
                o.sliding_window);
    layer.window = o.sliding_window;
  } else {
    TENON_CHECK(o.sliding_window == 0, ErrorCode::kInvalidArgument,
                "{}: sliding_window is {}, but attention_mask_type is not kSlidingWindowCausal",
                name, o.sliding_window);
  }
  layer.position = o.position_embedding_type;
  layer.rotary_embedding_dim = o.rotary_embedding_dim;
  layer.rotary_base = o.rotary_embedding_base;
  layer.rotary_scaling = o.rotary_embedding_scaling;
  layer.max_position_embeddings = o.max_position_embeddings;
  layer.relative_buckets = o.num_buckets;
  layer.relative_max_distance = o.max_distance;
  layer.softcap = o.max_attn_value;
  TENON_CHECK(o.q_scaling > 0, ErrorCode::kInvalidArgument,
              "{}: q_scaling is {}, expected a positive number", name, o.q_scaling);
  layer.scale = 1.0 / (o.q_scaling * std::sqrt(static_cast<double>(layer.head_dim())));
  return layer;
}

}  // namespace

Attention::Attention(const AttentionOptions& o)
    : RowLayer([&] {
        auto impl = std::make_unique<Impl>();
        impl->name = fmt::format("attention_{}", o.local_layer_idx);
        const AttentionLayer layer = attention_layer(o, impl->name);
        impl->width = o.hidden_size;
        impl->tp_size = o.tp_size;
        if (o.cross_attention)
          impl->encoder_width = o.encoder_hidden_size > 0 ? o.encoder_hidden_size : o.hidden_size;
        else
          impl->merged = {{"q", o.num_attention_heads * layer.head_dim()},
                          {"k", layer.kv_heads() * layer.head_dim()},
                          {"v", layer.kv_heads() * layer.head_dim()}};
        impl->emit = [layer, cross = o.cross_attention](GraphBuilder& builder,
                                                        const LayerInputs& in) {
          return cross ? layer.emit_cross(builder, in.x, in.encoder)
                       : layer.emit(builder, in.x, in.positions);
        };
        return impl;
      }()) {}

}  // namespace tenon::layers
