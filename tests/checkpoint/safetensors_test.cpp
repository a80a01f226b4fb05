// safetensors: what is written is read back; everything damaged is refused.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "byte_writer.h"
#include "checkpoint/safetensors_writer.h"
#include "core/file.h"
#include "hostile.h"

namespace tenon {
namespace {
namespace fs = std::filesystem;

Bytes file_with(std::string header, std::size_t data_bytes) {
  return ByteWriter().number<std::uint64_t>(header.size()).text(header).zeros(data_bytes).bytes();
}

void parse(std::span<const std::byte> bytes) { parse_safetensors(bytes, "test"); }

void expect_refused(const std::string& header, std::size_t data_bytes, std::string_view part) {
  expect_error(ErrorCode::kCorrupt, [&] { parse(file_with(header, data_bytes)); }, {"test", part});
}

class SafetensorsTest : public testing::Test {
 protected:
  fs::path path_ = fs::path(testing::TempDir()) /
                   ("tenon_" + std::to_string(::getpid()) + "_" +
                    testing::UnitTest::GetInstance()->current_test_info()->name() + ".safetensors");
  void TearDown() override { fs::remove(path_); }
};

TEST_F(SafetensorsTest, EveryTypeRoundTrips) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (int i = 0; i <= static_cast<int>(DataType::kBool); ++i)
    tensors.push_back({"t" + std::to_string(i), static_cast<DataType>(i), {3, i}});
  tensors.push_back({"scalar", DataType::kFloat32, {}});
  SafetensorsWriter writer(path_, tensors, {{"format", "pt"}, {"quote", "a \"b\"\n"}});
  std::vector<std::byte> values(4096);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::byte>(i * 7);
  for (std::size_t i = tensors.size(); i-- > 0;) {  // any order, in two pieces
    const auto bytes = static_cast<std::size_t>(byte_count(tensors[i].type, tensors[i].shape));
    writer.write(tensors[i].name, std::span(values).subspan(i, bytes / 2));
    writer.write(tensors[i].name, std::span(values).subspan(i + bytes / 2, bytes - bytes / 2));
  }
  writer.close();
  EXPECT_EQ(fs::file_size(path_), writer.file_bytes());
  const auto file = SafetensorsFile::open(path_);
  EXPECT_EQ(file->metadata(), (SafetensorsMetadata{{"format", "pt"}, {"quote", "a \"b\"\n"}}));
  ASSERT_EQ(file->tensors().size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const QuantizedTensor tensor = file->load(tensors[i].name);
    EXPECT_EQ(tensor.spec, QuantSpec::floating(tensors[i].type));
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    const auto got = tensor.codes.view().span();
    EXPECT_TRUE(std::equal(got.begin(), got.end(), values.begin() + static_cast<long>(i)));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(got.data()) % size_of(tensors[i].type), 0U);
    file->drop(tensors[i].name);
  }
  EXPECT_EQ(file->entries().front().offset % 64, 0U);
  expect_error(ErrorCode::kNotFound, [&] { file->load("scaler"); }, {"scaler", "scalar"});
}

TEST_F(SafetensorsTest, TensorsOutliveTheFile) {
  {
    SafetensorsWriter writer(path_, {{"a", DataType::kFloat32, {2}}});
    const float values[] = {1.5F, -2.0F};
    writer.write("a", std::as_bytes(std::span(values)));
    writer.close();
  }
  QuantizedTensor tensor = SafetensorsFile::open(path_)->load("a");
  EXPECT_EQ(tensor.codes.view().as<float>()[1], -2.0F);
}

TEST_F(SafetensorsTest, WriterFindsOurBugs) {
  SafetensorsWriter writer(path_, {{"a", DataType::kInt8, {4}}});
  const Bytes bytes(5);
  expect_error(ErrorCode::kInternal, [&] { writer.write("a", bytes); }, {"\"a\" has 4"});
  expect_error(ErrorCode::kInternal, [&] { writer.write("b", bytes); }, {"\"b\""});
  expect_error(ErrorCode::kInternal, [&] { writer.close(); }, {"0 were written"});
  expect_error(ErrorCode::kInvalidArgument,
               [&] {
                 SafetensorsWriter twice(
                     path_, {{"a", DataType::kInt8, {1}}, {"a", DataType::kInt8, {1}}});
               },
               {"second tensor"});
}

TEST(Safetensors, UnalignedTensorsAreCopied) {
  const fs::path path = fs::path(testing::TempDir()) /
                        ("tenon_unaligned_" + std::to_string(::getpid()) + ".safetensors");
  const Bytes bytes = file_with(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                R"("b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})",
                                9);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  const QuantizedTensor tensor = SafetensorsFile::open(path)->load("b");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.codes.data()) % 4, 0U);
  fs::remove(path);
}

TEST(Safetensors, EmptyAndPadded) {
  EXPECT_NO_THROW(parse(file_with("{}", 0)));
  EXPECT_NO_THROW(parse(file_with("{}      ", 0)));
  EXPECT_NO_THROW(parse(file_with(
      R"({"e":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}})", 0)));
}

TEST(Safetensors, Refusals) {
  expect_refused("", 0, "header");
  expect_refused("[]", 0, "object");
  expect_refused("{", 0, "header");
  expect_refused(R"({"a":5})", 0, "\"a\"");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "data_offsets");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}})", 4, "\"x\"");
  expect_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "takes 8 bytes");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "4 … 0");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two");
  expect_refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "-1");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "1.5");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "cut short");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "follow");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "hole");
  expect_refused(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                 R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                 3, "overlap");
  expect_refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                 R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                 2, "a");
  expect_refused(R"({"__metadata__":{"a":1}})", 0, "__metadata__");
  expect_refused(R"({"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
                 "2^63");
  expect_refused(R"({"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]}})", 0,
                 "2^63");
  expect_error(
      ErrorCode::kUnsupported,
      [] { parse(file_with(R"({"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})", 1)); },
      {"F4", "\"a\""});
}

TEST(Safetensors, AbsurdClaimsAllocateNothing) {
  reset_allocations();
  for (const std::uint64_t length : {std::uint64_t{100'000'001}, std::uint64_t{99'999'999},
                                     UINT64_MAX, UINT64_MAX - 7, std::uint64_t{1} << 63})
    EXPECT_THROW(parse(ByteWriter().number(length).text("{}").bytes()), Error);
  expect_refused(R"({"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}})", 8,
                 "cut short");
  EXPECT_LT(allocations().largest, 1U << 16);
}

TEST(Safetensors, Damage) {
  const Bytes good = file_with(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}})",
      40);
  expect_survives_damage(parse, good, good.size(), 3000);
}

}  // namespace
}  // namespace tenon
