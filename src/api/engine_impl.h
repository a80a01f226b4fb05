// What the public handles PretrainedModel and Engine hold.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include "api/model_source.h"
#include "tenon/engine.h"
#include "tenon/model.h"

namespace tenon {

struct PretrainedModel::Impl {
  ModelSource source;
  DataType dtype = DataType::kFloat32;  ///< what config.dtype said when the weights were opened
};

/// Built from a model, or opened from a directory; save() works for both.
struct Engine::Impl {
  ModelSource source;  ///< weights, config, text files
  BuildConfig build;
  ModelGraphs graphs;
};

/// Opens an engine directory as a handle's content.
std::shared_ptr<Engine::Impl> open_engine_impl(const std::filesystem::path& directory);

}  // namespace tenon
