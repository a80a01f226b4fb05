// The safetensors header on any bytes; every tensor it accepts must lie in the file.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    const auto header = tenon::parse_safetensors(input.bytes(), "fuzz");
    for (const tenon::SafetensorsEntry& entry : header.tensors)
      if (entry.offset > size || entry.bytes > size - entry.offset) std::abort();
  });
}
