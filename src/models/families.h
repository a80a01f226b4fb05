// The families that model_list.cpp lists, one file each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "models/model_family.h"

namespace tenon {

extern const ModelFamily kLlamaFamily;
extern const ModelFamily kMistralFamily;
extern const ModelFamily kQwen2Family;

}  // namespace tenon
