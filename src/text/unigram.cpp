// SPDX-License-Identifier: Apache-2.0
#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "text/byte_level.h"
#include "text/code_points.h"

namespace tenon {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr std::uint32_t kUnreached = std::numeric_limits<std::uint32_t>::max();

struct Node {  // the best cut of the text up to here ends with piece `id`, which starts at `begin`
  double score = 0;
  std::int32_t id = -1;
  std::uint32_t begin = kUnreached;
};

Vocabulary vocabulary_of(const std::vector<UnigramPiece>& pieces, std::string_view where) {
  std::vector<VocabularyEntry> entries;
  entries.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i)
    entries.push_back({pieces[i].text, static_cast<std::int64_t>(i)});
  return Vocabulary(entries, where);
}

}  // namespace

UnigramModel::UnigramModel(const std::vector<UnigramPiece>& pieces, const UnigramOptions& options,
                           std::string_view where)
    : TokenModel(vocabulary_of(pieces, where)),
      byte_fallback_(options.byte_fallback),
      sentencepiece_(options.sentencepiece) {
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  std::vector<std::pair<std::string_view, std::int32_t>> entries;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    scores_.push_back(pieces[i].score);
    if (!pieces[i].matches) continue;
    const auto id = static_cast<std::int32_t>(i);
    entries.emplace_back(vocabulary_.text(id), id);
    if (pieces[i].preferred) continue;
    lowest = std::min(lowest, pieces[i].score);
    highest = std::max(highest, pieces[i].score);
  }
  // A user-defined symbol scores above any cut of its text into pieces.
  for (std::size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].preferred)
      scores_[i] = options.sentencepiece
                       ? static_cast<double>(static_cast<float>(pieces[i].text.size()) *
                                             static_cast<float>(highest)) -
                             0.1
                       : 0.0;
  if (sentencepiece_)
    unknown_score_ = static_cast<float>(lowest) - static_cast<float>(kUnknownPenalty);
  else
    unknown_score_ = lowest - kUnknownPenalty;
  trie_ = ByteTrie(std::move(entries));
  if (options.unk_id) {
    TENON_CHECK(*options.unk_id >= 0 && *options.unk_id < static_cast<std::int64_t>(pieces.size()),
                ErrorCode::kCorrupt, "{}: unk_id {} among {} pieces", where, *options.unk_id,
                pieces.size());
    unk_id_ = static_cast<std::int32_t>(*options.unk_id);
  }
  for (std::size_t byte = 0; byte < 256; ++byte)
    byte_pieces_[byte] = vocabulary_.find(byte_piece(static_cast<std::uint8_t>(byte)));
}

void UnigramModel::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  TENON_CHECK(text.size() < kUnreached, ErrorCode::kInvalidArgument,
              "[tokenizer] a text of {} bytes, expected less than 4 GiB", text.size());
  std::vector<Node> best(text.size() + 1);
  const auto offer = [&](std::size_t end, double score, std::int32_t id, std::size_t begin) {
    Node& node = best[end];
    if (node.begin != kUnreached && !(score > node.score)) return;
    node.score = sentencepiece_ ? static_cast<float>(score) : score;
    node.id = id;
    node.begin = static_cast<std::uint32_t>(begin);
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto length = static_cast<std::size_t>(utf8_length(text[at]));
    const double so_far = best[at].score;
    bool has_single = false;
    std::uint32_t node = ByteTrie::kRoot;
    for (std::size_t end = at; end < text.size();) {
      node = trie_.step(node, static_cast<std::uint8_t>(text[end]));
      if (node == ByteTrie::kNone) break;
      ++end;
      const std::int32_t id = trie_.value(node);
      if (id < 0) continue;
      const double score = scores_[static_cast<std::size_t>(id)];
      // SentencePiece adds floats as floats, but a user-defined symbol's score is a double.
      const bool as_float = sentencepiece_ && static_cast<float>(score) == score;
      offer(end, as_float ? static_cast<float>(score) + static_cast<float>(so_far) : score + so_far,
            id, at);
      has_single = has_single || end == at + length;
    }
    if (!has_single) {
      TENON_CHECK(unk_id_ >= 0, ErrorCode::kCorrupt,
                  "[tokenizer] the text needs an unknown piece, and the tokenizer has none");
      const double score = unknown_score_ + so_far;
      offer(at + length, sentencepiece_ ? static_cast<float>(score) : score, unk_id_, at);
    }
    at += length;
  }
  // Walk back; runs of unknown characters count as one.
  struct Span {
    std::int32_t id;
    std::uint32_t begin, end;
  };
  std::vector<Span> path;
  for (std::size_t end = text.size(); end > 0;) {
    const Node& node = best[end];
    if (node.id == unk_id_ && !path.empty() && path.back().id == unk_id_)
      path.back().begin = node.begin;
    else
      path.push_back({node.id, node.begin, static_cast<std::uint32_t>(end)});
    end = node.begin;
  }
  for (auto span = path.rbegin(); span != path.rend(); ++span) {
    if (span->id == unk_id_)
      add_unknown(text.substr(span->begin, span->end - span->begin), out);
    else
      out.push_back(span->id);
  }
}

void UnigramModel::add_unknown(std::string_view text, std::vector<std::int32_t>& out) const {
  // The joined text may be a piece after all: then that is what it is.
  if (!sentencepiece_)
    if (const std::int32_t id = vocabulary_.find(text); id >= 0) return out.push_back(id);
  const bool bytes = byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char c) {
                       return byte_pieces_[static_cast<unsigned char>(c)] >= 0;
                     });
  if (!bytes) return out.push_back(unk_id_);
  for (const char c : text) out.push_back(byte_pieces_[static_cast<unsigned char>(c)]);
}

}  // namespace tenon
