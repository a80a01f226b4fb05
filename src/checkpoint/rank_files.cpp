// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/rank_files.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "checkpoint/part_tensors.h"
#include "checkpoint/safetensors.h"
#include "core/check.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/mapped_file.h"

namespace tenon {
namespace {

/// Far above any weight's; keeps bits of a row and the like within 64 bits.
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 40;

struct File {
  std::string name;
  std::unique_ptr<SafetensorsFile> tensors;
  std::map<std::string, std::string, std::less<>> checksums;
};

/// One rectangle of a weight, in one file.
struct Piece {
  std::size_t file = 0;
  QuantSpec spec;
  Shape shape;
  Shape begin;
};

struct StoredWeight {
  Shape whole;
  std::vector<Piece> pieces;
};

Shape shape_from_json(const Json& json, std::string_view what) {
  Shape shape;
  for (const Json& extent : json.as_array(what)) {
    shape.push_back(extent.as_int(what));
    TENON_CHECK(shape.back() >= 0 && shape.back() <= kMaxExtent, ErrorCode::kCorrupt,
                "{}: an extent of {}, expected 0 to 2^40", what, shape.back());
  }
  TENON_CHECK(!shape.empty() && shape.size() <= 4, ErrorCode::kCorrupt,
              "{}: {} dimensions, expected 1 to 4", what, shape.size());
  element_count(shape, what);
  return shape;
}

class RankFiles : public WeightSource {
 public:
  RankFiles(const std::filesystem::path& directory, const Json& checksums) {
    for (const auto& [name, sums] : checksums.as_object("files"))
      if (name.ends_with(".safetensors")) open(directory, name, sums);
    TENON_CHECK(!files_.empty(), ErrorCode::kCorrupt, "{}: no rank files", directory.string());
    for (auto& [name, weight] : weights_) finish(directory.string(), name, weight);
  }

  const std::vector<WeightInfo>& weights() const override { return infos_; }

  QuantizedTensor load(std::string_view name, const Cut& cut) const override {
    at(name);
    const StoredWeight& weight = weights_.find(name)->second;
    Cut wanted = cut;
    if (wanted.empty())
      for (const std::int64_t extent : weight.whole) wanted.push_back({0, extent});
    check_cut(name, weight.whole, wanted);
    const int axis = split_axis(weight);
    std::vector<QuantizedTensor> found;
    for (const Piece& piece : weight.pieces) {
      if (auto part = overlap(name, piece, wanted)) found.push_back(std::move(*part));
    }
    TENON_CHECK(!found.empty(), ErrorCode::kCorrupt, "{}: the rank files hold no such piece", name);
    QuantizedTensor whole =
        found.size() == 1 ? std::move(found[0]) : concatenate(found, axis, name);
    for (std::size_t d = 0; d < wanted.size(); ++d)
      TENON_CHECK(whole.shape[d] == wanted[d].size(), ErrorCode::kCorrupt,
                  "{}: the rank files do not cover rows or columns {} to {}", name, wanted[d].begin,
                  wanted[d].end);
    return whole;
  }

 private:
  void open(const std::filesystem::path& directory, const std::string& name, const Json& sums) {
    File file;
    file.name = name;
    const std::filesystem::path path = confined_path(directory, name, "the list of files");
    const auto mapped = MappedFile::open(path);
    const std::int64_t bytes = sums.at("bytes", name).as_int(name);
    TENON_CHECK(static_cast<std::int64_t>(mapped->bytes().size()) == bytes, ErrorCode::kCorrupt,
                "{}: {} bytes, expected {}; the file was cut short or changed. Make it again",
                path.string(), mapped->bytes().size(), bytes);
    file.tensors = SafetensorsFile::open(path);
    const SafetensorsHeader header = parse_safetensors(mapped->bytes(), path.string());
    TENON_CHECK(Hasher().add(mapped->bytes().first(header.data_offset)).hex() ==
                    sums.at("header", name).as_string(name),
                ErrorCode::kCorrupt, "{}: its header was changed since it was written",
                path.string());
    for (const auto& [tensor, sum] : sums.at("tensors", name).as_object(name))
      file.checksums.emplace(tensor, sum.as_string(tensor));
    const auto parts = std::find_if(header.metadata.begin(), header.metadata.end(),
                                    [](const auto& row) { return row.first == "tenon.parts"; });
    TENON_CHECK(parts != header.metadata.end(), ErrorCode::kCorrupt,
                "{}: not a rank file of Tenon (no \"tenon.parts\" in its header)", path.string());
    files_.push_back(std::move(file));
    const Json described = Json::parse(parts->second, path.string());
    for (const auto& [weight, row] : described.as_object("parts"))
      add_piece(path.string(), weight, row);
  }

