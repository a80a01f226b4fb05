// The checks that stand between a config from anywhere and the code that builds graphs from it.
// Bounds are far above any model and keep products of two sizes within 64 bits.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>

#include "checkpoint/config_json.h"
#include "checkpoint/layer_kind.h"
#include "core/check.h"
#include "core/mapping.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLength = std::int64_t{1} << 40;

class ConfigCheck {
 public:
  explicit ConfigCheck(std::string_view where) : where_(where) {}

  void range(const std::string& field, std::int64_t value, std::int64_t low,
             std::int64_t high) const {
    TENON_CHECK(value >= low && value <= high, ErrorCode::kCorrupt,
                "{}: {} is {}, expected {} to {}", where_, field, value, low, high);
  }
  void positive(const std::string& field, double value) const {
    TENON_CHECK(std::isfinite(value) && value > 0, ErrorCode::kCorrupt,
                "{}: {} is {}, expected a positive number", where_, field, value);
  }
  void positives(const std::string& field, const std::vector<double>& values,
                 std::int64_t count) const {
    TENON_CHECK(values.empty() || static_cast<std::int64_t>(values.size()) == count,
                ErrorCode::kCorrupt,
                "{}: {} has {} values, expected {} (half the rotated features)", where_, field,
                values.size(), count);
    for (const double value : values) positive(field, value);
  }

 private:
  std::string_view where_;
};

void check_sizes(const PretrainedConfig& c, const ConfigCheck& check, std::string_view where) {
  TENON_CHECK(!c.architecture.empty(), ErrorCode::kCorrupt, "{}: architecture is missing", where);
  check.range("vocab_size", c.vocab_size, 1, kMaxWidth);
  check.range("hidden_size", c.hidden_size, 1, kMaxWidth);
  check.range("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers);
  check.range("num_attention_heads", c.num_attention_heads, 1, kMaxWidth);
  check.range("num_key_value_heads", c.num_key_value_heads, 1, c.num_attention_heads);
  TENON_CHECK(c.num_attention_heads % c.num_key_value_heads == 0, ErrorCode::kCorrupt,
              "{}: num_key_value_heads is {}, expected a divisor of num_attention_heads, {}", where,
              c.num_key_value_heads, c.num_attention_heads);
  check.range("head_size", c.head_size, 1, 8192);
  check.range("num_attention_heads * head_size", c.num_attention_heads * c.head_size, 1, kMaxWidth);
  check.range("intermediate_size", c.intermediate_size, 1, kMaxWidth);
  check.range("max_position_embeddings", c.max_position_embeddings, 1, kMaxLength);
  check.positive("norm_epsilon", c.norm_epsilon);
  check.range("bos_token_id", c.bos_token_id, -1, kMaxWidth);
  check.range("pad_token_id", c.pad_token_id, -1, kMaxWidth);
  for (const std::int64_t id : c.eos_token_ids) check.range("eos_token_ids", id, 0, kMaxWidth);
}

/// `field` leads to the settings: "" or "layer_rotary.KIND.".
void check_rotary(double base, const RopeScaling& s, std::int64_t rotated, const std::string& field,
                  const ConfigCheck& check) {
  check.positive(field + "rotary_base", base);
  const std::string scaling = field + "rotary_scaling.";
  check.positive(scaling + "factor", s.factor);
  check.positive(scaling + "low_freq_factor", s.low_freq_factor);
  check.positive(scaling + "high_freq_factor", s.high_freq_factor);
  check.positive(scaling + "beta_fast", s.beta_fast);
  check.positive(scaling + "beta_slow", s.beta_slow);
  if (s.attention_factor) check.positive(scaling + "attention_factor", *s.attention_factor);
  check.range(scaling + "original_max_position_embeddings", s.original_max_position_embeddings, 0,
              kMaxLength);
  check.positives(scaling + "short_factor", s.short_factor, rotated / 2);
  check.positives(scaling + "long_factor", s.long_factor, rotated / 2);
  check.positives(scaling + "frequency_factors", s.frequency_factors, rotated / 2);
}

void check_rope(const PretrainedConfig& c, const ConfigCheck& check) {
  const std::int64_t rotated = c.rotary_embedding_dim ? c.rotary_embedding_dim : c.head_size;
  check.range("rotary_embedding_dim", c.rotary_embedding_dim, 0, c.head_size);
  check.range("rotated features of a head, modulo 2", rotated % 2, 0, 0);
  check_rotary(c.rotary_base, c.rotary_scaling, rotated, "", check);
  for (const auto& [kind, own] : c.layer_rotary)
    check_rotary(own.rotary_base, own.rotary_scaling, rotated, "layer_rotary." + kind + ".", check);
}

/// Settings that no layer would take are a mistake of whoever wrote them.
void check_layer_rotary(const PretrainedConfig& c, std::string_view where) {
  for (const auto& entry : c.layer_rotary) {
    TENON_CHECK(entry.first == kSlidingAttention, ErrorCode::kCorrupt,
                "{}: layer_rotary has \"{}\", expected only \"{}\"; other layers take rotary_base "
                "and rotary_scaling",
                where, entry.first, kSlidingAttention);
    TENON_CHECK(std::any_of(c.layer_windows.begin(), c.layer_windows.end(),
                            [](std::int64_t window) { return window > 0; }),
                ErrorCode::kCorrupt, "{}: layer_rotary has \"{}\", but no layer has a window",
                where, entry.first);
  }
}

bool uses_rope(PositionEmbeddingType type) {
  using P = PositionEmbeddingType;
  return type == P::kRopeGptNeox || type == P::kRopeGptj || type == P::kChatglm ||
         type == P::kYarn || type == P::kLongRope;
}

}  // namespace

