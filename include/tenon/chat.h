// A message of a conversation.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tenon/export.h"

namespace tenon {

struct TENON_API ChatMessage {
  std::string role{};     ///< "system", "user", "assistant"
  std::string content{};  ///< the text
};

}  // namespace tenon
