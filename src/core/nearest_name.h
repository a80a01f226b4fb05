// "Did you mean …": the closest known name to one that is unknown.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tenon {

/// The candidate with the smallest edit distance, where that is small enough to be a likely slip;
/// empty otherwise.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

/// "; did you mean \"X\"?" or nothing: to end an error message with.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace tenon
