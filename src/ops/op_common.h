// What the attribute structs of all ops share: enumerations, and the form of a shape rule.
//
// An op is one struct with
//   static constexpr const char* kName       its stem, everywhere: files, graphs, kernels, logs
//   static auto fields()                     tuple of field("name", &Op::member): printing,
//                                            storing, comparing come from it
// and one overload  std::vector<ValueType> infer_types(const Op&, std::span<const ValueType>
// inputs, std::span<const Shape> weights)  that checks its inputs and gives its outputs' types.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

#include "core/shape.h"
#include "ops/value_type.h"

namespace tenon {

template <class Op, class T>
struct Field {
  const char* name;
  T Op::*member;
};

template <class Op, class T>
constexpr Field<Op, T> field(const char* name, T Op::*member) {
  return {name, member};
}

/// Names of an enumeration's values, in order: specialised beside each enumeration.
template <class E>
inline constexpr std::span<const char* const> kEnumNames = {};

enum class ActivationKind : std::uint8_t {
  kIdentity,
  kRelu,
  kRelu2,      ///< relu(x)^2
  kSilu,       ///< x * sigmoid(x), also called swish
  kGelu,       ///< exact: x * Phi(x)
  kGeluTanh,   ///< the tanh approximation ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
  kQuickGelu,  ///< x * sigmoid(1.702 x)
  kSigmoid,
  kTanh,
};
inline constexpr const char* kActivationKindNames[] = {
    "identity", "relu", "relu2", "silu", "gelu", "gelu_tanh", "quick_gelu", "sigmoid", "tanh"};
template <>
inline constexpr std::span<const char* const> kEnumNames<ActivationKind> = kActivationKindNames;

enum class NormKind : std::uint8_t { kRms, kLayer, kGroup };
inline constexpr const char* kNormKindNames[] = {"rms", "layer", "group"};
template <>
inline constexpr std::span<const char* const> kEnumNames<NormKind> = kNormKindNames;

/// Which elements of a head make a rotated pair.
enum class RopeStyle : std::uint8_t {
  kNeox,  ///< i and i + rotary_dim / 2
  kGptj,  ///< 2i and 2i + 1
};
inline constexpr const char* kRopeStyleNames[] = {"neox", "gptj"};
template <>
inline constexpr std::span<const char* const> kEnumNames<RopeStyle> = kRopeStyleNames;

/// How inverse frequencies depend on a sequence's length. Everything that does not (linear, llama3,
/// yarn) is folded into the table when the graph is built.
enum class RopeLength : std::uint8_t {
  kFixed,    ///< inv_freq for every length
  kSwitch,   ///< inv_freq up to original_length, long_inv_freq beyond (longrope)
  kDynamic,  ///< the base grows with the length beyond original_length (dynamic NTK)
};
inline constexpr const char* kRopeLengthNames[] = {"fixed", "switch", "dynamic"};
template <>
inline constexpr std::span<const char* const> kEnumNames<RopeLength> = kRopeLengthNames;

enum class AttentionMask : std::uint8_t {
  kCausal,         ///< a token sees itself and what came before (window: at most that many)
  kBidirectional,  ///< a token sees its whole sequence, and no padding since there is none
};
inline constexpr const char* kAttentionMaskNames[] = {"causal", "bidirectional"};
template <>
inline constexpr std::span<const char* const> kEnumNames<AttentionMask> = kAttentionMaskNames;

/// Where keys and values come from.
enum class AttentionSource : std::uint8_t {
  kPagedCache,  ///< the paged cache of cache_layer, with this step's keys written before
  kDirect,      ///< this step's keys and values, [T, …]
  kCross,       ///< an encoder's keys and values, [E, …]
};
inline constexpr const char* kAttentionSourceNames[] = {"paged_cache", "direct", "cross"};
template <>
inline constexpr std::span<const char* const> kEnumNames<AttentionSource> = kAttentionSourceNames;

inline constexpr const char* kSymbolNames[] = {"none", "tokens", "sequences", "logit_rows",
                                               "encoder_tokens"};
template <>
inline constexpr std::span<const char* const> kEnumNames<Symbol> = kSymbolNames;

}  // namespace tenon
