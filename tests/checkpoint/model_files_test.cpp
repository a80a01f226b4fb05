// open_model: which files it finds, what it says where they are missing, and how little it holds.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/model_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TENON_SANITIZED
// Of sanitizer/allocator_interface.h, which not every compiler's package has.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#else
#include <malloc.h>
#endif

#include "checkpoint/safetensors_writer.h"
#include "core/file.h"
#include "hostile.h"

namespace tenon {
namespace {
namespace fs = std::filesystem;

const std::string kModels = TENON_TEST_DATA "/models/";

class ModelFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("tenon_models_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    for (const char* variable :
         {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
      ::unsetenv(variable);
    ::setenv("HOME", folder_.c_str(), 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, std::string_view text) {
    fs::create_directories((folder_ / name).parent_path());
    write_file_atomically(folder_ / name, text);
  }
  void write_tensor(const std::string& file, const std::string& name) {
    fs::create_directories((folder_ / file).parent_path());
    SafetensorsWriter writer(folder_ / file, {{name, DataType::kFloat32, {1}}});
    writer.write(name, Bytes(4));
    writer.close();
  }
  ModelFiles open(const std::string& name = "") { return open_model((folder_ / name).string()); }

  fs::path folder_;
};

TEST(ModelFiles, Fixtures) {
  for (const char* name : {"llama_bf16", "llama_sharded", "llama_bin", "llama_bin_sharded"}) {
    const ModelFiles model = open_model(kModels + name);
    EXPECT_EQ(model.kind, ModelKind::kHuggingFace);
    EXPECT_TRUE(model.config.has_value() && model.generation_config.has_value()) << name;
    ASSERT_NE(model.tensors->find("model.layers.0.self_attn.q_proj.weight"), nullptr) << name;
    for (const TensorInfo& info : model.tensors->tensors())
      EXPECT_EQ(model.tensors->load(info.name).shape, info.shape);
  }
  EXPECT_EQ(open_model(kModels + "llama_sharded").weight_files.size(), 3U);
  const ModelFiles gguf = open_model(TENON_TEST_DATA "/gguf/llama_split-00003-of-00003.gguf");
  EXPECT_EQ(gguf.kind, ModelKind::kGguf);
  EXPECT_TRUE(gguf.gguf.has_value());
  EXPECT_EQ(gguf.weight_files.size(), 3U);
}

TEST_F(ModelFilesTest, SafetensorsComeFirst) {
  write("config.json", "{}");
  write("pytorch_model.bin", "broken");
  write("x.gguf", "broken");
  write_tensor("model.safetensors", "a");
  EXPECT_NE(open().tensors->find("a"), nullptr);
  EXPECT_NE(open("model.safetensors").config, std::nullopt);
  fs::remove(folder_ / "model.safetensors");
  expect_error(ErrorCode::kCorrupt, [&] { open(); }, {"pytorch_model.bin"});
  fs::remove(folder_ / "pytorch_model.bin");
  expect_error(ErrorCode::kCorrupt, [&] { open(); }, {"x.gguf"});
  fs::remove(folder_ / "x.gguf");
  expect_error(ErrorCode::kNotFound, [&] { open(); }, {"no weights", "model.safetensors"});
  write("rank0.safetensors", "");
  expect_error(ErrorCode::kUnsupported, [&] { open(); }, {"rank0.safetensors", "manifest.json"});
}

TEST_F(ModelFilesTest, SeveralCandidatesAreListed) {
  write_tensor("one.safetensors", "a");
  EXPECT_NE(open().tensors->find("a"), nullptr);
  write_tensor("two.safetensors", "b");
  expect_error(ErrorCode::kInvalidArgument, [&] { open(); },
               {"one.safetensors", "two.safetensors", "index"});
}

TEST_F(ModelFilesTest, EveryFaultOfAnIndexIsListed) {
  write_tensor("a.safetensors", "a");
  write_tensor("b.safetensors", "b");
  write("model.safetensors.index.json",
        R"({"weight_map":{"a":"a.safetensors","x":"a.safetensors","b":"b.safetensors",)"
        R"("y":"b.safetensors","z":"c.safetensors","w":"d.safetensors"}})");
  expect_error(ErrorCode::kCorrupt, [&] { open(); },
               {"missing tensor: x in a.safetensors", "missing tensor: y in b.safetensors",
                "missing file: c.safetensors", "missing file: d.safetensors"});
}

TEST_F(ModelFilesTest, IndexNamesAreConfined) {
  write_tensor("elsewhere/a.safetensors", "a");
  fs::create_directories(folder_ / "model");
  for (const std::string& name :
       {std::string("../elsewhere/a.safetensors"), (folder_ / "elsewhere/a.safetensors").string(),
        std::string("x/../../elsewhere/a.safetensors"), std::string("")}) {
    write("model/model.safetensors.index.json", R"({"weight_map":{"a":")" + name + "\"}}");
    expect_error(ErrorCode::kCorrupt, [&] { open("model"); }, {"index.json", "refused"});
  }
  write("model/model.safetensors.index.json", R"({"weight_map":{}})");
  expect_error(ErrorCode::kCorrupt, [&] { open("model"); }, {"empty"});
  write("model/model.safetensors.index.json", R"({"weight_map":{"a":5}})");
  expect_error(ErrorCode::kCorrupt, [&] { open("model"); }, {"weight_map.a"});
  write("model/model.safetensors.index.json", "{}");
  expect_error(ErrorCode::kCorrupt, [&] { open("model"); }, {"weight_map"});
}

TEST_F(ModelFilesTest, TwoFilesOneName) {
  write_tensor("a.safetensors", "a");
  write_tensor("b.safetensors", "a");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"a.safetensors"},"metadata":{}})");
  EXPECT_NO_THROW(open());
  fs::remove(folder_ / "b.safetensors");
  SafetensorsWriter writer(folder_ / "b.safetensors",
                           {{"a", DataType::kInt8, {}}, {"b", DataType::kInt8, {}}});
  writer.write("a", Bytes(1));
  writer.write("b", Bytes(1));
  writer.close();
  write("model.safetensors.index.json",
        R"({"weight_map":{"a":"a.safetensors","b":"b.safetensors"}})");
  expect_error(ErrorCode::kCorrupt, [&] { open(); }, {"second tensor \"a\""});
}

