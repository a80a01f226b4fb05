// How layers name things: weights by the checkpoint's logical names, values by the same names
// without the leading "transformer.", so that a tap reads "layers.3.attention.q".
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace tenon {

/// Name of the value that the layer of this logical name computes.
inline std::string value_name(std::string_view layer) {
  constexpr std::string_view kRoot = "transformer.";
  return std::string(layer.starts_with(kRoot) ? layer.substr(kRoot.size()) : layer);
}

}  // namespace tenon
