// How each "tokenizer.ggml.pre" of the supported families cuts text before byte-level BPE.
// The patterns are facts of the families' published tokenizers; a list is applied step by step.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/check.h"
#include "text/gguf_tokenizer.h"
#include "text/pre_tokenizer.h"

namespace tenon {
namespace {

constexpr const char* kDigit = R"(\p{N})";
constexpr const char* kThreeDigits = R"(\p{N}{1,3})";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";
constexpr const char* kNewline = R"([\r\n])";
constexpr const char* kCjkHangul = "[一-龥ࠀ-一가-퟿]+";
constexpr const char* kDeepSeekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr const char* kDeepSeekPunctuation = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr const char* kDeepSeek3Cjk = "[一-龥぀-ゟ゠-ヿ]+";
constexpr const char* kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr const char* kPunctuationAndTick = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr const char* kExactlyThree = "[0-9][0-9][0-9]";

struct Row {
  std::vector<std::string_view> names;
  GgufPreType type;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"},
       {.patterns = {kLlama3}, .ignore_merges = true, .add_bos = true}},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {.patterns = {kLlama3}}},
      {{"qwen2", "deepseek-r1-qwen", "megrez"}, {.patterns = {kQwen2}, .nfc = true}},
      {{"qwen35"}, {.patterns = {kQwen35}, .nfc = true}},
      {{"stablelm2", "hunyuan", "grok-2", "solar-open"}, {.patterns = {kQwen2}}},
      {{"tekken"}, {.patterns = {kTekken}, .ignore_merges = true, .add_bos = true}},
      {{"gpt-4o", "llama4"}, {.patterns = {kGpt4o}}},
      {{"gpt-2", "phi-2", "gigachat", "mellum", "modern-bert", "jais", "trillion", "exaone4",
        "granite-docling"},
       {.patterns = {kGpt2Pattern}}},
      {{"mpt", "olmo"}, {.patterns = {kGpt2Pattern}, .nfc = true}},
      {{"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"},
       {.patterns = {kDigit, kGpt2Pattern}}},
      {{"command-r"}, {.patterns = {kDigit, kGpt2Pattern}, .nfc = true}},
      {{"deepseek-llm"},
       {.patterns = {kNewline, kDeepSeekLetters, kDeepSeekPunctuation, R"(\s+$)", kCjkHangul,
                     R"(\p{N}+)"}}},
      {{"deepseek-coder"},
       {.patterns = {kNewline, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kCjkHangul, kDigit}}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
       {.patterns = {kThreeDigits, kDeepSeek3Cjk, kDeepSeek3}}},
      {{"falcon"}, {.patterns = {kPunctuationAndTick, kGpt2Pattern, kExactlyThree}}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {.patterns = {kBloom}}},
      {{"viking"}, {.patterns = {kBloom, kDigit}}},
      {{"default", ""}, {.patterns = {kPunctuation, kGpt2Pattern, R"(\p{N}+)", kExactlyThree}}},
  };
  return table;
}

}  // namespace

GgufPreType gguf_pre_type(std::string_view pre, std::string_view where) {
  for (const Row& row : rows())
    if (std::find(row.names.begin(), row.names.end(), pre) != row.names.end()) return row.type;
  fail(ErrorCode::kUnsupported, "{}: tokenizer.ggml.pre \"{}\" is not known", where, pre);
}

}  // namespace tenon
