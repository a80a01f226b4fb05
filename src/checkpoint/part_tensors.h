// The tensors of a weight part, with the suffix each has in a rank file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <utility>

#include "quant/quantized_tensor.h"

namespace tenon {

struct PartTensor {
  const char* suffix;
  Tensor QuantizedTensor::*member;
};

/// All that a quantized part may have; absent ones have no data.
inline constexpr std::array<PartTensor, 6> kPartTensors = {{
    {".codes", &QuantizedTensor::codes},
    {".scale", &QuantizedTensor::scale},
    {".sub_scale", &QuantizedTensor::sub_scale},
    {".minimum", &QuantizedTensor::minimum},
    {".sub_minimum", &QuantizedTensor::sub_minimum},
    {".codebook", &QuantizedTensor::codebook},
}};

/// Name in a rank file of one tensor of `part`.
inline std::string part_tensor_name(const QuantSpec& spec, const std::string& name,
                                    const PartTensor& tensor) {
  return spec.is_float() ? name : name + tensor.suffix;
}

}  // namespace tenon
