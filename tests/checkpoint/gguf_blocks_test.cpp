// GGUF blocks against the floats of the gguf package, bit for bit.
// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/gguf_blocks.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/safetensors.h"

namespace tenon {
namespace {

TEST(GgufBlocks, BitForBitAsTheGgufPackage) {
  const auto file = SafetensorsFile::open(TENON_TEST_DATA "/gguf/blocks.safetensors");
  int types = 0;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const GgufTypeInfo* info = find_gguf_type(id);
    if (info == nullptr || file->find(std::string(info->name) + ".bytes") == nullptr) continue;
    const Tensor blocks = file->load(std::string(info->name) + ".bytes").codes;
    const Tensor values = file->load(std::string(info->name) + ".values").codes;
    const Shape shape = {1, values.view().elements()};
    const auto type = static_cast<GgufTensorType>(id);
    const QuantizedTensor tensor =
        from_gguf_blocks(type, shape, blocks.view().span(), nullptr, info->name);
    validate(tensor, info->name);
    const Tensor got = dequantize(tensor);
    const auto* expected_bits = values.view().as<std::uint32_t>();
    const auto* got_bits = got.view().as<std::uint32_t>();
    int wrong = 0;
    for (std::int64_t i = 0; i < shape[1]; ++i)
      if (expected_bits[i] != got_bits[i] && ++wrong <= 3)
        ADD_FAILURE() << info->name << " element " << i << ": expected "
                      << values.view().as<float>()[i] << ", got " << got.view().as<float>()[i];
    EXPECT_EQ(wrong, 0) << info->name << " of " << shape[1];
    ++types;
  }
  EXPECT_EQ(types, 14);
}

}  // namespace
}  // namespace tenon
