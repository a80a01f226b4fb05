// convert: a model's files become a checkpoint: one real shard per rank, tensor by tensor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tenon/config.h"

namespace tenon {

struct ConvertOptions {
  std::string model_dir;  ///< anything open_model_source takes
  std::filesystem::path output_dir;
  std::optional<DataType> dtype;  ///< of float weights; unset: as they are
  Mapping mapping;
  int workers = 1;  ///< rank files written at once
  /// Of linear layers' weights; an empty quant_algo: they stay as they are.
  QuantConfig quantization{};
};

struct ConvertReport {
  std::string architecture;
  std::int64_t weights = 0;
  /// Weights that were quantized here, and the forms that they had: "bfloat16".
  std::int64_t quantized = 0;
  std::string quantized_from;
  std::int64_t bytes = 0;
  double seconds = 0;
};

ConvertReport convert(const ConvertOptions& options);

}  // namespace tenon
