// Feed-forward layers. Weight names are TensorRT-LLM's: fc into the hidden features (in a gated MLP
// the activated half, Hugging Face's gate_proj), gate (its up_proj), proj out of them (down_proj).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/graph_builder.h"

namespace tenon {

/// proj(act(fc(x)))
struct MlpLayer {
  std::string name;
  std::int64_t hidden_size = 0;
  std::int64_t ffn_hidden_size = 0;
  std::string hidden_act = "gelu";
  bool bias = true;
  std::string axis = "ffn";
  std::string output = {};  ///< empty: name.output

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

/// proj(act(fc(x)) * gate(x))
struct GatedMlpLayer {
  std::string name;
  std::int64_t hidden_size = 0;
  std::int64_t ffn_hidden_size = 0;
  std::string hidden_act = "silu";
  bool bias = false;
  std::string axis = "ffn";
  std::string output = {};  ///< empty: name.output

  ValueId emit(GraphBuilder& builder, ValueId x) const;
};

/// The same nodes as GatedMlpLayer: a graph is stored unfused, and fc, gate and the activation
/// become one kernel wherever the backend has it. Kept as a name for those who look for it.
struct FusedGatedMlpLayer : GatedMlpLayer {};

}  // namespace tenon
