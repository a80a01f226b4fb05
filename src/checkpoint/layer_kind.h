// The kind of a layer under Hugging Face's names (layer_types). It follows from the layer's window,
// so that a config cannot contradict itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tenon/config.h"

namespace tenon {

inline constexpr const char* kFullAttention = "full_attention";
inline constexpr const char* kSlidingAttention = "sliding_attention";

/// Attention window of `layer`; 0: whole context.
inline std::int64_t layer_window(const PretrainedConfig& config, std::int64_t layer) {
  return config.layer_windows.empty() ? 0 : config.layer_windows[static_cast<std::size_t>(layer)];
}

inline const char* layer_kind(const PretrainedConfig& config, std::int64_t layer) {
  return layer_window(config, layer) > 0 ? kSlidingAttention : kFullAttention;
}

}  // namespace tenon
