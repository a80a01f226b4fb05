// SPDX-License-Identifier: Apache-2.0
#include "models/rope_config.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "checkpoint/layer_kind.h"
#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {
namespace {

struct RopeParameters {
  std::optional<double> theta;
  RopeScaling scaling;
};

std::string scaling_type(ConfigReader& reader) {
  const std::string old_name = reader.text("type", "");
  const std::string new_name = reader.text("rope_type", old_name);
  TENON_CHECK(
      old_name.empty() || old_name == new_name || (old_name == "su" && new_name == "longrope"),
      ErrorCode::kUnsupported, "{}: \"type\" is \"{}\" and \"rope_type\" is \"{}\"", reader.where(),
      old_name, new_name);
  if (new_name == "su") return "longrope";  // its name in the first Phi-3 files
  static const std::vector<std::string> kKnown = {"default", "linear", "dynamic",
                                                  "llama3",  "yarn",   "longrope"};
  if (new_name.empty()) return "default";
  TENON_CHECK(std::find(kKnown.begin(), kKnown.end(), new_name) != kKnown.end(),
              ErrorCode::kUnsupported, "{}: rope type \"{}\" is not supported{}", reader.where(),
              new_name, did_you_mean(new_name, kKnown));
  return new_name;
}

void read_llama3(ConfigReader& reader, RopeScaling& scaling) {
  scaling.factor = reader.number("factor");
  scaling.low_freq_factor = reader.number("low_freq_factor");
  scaling.high_freq_factor = reader.number("high_freq_factor");
  TENON_CHECK(scaling.low_freq_factor < scaling.high_freq_factor, ErrorCode::kCorrupt,
              "{}: low_freq_factor is {}, expected less than high_freq_factor, {}", reader.where(),
              scaling.low_freq_factor, scaling.high_freq_factor);
}

void read_yarn(ConfigReader& reader, double length_ratio, RopeScaling& scaling) {
  scaling.factor = reader.number("factor", length_ratio);
  scaling.beta_fast = reader.number("beta_fast", 32.0);
  scaling.beta_slow = reader.number("beta_slow", 1.0);
  if (reader.has("attention_factor")) scaling.attention_factor = reader.number("attention_factor");
  scaling.mscale = reader.number("mscale", 0.0);
  scaling.mscale_all_dim = reader.number("mscale_all_dim", 0.0);
  scaling.truncate = reader.boolean("truncate", true);
  reader.raw("finetuned");  // says where the weights come from
}

void read_longrope(ConfigReader& reader, double length_ratio, RopeScaling& scaling) {
  scaling.short_factor = reader.numbers("short_factor");
  scaling.long_factor = reader.numbers("long_factor");
  TENON_CHECK(!scaling.short_factor.empty() && !scaling.long_factor.empty(), ErrorCode::kCorrupt,
              "{}: longrope needs short_factor and long_factor", reader.where());
  scaling.factor = reader.number("factor", length_ratio);
  if (reader.has("attention_factor")) scaling.attention_factor = reader.number("attention_factor");
}

/// `fallback_original` stands for original_max_position_embeddings where this object lacks it.
RopeParameters read_parameters(ConfigReader reader, std::int64_t max_length,
                               std::int64_t fallback_original) {
  RopeParameters rope;
  if (reader.has("rope_theta")) rope.theta = reader.number("rope_theta");
  RopeScaling& scaling = rope.scaling;
  scaling.type = scaling_type(reader);
  const std::string& type = scaling.type;
  if (type == "llama3" || type == "yarn" || type == "longrope") {
    scaling.original_max_position_embeddings =
        reader.integer("original_max_position_embeddings", fallback_original);
    TENON_CHECK(scaling.original_max_position_embeddings > 0, ErrorCode::kCorrupt,
                "{}: original_max_position_embeddings is {}, expected a positive number",
                reader.where(), scaling.original_max_position_embeddings);
  }
  const double length_ratio =
      static_cast<double>(max_length) /
      static_cast<double>(std::max<std::int64_t>(scaling.original_max_position_embeddings, 1));
  if (type == "linear" || type == "dynamic") scaling.factor = reader.number("factor");
  if (type == "llama3") read_llama3(reader, scaling);
  if (type == "yarn") read_yarn(reader, length_ratio, scaling);
  if (type == "longrope") read_longrope(reader, length_ratio, scaling);
  static const NeutralKey kNeutral[] = {{"partial_rotary_factor", 1.0}};
  reader.require_neutral(kNeutral);
  reader.finish();
  return rope;
}

bool is_nested(const Json& json) {
  const auto& members = json.as_object("rope_parameters");
  return std::any_of(members.begin(), members.end(),
                     [](const Json::Member& member) { return member.second.is_object(); });
}

/// Parameters of each kind of layer that the model has.
using RopeOfKinds = std::map<std::string, RopeParameters>;

std::set<std::string> kinds_of(const PretrainedConfig& config) {
  std::set<std::string> kinds;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    kinds.insert(layer_kind(config, layer));
  return kinds;
}

/// {"full_attention": {…}, "sliding_attention": {…}}. Entries of kinds that no layer has are read
/// (for their faults) and left.
RopeOfKinds read_nested(const Json& json, const PretrainedConfig& config, const std::string& where,
                        std::int64_t fallback_original) {
  static const std::vector<std::string> kKnown = {kFullAttention, kSlidingAttention};
  const std::set<std::string> kinds = kinds_of(config);
  RopeOfKinds rope;
  for (const auto& [kind, parameters] : json.as_object(where)) {
    TENON_CHECK(std::find(kKnown.begin(), kKnown.end(), kind) != kKnown.end(),
                ErrorCode::kUnsupported,
                "{} has an entry for layers of kind \"{}\"; only full_attention and "
                "sliding_attention are supported{}",
                where, kind, did_you_mean(kind, kKnown));
    if (parameters.is_null()) continue;
    const RopeParameters own = read_parameters(ConfigReader(parameters, where + "." + kind),
                                               config.max_position_embeddings, fallback_original);
    if (kinds.contains(kind)) rope.emplace(kind, own);
  }
  for (const std::string& kind : kinds)
    TENON_CHECK(rope.contains(kind), ErrorCode::kCorrupt,
                "{} has no entry \"{}\", but the model has layers of that kind", where, kind);
  return rope;
}

RopeOfKinds read_any(const Json& json, const PretrainedConfig& config, const std::string& where,
                     std::int64_t fallback_original) {
  if (is_nested(json)) return read_nested(json, config, where, fallback_original);
  const RopeParameters all =
      read_parameters(ConfigReader(json, where), config.max_position_embeddings, fallback_original);
  RopeOfKinds rope;
  for (const std::string& kind : kinds_of(config)) rope.emplace(kind, all);
  return rope;
}

bool same_scaling(const RopeOfKinds& a, const RopeOfKinds& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.scaling == y.second.scaling;
  });
}

