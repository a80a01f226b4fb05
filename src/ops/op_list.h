// The closed list of ops. A backend without a kernel for one of them does not compile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <variant>

#include "ops/activation.h"
#include "ops/add.h"
#include "ops/add_norm.h"
#include "ops/all_gather.h"
#include "ops/all_reduce.h"
#include "ops/attention.h"
#include "ops/cache_write.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/embedding.h"
#include "ops/gated_activation.h"
#include "ops/gated_linear.h"
#include "ops/gather_rows.h"
#include "ops/linear.h"
#include "ops/mul.h"
#include "ops/norm.h"
#include "ops/receive.h"
#include "ops/rope.h"
#include "ops/rope_cache_write.h"
#include "ops/scale.h"
#include "ops/send.h"
#include "ops/slice.h"
#include "ops/softcap.h"

namespace tenon {

class Json;  // core/json.h

using Op = std::variant<
    // plain: what a stored graph may hold
    Embedding, Linear, Norm, Activation, GatedActivation, Add, Mul, Scale, Softcap, Concat, Slice,
    Cast, GatherRows, Rope, CacheWrite, Attention,
    // from the pass partition
    AllReduce, AllGather, Send, Receive,
    // fused: from passes, each equal to a plain sequence
    AddNorm, GatedLinear, RopeCacheWrite>;

/// kName of the held op.
const char* name_of(const Op& op);

/// True for the ops a stored graph may hold (of Linear: those of one segment).
bool is_plain(const Op& op);

/// Types of the outputs; throws Error{kCorrupt} "[linear] …" where inputs or weights do not fit.
std::vector<ValueType> infer_output_types(const Op& op, std::span<const ValueType> inputs,
                                          std::span<const Shape> weights);

/// {"op": "norm", "kind": "rms", …}: every field, enumerations by name.
Json to_json(const Op& op);
/// Inverse; throws Error{kCorrupt} naming `where` for an unknown op, a missing or unknown field.
Op op_from_json(const Json& json, std::string_view where);

/// Same op, every field equal.
bool same_op(const Op& a, const Op& b);

/// "kind=rms eps=1e-05 groups=1": every field but those that are false, 0.0 or an empty list.
std::string describe(const Op& op);

}  // namespace tenon
