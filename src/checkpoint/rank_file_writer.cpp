// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <future>
#include <map>

#include "checkpoint/part_tensors.h"
#include "checkpoint/rank_files.h"
#include "checkpoint/safetensors_writer.h"
#include "core/check.h"
#include "core/half.h"
#include "core/hash.h"
#include "core/mapped_file.h"

namespace tenon {
namespace {

/// What will stand in the file for one weight.
struct PlannedPart {
  std::string name;
  Cut cut;  ///< empty: whole
  QuantSpec spec;
  Shape shape;
};

Shape whole_shape(const WeightSource& source, const std::string& name) {
  return source.at(name).shape;
}

PlannedPart plan_part(const Weight& weight, const WeightSource& source,
                      std::optional<DataType> float_type) {
  PlannedPart part;
  part.name = weight.name;
  part.shape = weight.shape;
  part.spec = source.at(weight.name).spec;
  for (const auto& [begin, end] : weight.cut) part.cut.push_back({begin, end});
  if (part.spec.is_float()) {
    if (float_type) part.spec = QuantSpec::floating(*float_type);
  } else if (part.spec.two_level() && part.cut.size() == 2) {
    part.spec.super_phase = (part.spec.super_phase + part.cut[1].begin) % part.spec.super_size;
  }
  return part;
}

void list_tensors(const PlannedPart& part, std::vector<SafetensorsWriter::Tensor>& out) {
  if (part.spec.is_float()) {
    out.push_back({part.name, part.spec.float_type, part.shape});
    return;
  }
  // Shapes of a part without rows tell those of every row.
  const QuantizedTensor row_shapes =
      QuantizedTensor::empty(part.spec, {0, part.shape.at(1)}, part.name);
  for (const PartTensor& tensor : kPartTensors) {
    const Tensor& shape_only = row_shapes.*tensor.member;
    if (shape_only.shape().empty()) continue;
    Shape shape = shape_only.shape();
    if (shape.size() == 2) shape[0] = part.shape[0];
    out.push_back({part.name + tensor.suffix, shape_only.dtype(), shape});
  }
}

/// Converts floats in pieces, so that the copy stays small. Gives what was written's hash.
std::string write_converted(SafetensorsWriter& writer, const PlannedPart& part,
                            const Tensor& from) {
  constexpr std::size_t kPiece = 1 << 16;
  const auto total = static_cast<std::size_t>(from.view().elements());
  const std::size_t from_size = size_of(from.dtype());
  const std::size_t to_size = size_of(part.spec.float_type);
  std::vector<float> floats(std::min(kPiece, total));
  std::vector<std::byte> bytes(floats.size() * to_size);
  Hasher hasher;
  for (std::size_t begin = 0; begin < total; begin += kPiece) {
    const std::size_t count = std::min(kPiece, total - begin);
    convert_to_float(from.dtype(), from.data() + begin * from_size, floats.data(), count);
    convert_from_float(part.spec.float_type, floats.data(), bytes.data(), count);
    if (part.spec.float_type == DataType::kFloat16)
      for (std::size_t i = 0; i < count; ++i)
        TENON_CHECK(!std::isfinite(floats[i]) || std::fabs(floats[i]) < 65520.0F,
                    ErrorCode::kUnsupported,
                    "{}: {} does not fit float16 (65504 at most); use --dtype bfloat16 or float32",
                    part.name, floats[i]);
    const std::span<const std::byte> piece(bytes.data(), count * to_size);
    hasher.add(piece);
    writer.write(part.name, piece);
  }
  return hasher.hex();
}

// Gives the bytes' hash, which takes about half as long as writing them: both at a time.
std::string write_hashed(SafetensorsWriter& writer, const std::string& name,
                         std::span<const std::byte> bytes) {
  constexpr std::size_t kWorthAThread = std::size_t{1} << 20;
  const auto hash = [bytes] { return Hasher().add(bytes).hex(); };
  auto hex =
      std::async(bytes.size() < kWorthAThread ? std::launch::deferred : std::launch::async, hash);
  writer.write(name, bytes);
  return hex.get();
}

void write_part(SafetensorsWriter& writer, const PlannedPart& part, const WeightSource& source,
                Json& checksums) {
  const QuantizedTensor tensor = source.load(part.name, part.cut);
  TENON_CHECK(tensor.shape == part.shape, ErrorCode::kInternal, "{}: loaded as {}, planned as {}",
              part.name, to_string(tensor.shape), to_string(part.shape));
  for (const PartTensor& row : kPartTensors) {
    const Tensor& data = tensor.*row.member;
    if (data.data() == nullptr) continue;
    const std::string name = part_tensor_name(part.spec, part.name, row);
    const bool converts = part.spec.is_float() && data.dtype() != part.spec.float_type;
    checksums.set(name, converts ? write_converted(writer, part, data)
                                 : write_hashed(writer, name, data.view().span()));
  }
}

}  // namespace

std::string rank_file_name(int rank) { return fmt::format("rank{}.safetensors", rank); }

Json write_rank_file(const std::filesystem::path& path, std::span<const Weight> weights,
                     const WeightSource& source, std::optional<DataType> float_type) {
  std::vector<PlannedPart> parts;
  std::vector<SafetensorsWriter::Tensor> tensors;
  Json described = Json::object();
  for (const Weight& weight : weights) {
    parts.push_back(plan_part(weight, source, float_type));
    const PlannedPart& part = parts.back();
    list_tensors(part, tensors);
    Json row = Json::object();
    row.set("spec", to_string(part.spec));
    Json whole = Json::array();
    for (const std::int64_t extent : whole_shape(source, part.name)) whole.push_back(extent);
    row.set("shape", std::move(whole));
    Json begin = Json::array();
    for (std::size_t d = 0; d < part.shape.size(); ++d)
      begin.push_back(part.cut.empty() ? std::int64_t{0} : part.cut[d].begin);
    row.set("begin", std::move(begin));
    described.mutable_object().emplace_back(part.name, std::move(row));
  }
  Json checksums = Json::object();
  {
    SafetensorsWriter writer(path, std::move(tensors), {{"tenon.parts", described.dump()}});
    for (const PlannedPart& part : parts) write_part(writer, part, source, checksums);
    writer.close();
  }
  const auto file = MappedFile::open(path);
  const SafetensorsHeader header = parse_safetensors(file->bytes(), path.string());
  Json result = Json::object();
  result.set("bytes", static_cast<std::int64_t>(file->bytes().size()));
  result.set("header", Hasher().add(file->bytes().first(header.data_offset)).hex());
  result.set("tensors", std::move(checksums));
  return result;
}

}  // namespace tenon