/// rope_theta beside the object: for the kinds that name none, and at odds with all others it is an
/// error.
void apply_outer_theta(ConfigReader& reader, RopeOfKinds& rope) {
  if (!reader.has("rope_theta")) return;
  const double theta = reader.number("rope_theta");
  bool taken = false;
  for (auto& entry : rope) taken |= entry.second.theta.value_or(theta) == theta;
  TENON_CHECK(taken, ErrorCode::kUnsupported, "{}: rope_theta is {}, and {} inside rope_parameters",
              reader.where(), theta, *rope.begin()->second.theta);
  for (auto& entry : rope)
    if (!entry.second.theta) entry.second.theta = theta;
}

}  // namespace

void read_rope(ConfigReader& reader, PretrainedConfig& config) {
  const std::int64_t fallback =
      reader.integer("original_max_position_embeddings", config.max_position_embeddings);
  const Json* old_form = reader.raw("rope_scaling");
  const Json* new_form = reader.raw("rope_parameters");
  RopeOfKinds rope;
  if (new_form != nullptr)
    rope = read_any(*new_form, config, reader.where() + ": rope_parameters", fallback);
  if (old_form != nullptr) {
    RopeOfKinds old = read_any(*old_form, config, reader.where() + ": rope_scaling", fallback);
    TENON_CHECK(new_form == nullptr || same_scaling(old, rope), ErrorCode::kUnsupported,
                "{}: rope_scaling and rope_parameters say different things", reader.where());
    if (new_form == nullptr) rope = std::move(old);
  }
  for (const std::string& kind : kinds_of(config)) rope.try_emplace(kind);
  apply_outer_theta(reader, rope);

  const auto settings = [&](const RopeParameters& parameters) {
    return LayerRotary{parameters.theta.value_or(config.rotary_base), parameters.scaling};
  };
  // "full_attention" sorts first: its settings are the model's, and those of all where it is alone.
  const LayerRotary first = settings(rope.begin()->second);
  for (const auto& [kind, parameters] : rope)
    if (settings(parameters) != first) config.layer_rotary.emplace(kind, settings(parameters));
  config.rotary_base = first.rotary_base;
  config.rotary_scaling = first.rotary_scaling;
  config.position_embedding_type = rope_position(first.rotary_scaling);
}

PositionEmbeddingType rope_position(const RopeScaling& scaling) {
  if (scaling.type == "yarn") return PositionEmbeddingType::kYarn;
  if (scaling.type == "longrope") return PositionEmbeddingType::kLongRope;
  return PositionEmbeddingType::kRopeGptNeox;
}

}  // namespace tenon
