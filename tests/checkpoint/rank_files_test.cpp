// Rank files that nobody wrote with write_rank_file: what their headers may claim, and what not.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/rank_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include "checkpoint/safetensors_writer.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RankFiles : public ::testing::Test {
 protected:
  RankFiles() { fs::create_directories(directory_); }
  ~RankFiles() override { fs::remove_all(directory_); }

  /// Adds a rank file with zeros as data, and its true checksums.
  void add(const std::string& parts, const std::vector<SafetensorsWriter::Tensor>& tensors) {
    const std::string name = rank_file_name(static_cast<int>(checksums_.as_object("sums").size()));
    const fs::path path = directory_ / name;
    Json sums = Json::object();
    {
      SafetensorsWriter writer(path, tensors, {{"tenon.parts", parts}});
      for (const auto& tensor : tensors) {
        const auto bytes = static_cast<std::size_t>(byte_count(tensor.type, tensor.shape));
        const std::vector<std::byte> data(bytes);
        writer.write(tensor.name, data);
        sums.set(tensor.name, Hasher().add(std::span<const std::byte>(data)).hex());
      }
      writer.close();
    }
    const auto file = MappedFile::open(path);
    const SafetensorsHeader header = parse_safetensors(file->bytes(), name);
    Json row = Json::object();
    row.set("bytes", static_cast<std::int64_t>(file->bytes().size()));
    row.set("header", Hasher().add(file->bytes().first(header.data_offset)).hex());
    row.set("tensors", std::move(sums));
    checksums_.set(name, std::move(row));
  }

  std::unique_ptr<WeightSource> open() const { return open_rank_files(directory_, checksums_); }
  std::string error_of_open() const {
    try {
      open();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      return error.what();
    }
    return "no error";
  }

  const fs::path directory_ =
      fs::temp_directory_path() / ("tenon-rank-files-" + std::to_string(::getpid()));
  Json checksums_ = Json::object();
};

TEST_F(RankFiles, ReadWhatTheyHold) {
  add(R"({"w": {"spec": "int8 group row scale float32", "shape": [4, 8], "begin": [0, 0]}})",
      {{"w.codes", DataType::kUInt8, {4, 8}}, {"w.scale", DataType::kFloat32, {4, 1}}});
  EXPECT_EQ(open()->load("w", {{1, 3}, {0, 8}}).shape, (Shape{2, 8}));
}

// One scale for the whole weight stands in every row, so that any cut of any cut finds it.
TEST_F(RankFiles, ScaledFloatsOfTwoRanks) {
  const std::string half =
      R"({"w": {"spec": "float8_e4m3 group row scale float32", "shape": [4, 8], "begin": )";
  for (const char* begin : {"[0, 0]", "[0, 4]"})
    add(half + begin + "}}",
        {{"w.codes", DataType::kUInt8, {4, 4}}, {"w.scale", DataType::kFloat32, {4, 1}}});
  const auto source = open();
  EXPECT_EQ(source->at("w").spec, QuantSpec::scaled_float(DataType::kFloat8E4M3));
  EXPECT_EQ(source->load("w", {{1, 3}, {2, 7}}).shape, (Shape{2, 5}));
}

TEST_F(RankFiles, ScaledFloatsNeedAScaleARow) {
  add(R"({"w": {"spec": "float8_e4m3 group row scale float32", "shape": [4, 8], "begin": [0, 0]}})",
      {{"w.codes", DataType::kUInt8, {4, 8}}, {"w.scale", DataType::kFloat32, {1, 1}}});
  try {
    open()->load("w", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("its scale should be float32 [4, 1]"));
  }
}

// No rows, so that a file of no size can claim any number of columns.
TEST_F(RankFiles, ExtentsBeyondAnyWeightAreRefused) {
  const std::int64_t huge = std::int64_t{1} << 60;
  add(R"({"w": {"spec": "int8 group row scale float32", "shape": [0, )" + std::to_string(huge - 1) +
          R"(], "begin": [0, 0]}})",
      {{"w.codes", DataType::kUInt8, {0, huge - 1}}, {"w.scale", DataType::kFloat32, {0, 1}}});
  EXPECT_THAT(error_of_open(), HasSubstr("an extent of 1152921504606846975, expected 0 to 2^40"));
}

TEST_F(RankFiles, CodesWiderThanTheWeightAreRefused) {
  const std::int64_t huge = std::int64_t{1} << 60;  // times 8 it is past 64 bits
  add(R"({"w": {"spec": "int8 group row scale float32", "shape": [0, 8], "begin": [0, 0]}})",
      {{"w.codes", DataType::kUInt8, {0, huge}}, {"w.scale", DataType::kFloat32, {0, 1}}});
  EXPECT_THAT(error_of_open(), HasSubstr("which no number of columns needs"));
}

TEST_F(RankFiles, WeightsOfThreeDimensionsLoadWholeAlone) {
  add(R"({"w": {"spec": "float32", "shape": [2, 2, 2], "begin": [0, 0, 0]}})",
      {{"w", DataType::kFloat32, {2, 2, 2}}});
  const auto source = open();
  EXPECT_EQ(source->load("w", {}).shape, (Shape{2, 2, 2}));
  EXPECT_EQ(source->load("w", {{0, 2}, {0, 2}, {0, 2}}).shape, (Shape{2, 2, 2}));
  try {
    source->load("w", {{0, 1}, {0, 2}, {0, 2}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
  }
}

}  // namespace
}  // namespace tenon
