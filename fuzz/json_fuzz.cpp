// Json::parse on any bytes; what it accepts is printed and must parse to the same value.
// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    const tenon::Json value = tenon::Json::parse(input.text(), "fuzz");
    if (tenon::Json::parse(value.dump(), "again") != value) std::abort();
  });
}
