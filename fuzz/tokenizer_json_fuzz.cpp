// libFuzzer: any bytes as tokenizer.json, then a text through whatever loaded.
// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "tenon/error.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer =
        tenon::Tokenizer::from_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const auto ids = tokenizer->encode("Hello, w\xC3\xB6rld!  <s> 123\n\xE4\xBD\xA0 \xFF");
    tenon::StreamDecoder stream(tokenizer);
    std::string text;
    for (const std::int32_t id : ids) text += stream.push(id);
    text += stream.finish();
    if (text != tokenizer->decode(ids)) std::abort();
  } catch (const tenon::Error&) {
  }
  return 0;
}
