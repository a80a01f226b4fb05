// SPDX-License-Identifier: Apache-2.0
#include "models/rope_config.h"

#include <algorithm>

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {
namespace {

struct RopeParameters {
  std::optional<double> theta;
  RopeScaling scaling;
  bool operator==(const RopeParameters&) const = default;
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

/// {"full_attention": {…}, "sliding_attention": {…}}: one set for all layers, or an error.
RopeParameters read_nested(const Json& json, const std::vector<std::string>& layer_types,
                           const std::string& where, std::int64_t max_length,
                           std::int64_t fallback_original) {
  std::optional<RopeParameters> rope;
  std::string first;
  for (const auto& [kind, parameters] : json.as_object(where)) {
    if (parameters.is_null()) continue;
    const RopeParameters own = read_parameters(ConfigReader(parameters, where + "." + kind),
                                               max_length, fallback_original);
    if (std::find(layer_types.begin(), layer_types.end(), kind) == layer_types.end())
      continue;  // no layer of that kind
    TENON_CHECK(!rope || *rope == own, ErrorCode::kUnsupported,
                "{}.{} differs from {}.{}: rotary parameters that differ between kinds of layer "
                "are not supported yet",
                where, kind, where, first);
    if (!rope) first = kind;
    rope = own;
  }
  TENON_CHECK(rope.has_value(), ErrorCode::kCorrupt,
              "{} has no entry for any kind of layer of this model", where);
  return *rope;
}

}  // namespace

void read_rope(ConfigReader& reader, double default_theta,
               const std::vector<std::string>& layer_types, PretrainedConfig& config) {
  const std::int64_t max_length = config.max_position_embeddings;
  const std::int64_t fallback = reader.integer("original_max_position_embeddings", max_length);
  const Json* old_form = reader.raw("rope_scaling");
  const Json* new_form = reader.raw("rope_parameters");
  const auto read = [&](const Json& json, const std::string& where) {
    return is_nested(json) ? read_nested(json, layer_types, where, max_length, fallback)
                           : read_parameters(ConfigReader(json, where), max_length, fallback);
  };
  RopeParameters rope;
  if (new_form != nullptr) rope = read(*new_form, reader.where() + ": rope_parameters");
  if (old_form != nullptr) {
    const RopeParameters old = read(*old_form, reader.where() + ": rope_scaling");
    TENON_CHECK(new_form == nullptr || old.scaling == rope.scaling, ErrorCode::kUnsupported,
                "{}: rope_scaling and rope_parameters say different things", reader.where());
    if (new_form == nullptr) rope = old;
  }
  if (reader.has("rope_theta")) {
    const double theta = reader.number("rope_theta");
    TENON_CHECK(!rope.theta || *rope.theta == theta, ErrorCode::kUnsupported,
                "{}: rope_theta is {}, and {} inside rope_parameters", reader.where(), theta,
                *rope.theta);
    rope.theta = theta;
  }
  config.rotary_base = rope.theta.value_or(default_theta);
  config.rotary_scaling = rope.scaling;
  config.position_embedding_type = rope.scaling.type == "yarn" ? PositionEmbeddingType::kYarn
                                   : rope.scaling.type == "longrope"
                                       ? PositionEmbeddingType::kLongRope
                                       : PositionEmbeddingType::kRopeGptNeox;
}

}  // namespace tenon
