// Rank files: rank{N}.safetensors of checkpoint and engine directories. Each holds the rectangles
// of the weights that one rank of some mapping has; any set of them reads as whole weights again.
//
// A float part is one tensor under the weight's name. A quantized part is several:
// NAME.codes, NAME.scale, NAME.sub_scale, NAME.minimum, NAME.sub_minimum, NAME.codebook. The
// header's metadata "tenon.parts" is a JSON object: NAME → {"spec", "shape" (of the whole),
// "begin"}.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/weight_source.h"
#include "core/json.h"

namespace tenon {

/// "rank3.safetensors"
std::string rank_file_name(int rank);

/// Writes the rectangles that `weights` (of a partitioned graph) name, one weight in memory at a
/// time. Float parts are converted to `float_type` where it is given; a finite number that it
/// cannot hold is an error naming the weight. Returns the file's checksums: {"bytes", "header",
/// "tensors"}.
Json write_rank_file(const std::filesystem::path& path, std::span<const Weight> weights,
                     const WeightSource& source, std::optional<DataType> float_type);

/// Opens every rank file that `checksums` names (file name → what write_rank_file returned).
/// Headers are checked now, a tensor's payload when it is first loaded. Throws Error{kCorrupt}
/// where a file is cut short, changed, missing, or where pieces do not cover a weight.
std::unique_ptr<WeightSource> open_rank_files(const std::filesystem::path& directory,
                                              const Json& checksums);

}  // namespace tenon