void check_config(const PretrainedConfig& config, std::string_view where) {
  const ConfigCheck check(where);
  check_sizes(config, check, where);
  if (uses_rope(config.position_embedding_type)) check_rope(config, check);
  TENON_CHECK(
      config.layer_windows.empty() ||
          static_cast<std::int64_t>(config.layer_windows.size()) == config.num_hidden_layers,
      ErrorCode::kCorrupt, "{}: layer_windows has {} entries, expected {} (one per layer)", where,
      config.layer_windows.size(), config.num_hidden_layers);
  for (const std::int64_t window : config.layer_windows)
    check.range("layer_windows", window, 0, kMaxLength);
  check_layer_rotary(config, where);
  check_config(config.quantization, where);
  checked_mapping(config.mapping);
}

void check_config(const QuantConfig& config, std::string_view where) {
  ConfigCheck(where).range("quantization.group_size", config.group_size, 0, kMaxWidth);
}

void check_config(const BuildConfig& config) {
  const auto range = [](const char* field, std::int64_t value) {
    TENON_CHECK(value >= 1 && value <= kMaxLength, ErrorCode::kInvalidArgument,
                "{} is {}, expected 1 or more", field, value);
  };
  range("max_batch_size", config.max_batch_size);
  range("max_input_len", config.max_input_len.value_or(1));
  range("max_seq_len", config.max_seq_len.value_or(1));
  range("max_beam_width", config.max_beam_width);
  range("max_num_tokens", config.max_num_tokens);
  range("opt_num_tokens", config.opt_num_tokens.value_or(1));
  range("tokens_per_block", config.tokens_per_block);
  TENON_CHECK(config.kv_cache_type == "continuous" || config.kv_cache_type == "paged" ||
                  config.kv_cache_type == "disabled",
              ErrorCode::kInvalidArgument,
              "kv_cache_type is \"{}\", expected continuous, paged or disabled",
              config.kv_cache_type);
  TENON_CHECK(config.logits_dtype == "float32" || config.logits_dtype == "float16",
              ErrorCode::kInvalidArgument, "logits_dtype is \"{}\", expected float32 or float16",
              config.logits_dtype);
}

}  // namespace tenon
