// The text files of a model or engine directory: tokenizer_config.json, special_tokens_map.json,
// every carrier of a chat template, generation_config.json, and tokenizer_gguf.json beside the
// other tokenizers; then a text through whatever loaded.
// SPDX-License-Identifier: Apache-2.0
#include "api/text_assets.h"
#include "fuzz_directory.h"
#include "text/chat_template.h"
#include "text/stream_decoder.h"

namespace {

constexpr tenon::FuzzFile kFiles[] = {
    {'T', "tokenizer.json"},          {'Q', "tokenizer_gguf.json"},
    {'S', "tokenizer.model"},         {'C', "tokenizer_config.json"},
    {'M', "special_tokens_map.json"}, {'J', "chat_template.jinja"},
    {'K', "chat_template.json"},      {'U', "additional_chat_templates/tool_use.jinja"},
    {'G', "generation_config.json"}};

void use(const tenon::TextAssets& assets) {
  tenon::validate(assets.sampling);
  if (assets.tokenizer == nullptr) return;
  const auto ids = assets.tokenizer->encode("Hello, w\xC3\xB6rld!  <s> 123\n\xE4\xBD\xA0 \xFF");
  tenon::StreamDecoder stream(assets.tokenizer);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  text += stream.finish();
  if (text != assets.tokenizer->decode(ids)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static tenon::FuzzDirectory directory;
  static const tenon::PretrainedConfig config = [] {
    tenon::PretrainedConfig made;
    made.vocab_size = 1 << 16;
    made.eos_token_ids = {2};
    return made;
  }();
  directory.clear();
  for (const auto& [name, content] :
       tenon::split_files(tenon::FuzzInput{data, size}.text(), kFiles))
    directory.write(name, content);
  tenon::fuzz([&] { tenon::find_chat_template(directory.path(), "tool_use"); });
  return tenon::fuzz([&] { use(tenon::load_text_assets(directory.path(), config)); });
}
