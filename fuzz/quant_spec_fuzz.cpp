// parse_quant_spec on any text; what it accepts must print to what parses to the same spec.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_spec.h"

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    const tenon::QuantSpec spec = tenon::parse_quant_spec(input.text(), "fuzz");
    if (tenon::parse_quant_spec(tenon::to_string(spec), "again") != spec) std::abort();
  });
}