  void add_piece(const std::string& where, const std::string& name, const Json& row) {
    Piece piece;
    piece.file = files_.size() - 1;
    piece.spec = parse_quant_spec(row.at("spec", where).as_string(where), where);
    piece.begin = shape_from_json(row.at("begin", where), name);
    const Shape whole = shape_from_json(row.at("shape", where), name);
    const TensorInfo* codes =
        files_.back().tensors->find(part_tensor_name(piece.spec, name, kPartTensors[0]));
    TENON_CHECK(codes != nullptr, ErrorCode::kCorrupt, "{}: no data for {}", where, name);
    piece.shape = codes->shape;
    TENON_CHECK(whole.size() == piece.shape.size() && whole.size() == piece.begin.size() &&
                    (piece.spec.is_float() || whole.size() == 2),
                ErrorCode::kCorrupt, "{}: {} has contradicting dimensions", where, name);
    if (!piece.spec.is_float()) piece.shape[1] = columns_of(piece, *codes, whole, where);
    for (std::size_t d = 0; d < whole.size(); ++d)
      TENON_CHECK(piece.begin[d] <= whole[d] && piece.shape[d] <= whole[d] - piece.begin[d],
                  ErrorCode::kCorrupt, "{}: a piece of {} lies outside of {}", where, name,
                  to_string(whole));
    StoredWeight& weight = weights_[name];
    if (weight.pieces.empty()) weight.whole = whole;
    TENON_CHECK(weight.whole == whole, ErrorCode::kCorrupt, "{}: ranks disagree on {}'s shape",
                where, name);
    const bool held_twice = std::any_of(  // a KV head that several ranks have
        weight.pieces.begin(), weight.pieces.end(),
        [&](const Piece& other) { return other.begin == piece.begin; });
    if (!held_twice) weight.pieces.push_back(std::move(piece));
  }

  /// Columns that a row of packed codes holds.
  static std::int64_t columns_of(const Piece& piece, const TensorInfo& codes, const Shape& whole,
                                 const std::string& where) {
    const std::int64_t bytes = codes.shape.at(1);
    const std::int64_t columns = bytes <= whole[1] ? bytes * 8 / piece.spec.bits : -1;
    TENON_CHECK(columns >= 0 && columns <= whole[1] && piece.spec.code_bytes(columns) == bytes,
                ErrorCode::kCorrupt, "{}: {} has {} bytes a row, which no number of columns needs",
                where, codes.name, bytes);
    return columns;
  }

  void finish(const std::string& where, const std::string& name, StoredWeight& weight) {
    const auto axis = static_cast<std::size_t>(split_axis(weight));
    std::sort(weight.pieces.begin(), weight.pieces.end(),
              [&](const Piece& a, const Piece& b) { return a.begin[axis] < b.begin[axis]; });
    std::int64_t next = 0;
    for (const Piece& piece : weight.pieces) {
      TENON_CHECK(piece.begin[axis] == next, ErrorCode::kCorrupt,
                  "{}: the rank files leave out or repeat a part of {} at {}", where, name, next);
      next += piece.shape[axis];
    }
    TENON_CHECK(next == weight.whole[axis], ErrorCode::kCorrupt,
                "{}: the rank files end at {} of {} in {}; a rank's file is missing", where, next,
                weight.whole[axis], name);
    QuantSpec spec = weight.pieces.front().spec;
    spec.super_phase = 0;
    infos_.push_back({name, weight.whole, spec});
  }

  /// The dimension along which pieces differ.
  static int split_axis(const StoredWeight& weight) {
    for (const Piece& piece : weight.pieces)
      for (std::size_t d = 1; d < piece.begin.size(); ++d)
        if (piece.begin[d] != 0 || piece.shape[d] != weight.whole[d]) return static_cast<int>(d);
    return 0;
  }

  static void check_cut(std::string_view name, const Shape& whole, const Cut& cut) {
    TENON_CHECK(cut.size() == whole.size(), ErrorCode::kInvalidArgument,
                "{}: a cut of {} dimensions, the weight has {}", name, cut.size(), whole.size());
    for (std::size_t d = 0; d < cut.size(); ++d)
      TENON_CHECK(cut[d].begin >= 0 && cut[d].begin <= cut[d].end && cut[d].end <= whole[d],
                  ErrorCode::kInvalidArgument, "{}: cut {} to {} of {}", name, cut[d].begin,
                  cut[d].end, whole[d]);
  }

  std::optional<QuantizedTensor> overlap(std::string_view name, const Piece& piece,
                                         const Cut& wanted) const {
    Cut local;
    bool whole = true;
    for (std::size_t d = 0; d < wanted.size(); ++d) {
      const std::int64_t begin = std::max(wanted[d].begin, piece.begin[d]);
      const std::int64_t end = std::min(wanted[d].end, piece.begin[d] + piece.shape[d]);
      if (begin >= end) return std::nullopt;
      local.push_back({begin - piece.begin[d], end - piece.begin[d]});
      whole &= local.back().size() == piece.shape[d];
    }
    return cut_weight(read_piece(std::string(name), piece), whole ? Cut{} : local);
  }

  QuantizedTensor read_piece(const std::string& name, const Piece& piece) const {
    const File& file = files_[piece.file];
    QuantizedTensor part;
    part.spec = piece.spec;
    part.shape = piece.shape;
    for (const PartTensor& row : kPartTensors) {
      const std::string tensor = part_tensor_name(piece.spec, name, row);
      if (file.tensors->find(tensor) == nullptr) continue;
      part.*row.member = file.tensors->load(tensor).codes;
      verify_payload(file, tensor, part.*row.member);
      if (piece.spec.is_float()) break;
    }
    validate(part, name);
    return part;
  }

  void verify_payload(const File& file, const std::string& tensor, const Tensor& data) const {
    const auto sum = file.checksums.find(tensor);
    TENON_CHECK(
        sum != file.checksums.end() && Hasher().add(data.view().span()).hex() == sum->second,
        ErrorCode::kCorrupt,
        "{}: the data of {} were changed since they were written; make the directory again",
        file.name, tensor);
  }

  std::vector<File> files_;
  std::map<std::string, StoredWeight, std::less<>> weights_;
  std::vector<WeightInfo> infos_;
};

}  // namespace

std::unique_ptr<WeightSource> open_rank_files(const std::filesystem::path& directory,
                                              const Json& checksums) {
  return std::make_unique<RankFiles>(directory, checksums);
}

}  // namespace tenon
