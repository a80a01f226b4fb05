// Any bytes as a chat template: parsed and rendered with small limits, never a crash or a hang.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"
#include "tenon/error.h"
#include "text/chat_template.h"

namespace {

const tenon::ChatTemplateInput& input() {
  static const tenon::ChatTemplateInput value = [] {
    tenon::ChatTemplateInput made;
    made.messages = tenon::to_json(
        {{"system", "Be brief."}, {"user", " Grüße 世界 "}, {"assistant", "<b>\"x\"</b>\n\nb"}});
    made.tools = tenon::Json::parse(
        R"([{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, null]}}}])",
        "tools");
    made.extra = tenon::Json::parse(
        R"({"n": 7, "f": 2.5, "s": "Hello World", "xs": [3, 1, 2], "d": {"b": 2, "a": 1}})",
        "extra");
    made.bos_token = "<s>";
    made.eos_token = "</s>";
    made.now = 1721990400;
    return made;
  }();
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tenon::jinja::Limits limits;
  limits.steps = 100'000;
  limits.output_bytes = std::size_t{1} << 20;
  limits.memory_bytes = std::size_t{4} << 20;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    tenon::ChatTemplate::parse(std::string(text), "fuzz")->render(input(), limits);
  } catch (const tenon::Error&) {
  }
  return 0;
}
