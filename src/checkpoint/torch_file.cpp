// PyTorch files as a source of tensors; see torch_file.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/torch_file.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "checkpoint/safetensors.h"
#include "checkpoint/zip_archive.h"
#include "core/check.h"
#include "core/mapped_file.h"

namespace tenon {
namespace {

[[noreturn]] void fail_other_format(std::span<const std::byte> file, std::string_view where) {
  // Files of PyTorch before 1.6 start with a pickle of the number 0x1950a86a20f9469cfc6c.
  const std::string_view start(reinterpret_cast<const char*>(file.data()),
                               std::min<std::size_t>(file.size(), 64));
  if (start.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"))
    fail(ErrorCode::kUnsupported,
         "{}: written in the old format of PyTorch before 1.6; load it with torch.load and save it "
         "again with torch.save or as safetensors",
         where);
  fail(ErrorCode::kCorrupt,
       "{}: no PyTorch file: expected a zip archive (is it a Git LFS pointer, or "
       "cut short?)",
       where);
}

/// "archive/" of the one entry "archive/data.pkl".
std::string find_prefix(const ZipDirectory& entries, std::string_view where) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::string prefix;
  for (const auto& [name, entry] : entries) {
    if (!name.ends_with(kPickle) || name.find('/') != name.size() - kPickle.size()) continue;
    TENON_CHECK(prefix.empty(), ErrorCode::kCorrupt, "{}: has more than one data.pkl", where);
    prefix = name.substr(0, name.size() - kPickle.size() + 1);
  }
  TENON_CHECK(!prefix.empty(), ErrorCode::kCorrupt,
              "{}: a zip archive without a data.pkl; it was not written by torch.save", where);
  return prefix;
}

std::span<const std::byte> data_of(std::span<const std::byte> file, const ZipEntry& entry) {
  return file.subspan(entry.offset, entry.bytes);
}

void check_byte_order(std::span<const std::byte> file, const ZipDirectory& entries,
                      const std::string& prefix, std::string_view where) {
  const auto found = entries.find(prefix + "byteorder");
  if (found == entries.end()) return;
  const auto bytes = data_of(file, found->second);
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  TENON_CHECK(order == "little", ErrorCode::kUnsupported,
              "{}: its byte order is \"{}\"; only little-endian files are supported", where,
              order.substr(0, 20));
}

/// Copies a strided tensor into rows of its own, innermost run by innermost run.
Tensor gather(const PickledTensor& tensor, std::span<const std::byte> storage) {
  Tensor out(tensor.type, tensor.shape);
  const auto size = static_cast<std::int64_t>(size_of(tensor.type));
  const std::size_t rank = tensor.shape.size();
  std::vector<std::int64_t> index(rank, 0);
  std::byte* target = out.mutable_data();
  const std::int64_t inner = tensor.shape.back();
  const std::int64_t step = tensor.strides.back() * size;
  for (std::int64_t left = element_count(tensor.shape); left > 0; left -= inner) {
    std::int64_t at = tensor.offset;
    for (std::size_t i = 0; i + 1 < rank; ++i) at += index[i] * tensor.strides[i];
    const std::byte* source = storage.data() + at * size;
    for (std::int64_t i = 0; i < inner; ++i, target += size)
      std::memcpy(target, source + i * step, static_cast<std::size_t>(size));
    for (std::size_t i = rank - 1; i-- > 0;) {
      if (++index[i] < tensor.shape[i]) break;
      index[i] = 0;
    }
  }
  return out;
}

class TorchFile : public TensorTable {
 public:
  explicit TorchFile(const std::filesystem::path& path)
      : file_(MappedFile::open(path)), entries_(parse_torch_file(file_->bytes(), path.string())) {
    for (const TorchTensor& entry : entries_) {
      const PickledTensor& tensor = entry.pickled;
      add({.name = tensor.name,
           .shape = tensor.shape,
           .spec = QuantSpec::floating(tensor.type),
           .file = path,
           .bytes = static_cast<std::uint64_t>(byte_count(tensor.type, tensor.shape, tensor.name)),
           .stored_type = safetensors_type_name(tensor.type)});
    }
  }

 private:
  std::span<const std::byte> storage(const TorchTensor& entry) const {
    return file_->part(entry.storage_offset, entry.storage_bytes, entry.pickled.name);
  }

  QuantizedTensor load_at(std::size_t index) const override {
    const TorchTensor& entry = entries_[index];
    const PickledTensor& tensor = entry.pickled;
    if (!tensor.is_contiguous()) return QuantizedTensor::from(gather(tensor, storage(entry)));
    const std::uint64_t bytes = tensors()[index].bytes;
    const std::uint64_t offset =
        bytes == 0 ? 0 : static_cast<std::uint64_t>(tensor.offset) * size_of(tensor.type);
    return plain_tensor(tensor.type, tensor.shape, storage(entry).subspan(offset, bytes), file_);
  }

  void drop_at(std::size_t index) const override { file_->drop(storage(entries_[index])); }

  std::shared_ptr<const MappedFile> file_;
  std::vector<TorchTensor> entries_;
};

}  // namespace

std::vector<TorchTensor> parse_torch_file(std::span<const std::byte> file, std::string_view where) {
  if (!is_zip(file)) fail_other_format(file, where);
  const ZipDirectory entries = read_zip_directory(file, where);
  const std::string prefix = find_prefix(entries, where);
  check_byte_order(file, entries, prefix, where);
  std::vector<TorchTensor> tensors;
  for (PickledTensor& tensor :
       read_torch_pickle(data_of(file, entries.at(prefix + "data.pkl")), where)) {
    const auto storage = entries.find(prefix + "data/" + tensor.storage);
    TENON_CHECK(storage != entries.end(), ErrorCode::kCorrupt,
                "{}: tensor \"{}\" lies in the storage \"{}\", which the archive lacks", where,
                tensor.name, tensor.storage.substr(0, 100));
    TENON_CHECK(
        static_cast<std::uint64_t>(tensor.storage_bytes) <= storage->second.bytes,
        ErrorCode::kCorrupt,
        "{}: tensor \"{}\" lies in a storage of {} bytes, but the archive has {}; the file is "
        "cut short or damaged",
        where, tensor.name, tensor.storage_bytes, storage->second.bytes);
    tensors.push_back({std::move(tensor), storage->second.offset, storage->second.bytes});
  }
  return tensors;
}

std::unique_ptr<TensorSource> open_torch_file(const std::filesystem::path& path) {
  return std::make_unique<TorchFile>(path);
}

}  // namespace tenon