TEST_F(ModelFilesTest, HubCaches) {
  const std::string snapshots = "models--org--tiny/snapshots/";
  write("home/hub/" + snapshots + "abc/config.json", "{}");
  write_tensor("home/hub/models--org--tiny/blobs/123", "a");
  fs::create_symlink("../../blobs/123",
                     folder_ / ("home/hub/" + snapshots + "abc/model.safetensors"));
  write("home/hub/" + snapshots + "old/config.json", "{}");
  write("home/hub/models--org--tiny/refs/main", "abc\n");
  expect_error(ErrorCode::kNotFound, [&] { open_model("org/tiny"); },
               {"org/tiny", ".cache/huggingface/hub/models--org--tiny"});
  ::setenv("HF_HOME", (folder_ / "home").c_str(), 1);
  EXPECT_NE(open_model("org/tiny").tensors->find("a"), nullptr);
  fs::remove(folder_ / "home/hub/models--org--tiny/refs/main");
  fs::remove_all(folder_ / ("home/hub/" + snapshots + "old"));
  EXPECT_NE(open_model("org/tiny").tensors->find("a"), nullptr);
  fs::rename(folder_ / "home/hub", folder_ / "other");
  ::setenv("HF_HUB_CACHE", (folder_ / "other").c_str(), 1);
  EXPECT_NE(open_model("org/tiny").tensors->find("a"), nullptr);
  write("other/models--org--tiny/refs/main", "../../../evil");
  expect_error(ErrorCode::kCorrupt, [&] { open_model("org/tiny"); }, {"refused"});
  for (const char* none : {"org/none", "a/b/c", "../org/tiny", "org/..", "", "no such model"})
    EXPECT_THROW(open_model(none), Error) << none;
}

/// Bytes of the heap in use. Exact under a sanitizer too, whose shadow and whose queue of freed
/// blocks would drown a measure of resident memory.
std::int64_t heap_bytes() {
#ifdef TENON_SANITIZED
  return static_cast<std::int64_t>(__sanitizer_get_current_allocated_bytes());
#else
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
#endif
}

/// Anonymous resident memory of this process: what the heap's own count does not see, such as a
/// private mapping. Nothing where the system or a sanitizer makes it meaningless.
std::optional<std::int64_t> anonymous_bytes() {
#ifndef TENON_SANITIZED
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssAnon:") {
      std::int64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
#endif
  return std::nullopt;
}

TEST_F(ModelFilesTest, WalkingAModelHoldsNoCopyOfIt) {
  constexpr int kTensors = 50;
  constexpr std::int64_t kElements = 1 << 20;  // 4 MiB each, 200 MiB in all
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (int i = 0; i < kTensors; ++i)
    tensors.push_back({"t" + std::to_string(i), DataType::kFloat32, {1024, kElements / 1024}});
  {
    SafetensorsWriter writer(folder_ / "model.safetensors", tensors);
    const std::vector<float> values(kElements, 0.5F);
    for (const auto& tensor : tensors) writer.write(tensor.name, std::as_bytes(std::span(values)));
    writer.close();
  }
  // Names, shapes and offsets of 50 tensors; one tensor's copy would be 4 MiB.
  constexpr std::int64_t kHeapAllowed = 64 * 1024;
  // The same, and whole pages that the heap keeps once it has had them.
  constexpr std::int64_t kAnonymousAllowed = 1024 * 1024;
  const std::int64_t heap_before = heap_bytes();
  const std::optional<std::int64_t> anonymous_before = anonymous_bytes();
  const ModelFiles model = open();
  std::int64_t heap_most = 0;
  std::int64_t anonymous_most = 0;
  double sum = 0;
  for (const TensorInfo& info : model.tensors->tensors()) {
    const QuantizedTensor tensor = model.tensors->load(info.name);
    for (std::int64_t i = 0; i < kElements; ++i) sum += tensor.codes.view().as<float>()[i];
    heap_most = std::max(heap_most, heap_bytes() - heap_before);
    if (anonymous_before)
      anonymous_most = std::max(anonymous_most, *anonymous_bytes() - *anonymous_before);
    model.tensors->drop(info.name);
  }
  EXPECT_EQ(sum, 0.5 * kTensors * kElements);
  RecordProperty("heap_bytes", std::to_string(heap_most));
  RecordProperty("anonymous_bytes", std::to_string(anonymous_most));
  EXPECT_GT(heap_most, 0) << "the heap is not measured";
  EXPECT_LT(heap_most, kHeapAllowed);
  EXPECT_LT(anonymous_most, kAnonymousAllowed);
}

}  // namespace
}  // namespace tenon
