// convert: a model's files become a checkpoint: one real shard per rank, tensor by tensor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tenon/types.h"

namespace tenon {

struct ConvertOptions {
  std::string model_dir;  ///< anything open_model_source takes
  std::filesystem::path output_dir;
  std::optional<DataType> dtype;  ///< of float weights; unset: as they are
  Mapping mapping;
  int workers = 1;  ///< rank files written at once
};

struct ConvertReport {
  std::string architecture;
  std::int64_t weights = 0;
  std::int64_t bytes = 0;
  double seconds = 0;
};

ConvertReport convert(const ConvertOptions& options);

}  // namespace tenon
