// The GGUF header on any bytes; the tensors it accepts are repacked and read.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf.h"

#include "fuzz_input.h"
#include "quant/formats/gguf_blocks.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    const tenon::GgufHeader header = tenon::parse_gguf(input.bytes(), "fuzz");
    for (const auto& [key, value] : header.metadata.members()) value.to_json(100).dump();
    for (const tenon::GgufTensor& tensor : header.tensors) {
      if (tensor.bytes == 0 || tensor.bytes > 1 << 16) continue;
      const auto part = tenon::from_gguf_blocks(tensor.type, tensor.shape,
                                                input.bytes().subspan(tensor.offset, tensor.bytes),
                                                nullptr, tensor.name);
      tenon::validate(part, tensor.name);
      tenon::dequantize(part);
    }
  });
}
