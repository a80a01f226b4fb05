// Hand-made PyTorch files: a stored zip archive, and pickles put together opcode by opcode.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "byte_writer.h"

namespace tenon {

struct ZipItem {
  std::string name;
  std::string content;
  std::uint16_t method = 0;
};

inline std::string text_of(const ByteWriter& writer) {
  return {reinterpret_cast<const char*>(writer.bytes().data()), writer.bytes().size()};
}

/// A zip archive of stored entries, without checksums; with the records of zip64 where asked.
inline std::vector<std::byte> zip(const std::vector<ZipItem>& items, bool zip64 = false) {
  ByteWriter out;
  ByteWriter directory;
  for (const ZipItem& item : items) {
    const std::uint64_t offset = out.bytes().size();
    const std::uint64_t size = item.content.size();
    const auto name = static_cast<std::uint16_t>(item.name.size());
    const auto narrow = [&](std::uint64_t value) {
      return zip64 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(value);
    };
    out.number(std::uint32_t{0x04034b50}).number(std::uint32_t{0}).number(item.method).zeros(8);
    out.number(narrow(size)).number(narrow(size)).number(name).zeros(2).text(item.name);
    out.text(item.content);
    directory.number(std::uint32_t{0x02014b50}).zeros(6).number(item.method).zeros(8);
    directory.number(narrow(size)).number(narrow(size)).number(name);
    directory.number(std::uint16_t(zip64 ? 28 : 0)).zeros(10).number(narrow(offset));
    directory.text(item.name);
    if (zip64)
      directory.number(std::uint16_t{1})
          .number(std::uint16_t{24})
          .number(size)
          .number(size)
          .number(offset);
  }
  const std::uint64_t offset = out.bytes().size();
  const std::uint64_t size = directory.bytes().size();
  const std::uint64_t count = items.size();
  out.text(text_of(directory));
  if (zip64) {
    const std::uint64_t end = out.bytes().size();
    out.number(std::uint32_t{0x06064b50}).number(std::uint64_t{44}).zeros(12);
    out.number(count).number(count).number(size).number(offset);
    out.number(std::uint32_t{0x07064b50}).zeros(4).number(end).number(std::uint32_t{1});
  }
  const auto entries = static_cast<std::uint16_t>(zip64 ? 0xFFFF : count);
  out.number(std::uint32_t{0x06054b50}).zeros(4).number(entries).number(entries);
  out.number(zip64 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(size));
  out.number(zip64 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(offset)).zeros(2);
  return out.bytes();
}

/// Pickle opcodes by name; every method appends.
class PickleWriter {
 public:
  PickleWriter() { raw("\x80\x02"); }
  PickleWriter& raw(std::string_view bytes) {
    out_.text(bytes);
    return *this;
  }
  PickleWriter& string(std::string_view text) {
    out_.text("X").number(static_cast<std::uint32_t>(text.size())).text(text);
    return *this;
  }
  PickleWriter& integer(std::int32_t value) {
    out_.text("J").number(value);
    return *this;
  }
  PickleWriter& global(std::string_view module, std::string_view name) {
    return raw("c").raw(module).raw("\n").raw(name).raw("\n");
  }
  PickleWriter& tuple(const std::vector<std::int32_t>& values) {
    raw("(");
    for (const std::int32_t value : values) integer(value);
    return raw("t");
  }
  /// torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())
  PickleWriter& tensor(std::string_view storage_type, std::string_view key, std::int32_t elements,
                       std::int32_t offset, const std::vector<std::int32_t>& shape,
                       const std::vector<std::int32_t>& strides) {
    global("torch._utils", "_rebuild_tensor_v2").raw("((").string("storage");
    global("torch", storage_type).string(key).string("cpu").integer(elements).raw("tQ");
    integer(offset).tuple(shape).tuple(strides).raw("\x89");
    return global("collections", "OrderedDict").raw(")RtR");
  }
  std::string done() const { return text_of(out_) + "."; }

 private:
  ByteWriter out_;
};

/// A whole file: one pickle and its storages.
inline std::vector<std::byte> torch_file(
    const std::string& pickle, const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipItem> items = {{"archive/data.pkl", pickle, 0},
                                {"archive/byteorder", "little", 0}};
  for (const auto& [key, content] : storages) items.push_back({"archive/data/" + key, content, 0});
  return zip(items);
}

}  // namespace tenon
