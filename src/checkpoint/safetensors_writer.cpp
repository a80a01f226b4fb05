// Writing safetensors; see safetensors_writer.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/json.h"

namespace tenon {
namespace {

constexpr std::uint64_t kAlignment = 64;

[[noreturn]] void fail_io(const std::filesystem::path& path, const char* doing, int reason) {
  fail(ErrorCode::kIo, "{}: cannot {}: {}{}", path.string(), doing, std::strerror(reason),
       reason == ENOSPC ? "; free some space or choose another place" : "");
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<Tensor> tensors,
                                     const SafetensorsMetadata& metadata)
    : path_(path) {
  std::ranges::stable_sort(tensors, std::greater{},
                           [](const Tensor& tensor) { return size_of(tensor.type); });
  Json::Object header;
  if (!metadata.empty()) {
    Json::Object entries;
    for (const auto& [key, value] : metadata) entries.emplace_back(key, Json(value));
    header.emplace_back("__metadata__", Json(std::move(entries)));
  }
  std::uint64_t position = 0;
  for (const Tensor& tensor : tensors) {
    const auto bytes =
        static_cast<std::uint64_t>(byte_count(tensor.type, tensor.shape, tensor.name));
    const bool is_new = places_.emplace(tensor.name, Place{position, bytes, 0}).second;
    TENON_CHECK(is_new && tensor.name != "__metadata__", ErrorCode::kInvalidArgument,
                "{}: cannot write a second tensor \"{}\"", path.string(), tensor.name);
    Json::Array shape;
    for (const std::int64_t extent : tensor.shape) shape.emplace_back(extent);
    Json::Object record;
    record.emplace_back("dtype", Json(safetensors_type_name(tensor.type)));
    record.emplace_back("shape", Json(std::move(shape)));
    record.emplace_back("data_offsets", Json(Json::Array{Json(position), Json(position + bytes)}));
    header.emplace_back(tensor.name, Json(std::move(record)));
    position += bytes;
  }
  std::string text = Json(std::move(header)).dump();
  text.append((kAlignment - (8 + text.size()) % kAlignment) % kAlignment, ' ');
  const std::uint64_t length = text.size();
  for (auto& [name, place] : places_) place.offset += 8 + length;
  file_bytes_ = 8 + length + position;

  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_io(path_, "create it", errno);
  write_at(0, std::as_bytes(std::span(&length, 1)));
  write_at(8, std::as_bytes(std::span(text.data(), text.size())));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) ::close(file_);
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = places_.find(name);
  TENON_CHECK(found != places_.end(), ErrorCode::kInternal,
              "bug in Tenon: {}: \"{}\" was not announced when the file was begun", path_.string(),
              name);
  Place& place = found->second;
  TENON_CHECK(bytes.size() <= place.bytes - place.written, ErrorCode::kInternal,
              "bug in Tenon: {}: \"{}\" has {} bytes, more were written", path_.string(), name,
              place.bytes);
  write_at(place.offset + place.written, bytes);
  place.written += bytes.size();
}

void SafetensorsWriter::close() {
  for (const auto& [name, place] : places_)
    TENON_CHECK(place.written == place.bytes, ErrorCode::kInternal,
                "bug in Tenon: {}: \"{}\" has {} bytes, {} were written", path_.string(), name,
                place.bytes, place.written);
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0) fail_io(path_, "finish writing", errno);
}

void SafetensorsWriter::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      fail_io(path_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

}  // namespace tenon
