// GGUF: fixtures written by the gguf package, hand-made headers, damage.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "byte_writer.h"
#include "core/file.h"
#include "core/mapped_file.h"
#include "hostile.h"

namespace tenon {
namespace {
namespace fs = std::filesystem;

const fs::path kData = TENON_TEST_DATA "/gguf";

void parse(std::span<const std::byte> bytes) { parse_gguf(bytes, "test"); }

ByteWriter start(std::uint64_t tensors, std::uint64_t members, std::uint32_t version = 3) {
  ByteWriter out;
  out.text("GGUF").number(version).number(tensors).number(members);
  return out;
}

ByteWriter& name(ByteWriter& out, std::string_view text) {
  return out.number<std::uint64_t>(text.size()).text(text);
}

ByteWriter& tensor(ByteWriter& out, std::string_view its_name, std::vector<std::uint64_t> extents,
                   std::uint32_t type, std::uint64_t offset) {
  name(out, its_name).number(static_cast<std::uint32_t>(extents.size()));
  for (const std::uint64_t extent : extents) out.number(extent);
  return out.number(type).number(offset);
}

void expect_refused(const ByteWriter& out, std::string_view part,
                    ErrorCode code = ErrorCode::kCorrupt) {
  expect_error(code, [&] { parse(out.bytes()); }, {"test", part});
  EXPECT_LT(allocations().largest, 1U << 20);
}

TEST(Gguf, MetadataOfEveryType) {
  const GgufModel model = open_gguf(kData / "metadata.gguf");
  const Json expected = Json::parse(read_file(kData / "metadata.json"), "metadata.json");
  for (const auto& [key, value] : expected.as_object("test")) {
    const GgufValue* got = model.metadata.find(key);
    ASSERT_NE(got, nullptr) << key;
    EXPECT_EQ(got->to_json().dump(), value.dump()) << key;
  }
  EXPECT_EQ(model.metadata.at("general.alignment", "test").as_int("alignment"), 64);
}

TEST(Gguf, PlainTensors) {
  const GgufModel model = open_gguf(kData / "metadata.gguf");
  const QuantizedTensor four = model.tensors->load("four_dims");
  EXPECT_EQ(four.shape, (Shape{1, 2, 3, 4}));
  for (int i = 0; i < 24; ++i) EXPECT_EQ(four.codes.view().as<float>()[i], static_cast<float>(i));
  for (const char* integer : {"i8", "i16", "i32", "i64"}) {
    const Tensor values = dequantize(model.tensors->load(integer));
    for (int i = 0; i < 5; ++i)
      EXPECT_EQ(values.view().as<float>()[i], static_cast<float>(i - 2)) << integer;
  }
  EXPECT_EQ(model.tensors->find("f64")->spec.float_type, DataType::kFloat64);
}

TEST(Gguf, VersionTwoAndSplitsHoldTheSame) {
  const GgufModel whole = open_gguf(kData / "llama_text.gguf");
  const GgufModel second = open_gguf(kData / "llama_v2.gguf");
  const GgufModel split = open_gguf(kData / "llama_split-00002-of-00003.gguf");
  EXPECT_EQ(split.parts.size(), 3U);
  EXPECT_EQ(split.parts[0].filename(), "llama_split-00001-of-00003.gguf");
  EXPECT_NE(split.metadata.find("tokenizer.ggml.tokens"), nullptr);
  EXPECT_EQ(whole.tensors->tensors().size(), split.tensors->tensors().size());
  for (const TensorInfo& info : whole.tensors->tensors()) {
    const QuantizedTensor expected = whole.tensors->load(info.name);
    for (const TensorSource* other : {second.tensors.get(), split.tensors.get()}) {
      const QuantizedTensor got = other->load(info.name);
      EXPECT_EQ(got.shape, expected.shape);
      EXPECT_EQ(std::memcmp(got.codes.data(), expected.codes.data(), expected.codes.bytes()), 0);
      other->drop(info.name);
    }
  }
}

TEST(Gguf, MixedTypesLoad) {
  const GgufModel model = open_gguf(kData / "llama_mixed.gguf");
  for (const TensorInfo& info : model.tensors->tensors()) {
    const QuantizedTensor tensor = model.tensors->load(info.name);
    validate(tensor, info.name);
    EXPECT_EQ(tensor.spec, info.spec);
    EXPECT_LE(static_cast<double>(tensor.bytes()), 1.05 * static_cast<double>(info.bytes) + 16);
  }
}

TEST(Gguf, MissingPartsAreNamed) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("tenon_gguf_parts_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto part = [&](int i) {
    return "llama_split-0000" + std::to_string(i) + "-of-00003.gguf";
  };
  const auto copy = [&](const std::string& from, const std::string& to) {
    fs::copy_file(kData / from, folder / to, fs::copy_options::overwrite_existing);
  };
  copy(part(1), part(1));
  expect_error(ErrorCode::kNotFound, [&] { open_gguf(folder / part(1)); },
               {"2 are missing", part(2), part(3)});
  copy(part(2), part(2));
  copy(part(2), part(3));
  expect_error(ErrorCode::kCorrupt, [&] { open_gguf(folder / part(1)); },
               {"part 2 of 3", "part 3 of 3"});
  copy(part(1), "renamed.gguf");
  expect_error(ErrorCode::kInvalidArgument, [&] { open_gguf(folder / "renamed.gguf"); },
               {"renamed.gguf", "original names"});
  fs::remove_all(folder);
}

TEST(Gguf, OtherFilesAndVersions) {
  expect_refused(ByteWriter().text("GGML"), "no GGUF file");
  expect_refused(start(0, 0, 1), "version 1", ErrorCode::kUnsupported);
  expect_refused(start(0, 0, 4), "version 4", ErrorCode::kUnsupported);
  expect_refused(start(0, 0, 0x03000000), "big-endian", ErrorCode::kUnsupported);
  EXPECT_NO_THROW(parse(start(0, 0).bytes()));
}

TEST(Gguf, AbsurdCounts) {
  for (const std::uint64_t count : {std::uint64_t{1'000'000'000}, UINT64_MAX}) {
    reset_allocations();
    expect_refused(start(count, 0), "tensors");
    expect_refused(start(0, count), "metadata entries");
    ByteWriter long_key = start(0, 1);
    expect_refused(long_key.number(count).zeros(100), "damaged");
    ByteWriter strings = start(0, 1);
    name(strings, "k").number(std::uint32_t{9}).number(std::uint32_t{8});
    expect_refused(strings.number(count).zeros(64), "\"k\"");
    ByteWriter scalars = start(0, 1);
    name(scalars, "k").number(std::uint32_t{9}).number(std::uint32_t{12});
    expect_refused(scalars.number(count).zeros(64), "\"k\"");
    ByteWriter text = start(0, 1);
    name(text, "k").number(std::uint32_t{8});
    expect_refused(text.number(count).zeros(64), "k");
  }
}

TEST(Gguf, BadMetadata) {
  ByteWriter twice = start(0, 2);
  for (int i = 0; i < 2; ++i) name(twice, "k").number(std::uint32_t{0}).number(std::uint8_t{1});
  expect_refused(twice, "\"k\" twice");
  ByteWriter type = start(0, 1);
  expect_refused(name(type, "k").number(std::uint32_t{13}).zeros(8), "value type 13");
  ByteWriter boolean = start(0, 1);
  expect_refused(name(boolean, "k").number(std::uint32_t{7}).number(std::uint8_t{2}), "bool");
  ByteWriter deep = start(0, 1);
  name(deep, "k").number(std::uint32_t{9});
  for (int i = 0; i < 100; ++i) deep.number(std::uint32_t{9}).number(std::uint64_t{1});
  expect_refused(deep, "nested");
  ByteWriter alignment = start(0, 1);
  name(alignment, "general.alignment").number(std::uint32_t{4}).number(std::uint32_t{24});
  expect_refused(alignment, "alignment is 24");
}

TEST(Gguf, BadTensors) {
  const auto one = [](std::vector<std::uint64_t> extents, std::uint32_t type,
                      std::uint64_t offset) {
    ByteWriter out = start(1, 0);
    return tensor(out, "t", std::move(extents), type, offset).pad_to(32).zeros(64);
  };
  EXPECT_NO_THROW(parse(one({16}, 0, 0).bytes()));
  expect_refused(one({17}, 0, 0), "cut short");
  expect_refused(one({16}, 0, 32), "cut short");
  expect_refused(one({16}, 0, UINT64_MAX - 31), "cut short");
  expect_refused(one({8}, 0, 16), "alignment");
  expect_refused(one({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  expect_refused(one({std::uint64_t{1} << 63}, 0, 0), "extent");
  expect_refused(one({std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0, 0), "2^63");
  expect_refused(one({std::uint64_t{1} << 61, 4}, 28, 0), "2^63");
  expect_refused(one({100}, 2, 0), "blocks of 32");
  expect_refused(one({256}, 16, 0), "IQ2_XXS", ErrorCode::kUnsupported);
  expect_refused(one({256}, 999, 0), "type 999", ErrorCode::kUnsupported);
  ByteWriter twice = start(2, 0);
  tensor(twice, "t", {4}, 0, 0);
  expect_refused(tensor(twice, "t", {4}, 0, 32).pad_to(32).zeros(64), "twice");
  ByteWriter overlap = start(2, 0);
  tensor(overlap, "a", {16}, 0, 0);
  expect_refused(tensor(overlap, "b", {8}, 0, 32).pad_to(32).zeros(64), "overlap");
}

TEST(Gguf, Damage) {
  const auto file = MappedFile::open(kData / "metadata.gguf");
  const Bytes good(file->bytes().begin(), file->bytes().end());
  const std::size_t header = parse_gguf(good, "test").data_offset;
  expect_survives_damage(parse, good, header, 4000);
}

}  // namespace
}  // namespace tenon
