// The header of a GGUF file; see gguf.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <set>

#include "checkpoint/byte_reader.h"
#include "core/check.h"
#include "core/utf8.h"
#include "quant/formats/gguf_blocks.h"

namespace tenon {
namespace {

constexpr int kMaxArrayDepth = 8;
// Bounds on what the metadata may hold, far above any tokenizer's vocabulary: short strings and
// nested arrays take more memory here than in the file.
constexpr std::uint64_t kMaxStrings = std::uint64_t{1} << 24;
constexpr std::uint64_t kMaxNestedArrays = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxNameBytes = 1U << 16;

class Parser {
 public:
  Parser(std::span<const std::byte> file, std::string_view where)
      : reader_(file, where), where_(where), file_bytes_(file.size()) {}

  GgufHeader parse() {
    GgufHeader header;
    header.version = parse_version();
    const auto tensors = reader_.number<std::uint64_t>("the number of tensors");
    const auto members = reader_.number<std::uint64_t>("the number of metadata entries");
    check_count(members, 8 + 4 + 1, "metadata entries");
    for (std::uint64_t i = 0; i < members; ++i) parse_member(header.metadata);
    check_count(tensors, 8 + 4 + 4 + 8, "tensors");
    const std::uint64_t alignment = alignment_of(header.metadata);
    for (std::uint64_t i = 0; i < tensors; ++i) header.tensors.push_back(parse_tensor(alignment));
    header.data_offset = (reader_.position() + alignment - 1) / alignment * alignment;
    place_tensors(header);
    return header;
  }

 private:
  std::uint32_t parse_version() {
    const std::string_view magic = reader_.text(4, "the magic number");
    TENON_CHECK(magic == "GGUF", ErrorCode::kCorrupt,
                "{}: does not start with \"GGUF\"; it is no GGUF file", where_);
    const auto version = reader_.number<std::uint32_t>("the version");
    const auto swapped = __builtin_bswap32(version);
    TENON_CHECK(version < 0x10000 || swapped >= 0x10000, ErrorCode::kUnsupported,
                "{}: a big-endian GGUF file (version {}); only little-endian files are supported",
                where_, swapped);
    TENON_CHECK(version == 2 || version == 3, ErrorCode::kUnsupported,
                "{}: GGUF version {}; versions 2 and 3 are supported", where_, version);
    return version;
  }

  void check_count(std::uint64_t count, std::uint64_t least_bytes, const char* what) const {
    TENON_CHECK(count <= reader_.remaining() / least_bytes, ErrorCode::kCorrupt,
                "{}: claims {} {}, more than its {} bytes could hold; it is damaged", where_, count,
                what, file_bytes_);
  }

  std::string parse_name(const char* what) {
    const auto length = reader_.number<std::uint64_t>(what);
    TENON_CHECK(length <= kMaxNameBytes, ErrorCode::kCorrupt,
                "{}: {} at byte {} claims {} bytes; it is damaged", where_, what,
                reader_.position() - 8, length);
    const std::string_view name = reader_.text(length, what);
    TENON_CHECK(!name.empty() && name.find('\0') == name.npos && utf8::is_valid(name),
                ErrorCode::kCorrupt, "{}: {} before byte {} is empty or no text", where_, what,
                reader_.position());
    return std::string(name);
  }

  GgufType parse_type(const std::string& key) {
    const auto type = reader_.number<std::uint32_t>(key);
    TENON_CHECK(type <= static_cast<std::uint32_t>(GgufType::kFloat64), ErrorCode::kCorrupt,
                "{}: \"{}\" has the unknown value type {}", where_, key, type);
    return static_cast<GgufType>(type);
  }

  void parse_member(GgufMetadata& metadata) {
    std::string key = parse_name("a metadata key");
    const GgufType type = parse_type(key);
    GgufValue value = parse_value(type, key, 0);
    TENON_CHECK(metadata.add(key, std::move(value)), ErrorCode::kCorrupt,
                "{}: the metadata has \"{}\" twice", where_, key);
  }

  std::string parse_string(const std::string& key) {
    TENON_CHECK(++strings_ <= kMaxStrings, ErrorCode::kCorrupt, "{}: \"{}\": more than {} strings",
                where_, key, kMaxStrings);
    const auto length = reader_.number<std::uint64_t>(key);
    return std::string(reader_.text(length, key));
  }

  GgufValue parse_value(GgufType type, const std::string& key, int depth) {
    if (type == GgufType::kString) return GgufValue(parse_string(key));
    if (type == GgufType::kArray) return GgufValue(parse_array(key, depth + 1));
    const auto bytes = reader_.take(gguf_scalar_bytes(type), key);
    if (type == GgufType::kBool) check_bools(bytes, key);
    return gguf_scalar(type, reinterpret_cast<const char*>(bytes.data()));
  }

  void check_bools(std::span<const std::byte> bytes, const std::string& key) const {
    for (const std::byte byte : bytes)
      TENON_CHECK(byte <= std::byte{1}, ErrorCode::kCorrupt, "{}: \"{}\" has a bool of value {}",
                  where_, key, static_cast<int>(byte));
  }

