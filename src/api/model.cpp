// SPDX-License-Identifier: Apache-2.0
#include "tenon/model.h"

#include "api/engine_impl.h"
#include "core/check.h"
#include "models/model_family.h"

namespace tenon {

/// Of each of prepare_inputs' limits; products of two stay within 64 bits.
constexpr std::int64_t kMaxInputLimit = std::int64_t{1} << 31;

PretrainedModel PretrainedModel::from_pretrained(std::string_view path_or_id,
                                                 const ConfigOverrides& overrides) {
  auto impl = std::make_shared<Impl>();
  impl->source = open_model_source(path_or_id);
  impl->dtype = impl->source.config.dtype;
  if (overrides) overrides(impl->source.config);
  build_graphs(impl->source, BuildConfig{});  // lists every wrong tensor now, not at build()
  return PretrainedModel(std::move(impl));
}

PretrainedModel PretrainedModel::from_config(const PretrainedConfig& config, std::uint64_t seed) {
  auto impl = std::make_shared<Impl>();
  impl->source = random_model_source(config, seed);
  impl->dtype = config.dtype;
  return PretrainedModel(std::move(impl));
}

PretrainedModel::PretrainedModel(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PretrainedModel::PretrainedModel(const PretrainedModel& other)
    : impl_(std::make_shared<Impl>(*other.impl_)) {}
PretrainedModel::PretrainedModel(PretrainedModel&&) noexcept = default;
PretrainedModel& PretrainedModel::operator=(const PretrainedModel& other) {
  impl_ = std::make_shared<Impl>(*other.impl_);
  return *this;
}
PretrainedModel& PretrainedModel::operator=(PretrainedModel&&) noexcept = default;
PretrainedModel::~PretrainedModel() = default;

PretrainedConfig& PretrainedModel::config() { return impl_->source.config; }
const PretrainedConfig& PretrainedModel::config() const { return impl_->source.config; }

std::map<std::string, ModelInput> PretrainedModel::prepare_inputs(const InputLimits& limits) const {
  const auto range = [](const char* field, std::int64_t value, std::int64_t low) {
    TENON_CHECK(value >= low && value <= kMaxInputLimit, ErrorCode::kInvalidArgument,
                "prepare_inputs: {} is {}, expected {} to {}", field, value, low, kMaxInputLimit);
  };
  range("max_batch_size", limits.max_batch_size, 1);
  range("max_input_len", limits.max_input_len, 1);
  range("max_seq_len", limits.max_seq_len, 1);
  range("max_beam_width", limits.max_beam_width, 1);
  range("max_num_tokens", limits.max_num_tokens, 0);
  TENON_CHECK(limits.use_cache, ErrorCode::kUnsupported,
              "prepare_inputs: use_cache false is not supported yet: decoders have a cache");
  TENON_CHECK(limits.max_input_len <= limits.max_seq_len, ErrorCode::kInvalidArgument,
              "prepare_inputs: max_input_len {} is more than max_seq_len {}", limits.max_input_len,
              limits.max_seq_len);
  TENON_CHECK(limits.prompt_embedding_table_size == 0, ErrorCode::kUnsupported,
              "prepare_inputs: prompt_embedding_table_size {} is not supported yet",
              limits.prompt_embedding_table_size);
  const std::int64_t sequences = limits.max_batch_size * limits.max_beam_width;
  const std::int64_t tokens = limits.max_num_tokens > 0
                                  ? limits.max_num_tokens
                                  : limits.max_batch_size * limits.max_input_len;
  const ModelInput::Range token_range{"tokens", 1, std::min(sequences, tokens), tokens};
  const ModelInput::Range row_range{"logit_rows", 1, sequences, sequences};
  const ModelGraphs graphs = build_graphs(impl_->source, BuildConfig{});
  std::map<std::string, ModelInput> inputs;
  const Graph& graph = graphs.programs.at("decoder");
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    ModelInput input;
    input.dtype = value.type.dtype;
    for (const Dim& dim : value.type.shape) {
      if (dim.is_constant())
        input.dims.push_back({"", dim.extent, dim.extent, dim.extent});
      else
        input.dims.push_back(dim.symbol == Symbol::kLogitRows ? row_range : token_range);
    }
    inputs.emplace(value.name, std::move(input));
  }
  return inputs;
}

std::string PretrainedModel::forward() const {
  std::string text;
  for (const auto& [name, graph] : build_graphs(impl_->source, BuildConfig{}).programs)
    text += print(graph);
  return text;
}

std::vector<std::string> PretrainedModel::architectures() {
  std::vector<std::string> names;
  for (const ModelFamily& family : model_families()) names.emplace_back(family.architecture);
  return names;
}

void PretrainedModel::require(std::string_view architecture) const {
  TENON_CHECK(config().architecture == architecture, ErrorCode::kInvalidArgument,
              "{}: this is a {}, expected a {}; PretrainedModel::from_pretrained takes any",
              impl_->source.name, config().architecture, architecture);
}

LlamaForCausalLM::LlamaForCausalLM(PretrainedModel model) : PretrainedModel(std::move(model)) {
  require("LlamaForCausalLM");
}
LlamaForCausalLM LlamaForCausalLM::from_pretrained(std::string_view path_or_id,
                                                   const ConfigOverrides& overrides) {
  return LlamaForCausalLM(PretrainedModel::from_pretrained(path_or_id, overrides));
}

MistralForCausalLM::MistralForCausalLM(PretrainedModel model) : PretrainedModel(std::move(model)) {
  require("MistralForCausalLM");
}
MistralForCausalLM MistralForCausalLM::from_pretrained(std::string_view path_or_id,
                                                       const ConfigOverrides& overrides) {
  return MistralForCausalLM(PretrainedModel::from_pretrained(path_or_id, overrides));
}

Qwen2ForCausalLM::Qwen2ForCausalLM(PretrainedModel model) : PretrainedModel(std::move(model)) {
  require("Qwen2ForCausalLM");
}
Qwen2ForCausalLM Qwen2ForCausalLM::from_pretrained(std::string_view path_or_id,
                                                   const ConfigOverrides& overrides) {
  return Qwen2ForCausalLM(PretrainedModel::from_pretrained(path_or_id, overrides));
}

}  // namespace tenon
