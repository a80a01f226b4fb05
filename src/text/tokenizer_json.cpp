// Reads tokenizer.json: which components stand in the file, and how they are put together.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "core/check.h"
#include "core/json.h"
#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/tokenizer_loaders.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace tenon {
namespace {

Vocabulary read_vocabulary(const Json& model, std::string_view where) {
  const Json::Object& members = model.at("vocab", where).as_object("model.vocab");
  std::vector<VocabularyEntry> entries;
  entries.reserve(members.size());
  for (const auto& [piece, id] : members) entries.push_back({piece, id.as_int("model.vocab id")});
  return Vocabulary(entries, where);
}

BpeMergeList read_merges(const Json& model, std::string_view where) {
  BpeMergeList merges;
  const Json::Array& list = model.at("merges", where).as_array("model.merges");
  merges.reserve(list.size());
  for (const Json& merge : list) {
    if (merge.is_string()) {
      const std::string& line = merge.as_string("merge");
      if (line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ');
      TENON_CHECK(space != std::string::npos && line.find(' ', space + 1) == std::string::npos,
                  ErrorCode::kCorrupt, "{}: merge \"{}\", expected two pieces and a space", where,
                  line);
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    } else {
      const Json::Array& pair = merge.as_array("merge");
      TENON_CHECK(pair.size() == 2, ErrorCode::kCorrupt, "{}: a merge of {} pieces, expected 2",
                  where, pair.size());
      merges.emplace_back(pair[0].as_string("merge"), pair[1].as_string("merge"));
    }
  }
  return merges;
}

BpeOptions read_bpe_options(const Json& model, std::string_view where) {
  BpeOptions options;
  if (const Json* const unk = find_field(model, "unk_token"))
    options.unk_token = unk->as_string("model.unk_token");
  options.continuing_subword_prefix = string_field(model, "continuing_subword_prefix", "");
  options.end_of_word_suffix = string_field(model, "end_of_word_suffix", "");
  options.fuse_unk = bool_field(model, "fuse_unk", false);
  options.byte_fallback = bool_field(model, "byte_fallback", false);
  options.ignore_merges = bool_field(model, "ignore_merges", false);
  if (const Json* const dropout = find_field(model, "dropout"))
    TENON_CHECK(dropout->as_double("model.dropout") == 0.0, ErrorCode::kUnsupported,
                "{}: model.dropout {}: expected none, as it makes ids random", where,
                dropout->as_double("model.dropout"));
  return options;
}

/// Old files leave the type out.
std::string model_type(const Json& model) {
  if (const Json* const type = find_field(model, "type")) return type->as_string("model.type");
  if (model.find("merges") != nullptr) return "BPE";
  if (model.find("unk_id") != nullptr) return "Unigram";
  if (model.find("continuing_subword_prefix") != nullptr) return "WordPiece";
  return "WordLevel";
}

std::unique_ptr<const TokenModel> make_model(const Json& model, bool byte_level,
                                             std::string_view where) {
  const std::string type = model_type(model);
  if (type == "BPE") {
    BpeOptions options = read_bpe_options(model, where);
    options.byte_level = byte_level;
    return std::make_unique<BpeModel>(read_vocabulary(model, where), read_merges(model, where),
                                      std::move(options), where);
  }
  if (type == "Unigram") {
    std::vector<UnigramPiece> pieces;
    for (const Json& entry : model.at("vocab", where).as_array("model.vocab")) {
      const Json::Array& pair = entry.as_array("model.vocab entry");
      TENON_CHECK(pair.size() == 2, ErrorCode::kCorrupt,
                  "{}: a vocabulary entry of {} members, expected a piece and its score", where,
                  pair.size());
      pieces.push_back({pair[0].as_string("piece"), pair[1].as_double("score")});
    }
    UnigramOptions options;
    if (const Json* const unk = find_field(model, "unk_id"))
      options.unk_id = unk->as_int("model.unk_id");
    options.byte_fallback = bool_field(model, "byte_fallback", false);
    return std::make_unique<UnigramModel>(pieces, options, where);
  }
  if (type == "WordPiece") {
    WordPieceModelOptions options;
    options.unk_token = string_field(model, "unk_token", "[UNK]");
    options.continuing_prefix = string_field(model, "continuing_subword_prefix", "##");
    if (const Json* const limit = find_field(model, "max_input_chars_per_word"))
      options.max_characters = limit->as_int("model.max_input_chars_per_word");
    return std::make_unique<WordPieceModel>(read_vocabulary(model, where), std::move(options));
  }
  if (type == "WordLevel")
    return std::make_unique<WordLevelModel>(read_vocabulary(model, where),
                                            string_field(model, "unk_token", "<unk>"));
  fail(ErrorCode::kUnsupported, "{}: model type \"{}\" is not known", where, type);
}

std::vector<AddedToken> read_added_tokens(const Json& root) {
  std::vector<AddedToken> tokens;
  const Json* const list = find_field(root, "added_tokens");
  if (list == nullptr) return tokens;
  for (const Json& entry : list->as_array("added_tokens")) {
    AddedToken token;
    token.content = entry.at("content", "added_tokens").as_string("added_tokens content");
    token.single_word = bool_field(entry, "single_word", false);
    token.lstrip = bool_field(entry, "lstrip", false);
    token.rstrip = bool_field(entry, "rstrip", false);
    token.special = bool_field(entry, "special", false);
    token.normalized = bool_field(entry, "normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Tokenizer::Parts make_parts(const Json& root, std::string_view where) {
  const Json& model = root.at("model", where);
  Tokenizer::Parts parts;
  if (const Json* const json = find_field(root, "normalizer"))
    parts.normalizer = make_normalizer(*json, where);
  if (const Json* const json = find_field(root, "pre_tokenizer")) {
    const bool plain_bpe = model_type(model) == "BPE" &&
                           string_field(model, "continuing_subword_prefix", "").empty() &&
                           string_field(model, "end_of_word_suffix", "").empty();
    parts.pre_tokenizer = make_pre_tokenizer(*json, plain_bpe, where);
  }
  parts.model = make_model(model, parts.pre_tokenizer.ends_byte_level, where);
  parts.added =
      AddedTokens(read_added_tokens(root), parts.model->vocabulary(), parts.normalizer.get());
  if (const Json* const json = find_field(root, "post_processor"))
    parts.post_processor = make_post_processor(*json, where);
  if (const Json* const json = find_field(root, "decoder"))
    add_decoders(*json, where, parts.decoder);
  else
    parts.decoder.push_back(make_space_joiner());
  if (const std::string unk = string_field(model, "unk_token", ""); !unk.empty())
    if (const std::int32_t id = parts.model->vocabulary().find(unk); id >= 0) parts.unk = id;
  if (const Json* const unk = find_field(model, "unk_id"))
    parts.unk = static_cast<std::int32_t>(unk->as_int("model.unk_id"));
  return parts;
}

}  // namespace

Tokenizer::Parts parts_from_json(std::string_view tokenizer_json, std::string_view where) {
  const Json root = Json::parse(tokenizer_json, where);
  return naming_source(where, [&] { return make_parts(root, where); });
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                                      std::string_view where) {
  return std::make_shared<const Tokenizer>(parts_from_json(tokenizer_json, where));
}

}  // namespace tenon