  GgufArray parse_array(const std::string& key, int depth) {
    TENON_CHECK(depth <= kMaxArrayDepth, ErrorCode::kCorrupt,
                "{}: \"{}\" has arrays nested deeper than {}", where_, key, kMaxArrayDepth);
    TENON_CHECK(++arrays_ <= kMaxNestedArrays, ErrorCode::kCorrupt, "{}: more than {} arrays",
                where_, kMaxNestedArrays);
    GgufArray array;
    array.element = parse_type(key);
    const auto count = reader_.number<std::uint64_t>(key);
    const std::string what = "elements of \"" + key + "\"";
    if (array.element == GgufType::kString) {
      check_count(count, 8, what.c_str());
      for (std::uint64_t i = 0; i < count; ++i) array.strings.push_back(parse_string(key));
    } else if (array.element == GgufType::kArray) {
      check_count(count, 4 + 8, what.c_str());
      for (std::uint64_t i = 0; i < count; ++i)
        array.arrays.emplace_back(parse_array(key, depth + 1));
    } else {
      const std::uint64_t size = gguf_scalar_bytes(array.element);
      check_count(count, size, what.c_str());
      const auto bytes = reader_.take(count * size, key);
      if (array.element == GgufType::kBool) check_bools(bytes, key);
      array.scalars.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return array;
  }

  std::uint64_t alignment_of(const GgufMetadata& metadata) const {
    const GgufValue* value = metadata.find("general.alignment");
    if (value == nullptr) return 32;
    const std::int64_t alignment = value->as_int("general.alignment");
    TENON_CHECK(alignment > 0 && alignment <= 1 << 20 &&
                    std::has_single_bit(static_cast<std::uint64_t>(alignment)),
                ErrorCode::kCorrupt,
                "{}: general.alignment is {}; expected a power of two up to 2^20", where_,
                alignment);
    return static_cast<std::uint64_t>(alignment);
  }

  GgufTensor parse_tensor(std::uint64_t alignment) {
    GgufTensor tensor;
    tensor.name = parse_name("a tensor's name");
    const std::string what = std::string(where_) + ": tensor \"" + tensor.name + "\"";
    TENON_CHECK(names_.insert(tensor.name).second, ErrorCode::kCorrupt, "{}: is there twice", what);
    const auto dimensions = reader_.number<std::uint32_t>(what);
    TENON_CHECK(dimensions <= 4, ErrorCode::kCorrupt, "{}: has {} dimensions; expected up to 4",
                what, dimensions);
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto extent = reader_.number<std::uint64_t>(what);
      TENON_CHECK(extent <= INT64_MAX, ErrorCode::kCorrupt, "{}: has an extent of {}", what,
                  extent);
      tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
    }
    const auto id = reader_.number<std::uint32_t>(what);
    const GgufTypeInfo* type = find_gguf_type(id);
    if (type == nullptr || !type->supported)
      fail(ErrorCode::kUnsupported, "{}: is of type {}, which is not supported; supported: {}",
           what, type == nullptr ? std::to_string(id) : type->name, supported_gguf_types());
    tensor.type = static_cast<GgufTensorType>(id);
    tensor.bytes = static_cast<std::uint64_t>(gguf_byte_count(tensor.type, tensor.shape, what));
    tensor.offset = reader_.number<std::uint64_t>(what);
    TENON_CHECK(tensor.offset % alignment == 0, ErrorCode::kCorrupt,
                "{}: starts at byte {} of the data, no multiple of the alignment of {}", what,
                tensor.offset, alignment);
    return tensor;
  }

  /// Makes offsets absolute; each tensor lies in the file and none over another.
  void place_tensors(GgufHeader& header) const {
    const std::uint64_t data = file_bytes_ - std::min(file_bytes_, header.data_offset);
    std::vector<const GgufTensor*> sorted;
    for (GgufTensor& tensor : header.tensors) {
      TENON_CHECK(
          tensor.offset <= data && tensor.bytes <= data - tensor.offset, ErrorCode::kCorrupt,
          "{}: tensor \"{}\" lies at bytes {} + {} of the data, but the file has only {}; it "
          "is cut short or damaged",
          where_, tensor.name, tensor.offset, tensor.bytes, data);
      tensor.offset += header.data_offset;
      sorted.push_back(&tensor);
    }
    std::ranges::sort(sorted, {}, [](const GgufTensor* tensor) {
      return std::pair(tensor->offset, tensor->bytes);
    });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      const GgufTensor& before = *sorted[i - 1];
      TENON_CHECK(before.offset + before.bytes <= sorted[i]->offset, ErrorCode::kCorrupt,
                  "{}: the tensors \"{}\" and \"{}\" overlap", where_, before.name,
                  sorted[i]->name);
    }
  }

  ByteReader reader_;
  std::string_view where_;
  std::uint64_t file_bytes_;
  std::uint64_t strings_ = 0;
  std::uint64_t arrays_ = 0;
  std::set<std::string> names_;
};

}  // namespace

GgufHeader parse_gguf(std::span<const std::byte> file, std::string_view where) {
  return Parser(file, where).parse();
}

}  // namespace tenon
