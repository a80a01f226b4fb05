// Whether a model's files changed since they were opened.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "api/model_source.h"

namespace tenon {

/// Tells whether the files of a model are still those that were opened: of small ones (an engine's
/// manifest) the content counts, of others size and time of the last change.
std::string source_identity(const ModelSource& source);

}  // namespace tenon
