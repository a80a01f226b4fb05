// Activations by the names that model configs use for them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "ops/op_common.h"

namespace tenon {

/// "silu", "swish", "gelu", "gelu_new", … Throws Error{kUnsupported} with the nearest name; `what`
/// names the layer or field.
ActivationKind parse_activation(std::string_view name, std::string_view what);

/// The activation of the gate: the names above, or "swiglu" (silu), "geglu" and "gegelu" (gelu).
ActivationKind parse_gated_activation(std::string_view name, std::string_view what);

}  // namespace tenon
