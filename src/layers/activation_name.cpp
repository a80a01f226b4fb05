// SPDX-License-Identifier: Apache-2.0
#include "layers/activation_name.h"

#include <string>
#include <vector>

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {
namespace {

struct NamedActivation {
  const char* name;
  ActivationKind kind;
};

constexpr NamedActivation kActivations[] = {
    {"silu", ActivationKind::kSilu},
    {"swish", ActivationKind::kSilu},
    {"gelu", ActivationKind::kGelu},
    {"gelu_python", ActivationKind::kGelu},
    {"gelu_new", ActivationKind::kGeluTanh},
    {"gelu_fast", ActivationKind::kGeluTanh},
    {"gelu_tanh", ActivationKind::kGeluTanh},
    {"gelu_pytorch_tanh", ActivationKind::kGeluTanh},
    {"quick_gelu", ActivationKind::kQuickGelu},
    {"relu", ActivationKind::kRelu},
    {"relu2", ActivationKind::kRelu2},
    {"relu_squared", ActivationKind::kRelu2},
    {"squared-relu", ActivationKind::kRelu2},
    {"sigmoid", ActivationKind::kSigmoid},
    {"tanh", ActivationKind::kTanh},
    {"linear", ActivationKind::kIdentity},
    {"identity", ActivationKind::kIdentity},
};

constexpr NamedActivation kGatedActivations[] = {
    {"swiglu", ActivationKind::kSilu},
    {"geglu", ActivationKind::kGelu},
    {"gegelu", ActivationKind::kGelu},
};

const NamedActivation* find(std::span<const NamedActivation> table, std::string_view name) {
  for (const NamedActivation& entry : table)
    if (name == entry.name) return &entry;
  return nullptr;
}

[[noreturn]] void fail_unknown(std::string_view name, std::string_view what, bool gated) {
  std::vector<std::string> known;
  for (const NamedActivation& entry : kActivations) known.emplace_back(entry.name);
  if (gated)
    for (const NamedActivation& entry : kGatedActivations) known.emplace_back(entry.name);
  std::string list;
  for (const std::string& entry : known) list += (list.empty() ? "" : ", ") + entry;
  fail(ErrorCode::kUnsupported, "{}: unknown activation \"{}\"{}; known are {}", what, name,
       did_you_mean(name, known), list);
}

}  // namespace

ActivationKind parse_activation(std::string_view name, std::string_view what) {
  if (const NamedActivation* entry = find(kActivations, name)) return entry->kind;
  TENON_CHECK(find(kGatedActivations, name) == nullptr, ErrorCode::kInvalidArgument,
              "{}: \"{}\" is a gated activation, which needs the two projections of a GatedMLP",
              what, name);
  fail_unknown(name, what, false);
}

ActivationKind parse_gated_activation(std::string_view name, std::string_view what) {
  if (const NamedActivation* entry = find(kActivations, name)) return entry->kind;
  if (const NamedActivation* entry = find(kGatedActivations, name)) return entry->kind;
  fail_unknown(name, what, true);
}

}  // namespace tenon
