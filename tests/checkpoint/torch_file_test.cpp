// PyTorch files: a fixture of torch.save, hand-made ones, and pickles that want to do harm.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/torch_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "checkpoint/zip_archive.h"
#include "core/mapped_file.h"
#include "hostile.h"
#include "torch_writer.h"

namespace tenon {
namespace {
namespace fs = std::filesystem;

void parse(std::span<const std::byte> bytes) { parse_torch_file(bytes, "test"); }
void parse_pickle(std::span<const std::byte> bytes) { read_torch_pickle(bytes, "test"); }

std::vector<PickledTensor> pickled(const std::string& pickle) {
  return read_torch_pickle(std::as_bytes(std::span(pickle.data(), pickle.size())), "test");
}

void expect_refused(const PickleWriter& pickle, std::string_view part,
                    ErrorCode code = ErrorCode::kCorrupt) {
  reset_allocations();
  expect_error(code, [&] { pickled(pickle.done()); }, {"test", part});
  EXPECT_LT(allocations().largest, 1U << 20);
}

std::string floats(int count) {
  ByteWriter out;
  for (int i = 0; i < count; ++i) out.number(static_cast<float>(i));
  return text_of(out);
}

class TorchFileTest : public testing::Test {
 protected:
  std::unique_ptr<TensorSource> open(const std::vector<std::byte>& bytes) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    return open_torch_file(path_);
  }
  fs::path path_ = fs::path(testing::TempDir()) / ("tenon_" + std::to_string(::getpid()) + ".bin");
  void TearDown() override { fs::remove(path_); }
};

TEST_F(TorchFileTest, ViewsAndStrides) {
  PickleWriter pickle;
  pickle.raw("}(");
  pickle.string("plain").tensor("FloatStorage", "0", 12, 0, {3, 4}, {4, 1});
  pickle.string("rows").tensor("FloatStorage", "0", 12, 4, {2, 4}, {4, 1});
  pickle.string("transposed").tensor("FloatStorage", "0", 12, 0, {4, 3}, {1, 4});
  pickle.string("column").tensor("FloatStorage", "0", 12, 1, {3, 1}, {4, 1});
  pickle.string("scalar").tensor("FloatStorage", "0", 12, 5, {}, {});
  pickle.string("empty").tensor("HalfStorage", "1", 0, 0, {0, 7}, {7, 1});
  pickle.string("repeated").tensor("FloatStorage", "0", 12, 2, {2, 3}, {0, 1});
  pickle.string("step").integer(7);
  const auto source = open(torch_file(pickle.raw("u").done(), {{"0", floats(12)}, {"1", ""}}));
  ASSERT_EQ(source->tensors().size(), 7U);
  const auto value = [&](const char* name, int i) {
    return dequantize(source->load(name)).view().as<float>()[i];
  };
  EXPECT_EQ(value("plain", 11), 11.0F);
  EXPECT_EQ(value("rows", 0), 4.0F);
  EXPECT_EQ(value("rows", 7), 11.0F);
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 3; ++column)
      EXPECT_EQ(value("transposed", row * 3 + column), static_cast<float>(column * 4 + row));
  EXPECT_EQ(value("column", 2), 9.0F);
  EXPECT_EQ(value("scalar", 0), 5.0F);
  EXPECT_EQ(value("repeated", 5), 4.0F);
  EXPECT_EQ(source->load("empty").shape, (Shape{0, 7}));
  source->drop("plain");
}

TEST_F(TorchFileTest, WrappedDicts) {
  PickleWriter pickle;
  pickle.raw("}(").string("epoch").integer(3).string("state_dict").raw("}(");
  pickle.string("a").tensor("FloatStorage", "0", 2, 0, {2}, {1});
  pickle.string("b").raw("}(").string("c").tensor("FloatStorage", "0", 2, 1, {1}, {1}).raw("uu");
  const auto source = open(torch_file(pickle.raw("u").done(), {{"0", floats(2)}}));
  EXPECT_NE(source->find("a"), nullptr);
  EXPECT_NE(source->find("b.c"), nullptr);
}

TEST(TorchFile, OfTorchSave) {
  const auto source = open_torch_file(TENON_TEST_DATA "/models/llama_bin/pytorch_model.bin");
  const TensorInfo* info = source->find("model.norm.weight");
  ASSERT_NE(info, nullptr);
  for (const TensorInfo& tensor : source->tensors())
    validate(source->load(tensor.name), tensor.name);
}

TEST(TorchFile, AllowedGlobalsOnly) {
  const std::pair<const char*, const char*> harmful[] = {{"os", "system"},
                                                         {"posix", "system"},
                                                         {"builtins", "eval"},
                                                         {"__builtin__", "exec"},
                                                         {"subprocess", "Popen"},
                                                         {"torch", "load"},
                                                         {"torch.hub", "load"},
                                                         {"collections", "Counter"},
                                                         {"torch._utils", "_import_dotted_name"},
                                                         {"torch.storage", "_load_from_bytes"},
                                                         {"torch", "QInt8Storage"}};
  for (const auto& [module, name] : harmful) {
    const std::string full = std::string(module) + "." + name;
    expect_refused(PickleWriter().global(module, name).string("x").raw("\x85R"), full,
                   ErrorCode::kUnsupported);
    expect_refused(PickleWriter().string(module).string(name).raw("\x93"), full,
                   ErrorCode::kUnsupported);
  }
}

TEST(TorchFile, HostilePickles) {
  using std::string_view_literals::operator""sv;
  expect_refused(PickleWriter(), "0 values");
  expect_refused(PickleWriter().raw("0"), "more values");
  expect_refused(PickleWriter().raw("t"), "mark");
  expect_refused(PickleWriter().raw("(a"), "more values");
  expect_refused(PickleWriter().raw("]N]u"), "mark");
  expect_refused(PickleWriter().raw("](NNu"), "cannot hold");
  expect_refused(PickleWriter().raw("h\x05"), "recalls value 5");
  expect_refused(PickleWriter().raw("NNR"), "cannot be called");
  expect_refused(PickleWriter().raw("NNb"), "attributes", ErrorCode::kUnsupported);
  expect_refused(PickleWriter().raw("NQ"), "persistent id");
  expect_refused(PickleWriter().raw("I12\n"), "opcode 0x49", ErrorCode::kUnsupported);
  expect_refused(PickleWriter().raw("i"), "opcode 0x69", ErrorCode::kUnsupported);
  expect_refused(PickleWriter().raw("\x8a\xff"), "255 bytes");
  expect_refused(PickleWriter().raw("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "a string");
  expect_refused(PickleWriter().raw("X\xff\xff\xff\x7f"), "a string");
  expect_refused(PickleWriter().raw("cos"), "global");
  // A dict that holds itself; a list of lists that doubles forty times.
  expect_refused(PickleWriter().raw("}q"sv).raw("\0"sv).string("a").raw("h\0s"sv), "nested");
  PickleWriter doubling;
  doubling.raw("(]").string("x").raw("a");
  for (int i = 0; i < 40; ++i) {
    const std::string index(1, static_cast<char>(i));
    doubling.raw("q" + index + "]h" + index + "ah" + index + "a");
  }
  expect_refused(doubling.raw("t"), "without end");
  PickleWriter deep;
  for (int i = 0; i < 100000; ++i) deep.raw("](");
  for (int i = 0; i < 100000; ++i) deep.raw("e");
  EXPECT_THROW(pickled(deep.done()), Error);
}

TEST(TorchFile, TensorsMustLieInTheirStorage) {
  const auto one = [](std::int32_t elements, std::int32_t offset, std::vector<std::int32_t> shape,
                      std::vector<std::int32_t> strides) {
    return PickleWriter()
        .raw("}")
        .string("a")
        .tensor("FloatStorage", "0", elements, offset, shape, strides)
        .raw("s");
  };
  EXPECT_NO_THROW(pickled(one(6, 0, {2, 3}, {3, 1}).done()));
  expect_refused(one(5, 0, {2, 3}, {3, 1}), "storage \"0\" of 5");
  expect_refused(one(6, 1, {2, 3}, {3, 1}), "does not lie");
  expect_refused(one(6, -1, {2}, {1}), "offset");
  expect_refused(one(-6, 0, {2}, {1}), "persistent id");
  expect_refused(one(6, 0, {2}, {-1}), "strides");
  expect_refused(one(6, 0, {-2}, {1}), "shape");
  expect_refused(one(6, 0, {2, 3}, {1}), "fewer strides");
  expect_refused(one(6, 0, {1000000000}, {0}), "does not lie");  // one element, a billion times
  expect_refused(one(6, 0, {2000000000, 2000000000, 2000000000}, {0, 0, 0}), "2^63");
  expect_refused(one(6, 0, {2000000000, 2}, {2000000000, 2000000000}), "does not lie");
  expect_error(ErrorCode::kCorrupt,
               [&] { parse(torch_file(one(6, 0, {6}, {1}).done(), {{"0", floats(5)}})); },
               {"24 bytes", "archive has 20"});
  expect_error(ErrorCode::kCorrupt,
               [&] { parse(torch_file(one(6, 0, {6}, {1}).done(), {{"1", floats(6)}})); },
               {"\"0\"", "lacks"});
}

TEST(TorchFile, DuplicateNames) {
  PickleWriter pickle;
  pickle.raw("}(");
  for (int i = 0; i < 2; ++i) pickle.string("a").tensor("ByteStorage", "0", 1, 0, {1}, {1});
  expect_refused(pickle.raw("u"), "two tensors \"a\"");
}

TEST(TorchFile, OtherFormats) {
  using std::string_view_literals::operator""sv;
  const auto bytes = [](std::string_view text) { return ByteWriter().text(text).bytes(); };
  expect_error(
      ErrorCode::kUnsupported,
      [&] { parse(bytes("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02"sv)); },
      {"before 1.6"});
  expect_error(ErrorCode::kCorrupt, [&] { parse(bytes("version https://git-lfs")); }, {"LFS"});
  expect_error(ErrorCode::kCorrupt, [&] { parse(bytes("")); }, {"no PyTorch file"});
  expect_error(ErrorCode::kCorrupt, [&] { parse(zip({{"a/b", "c"}})); }, {"data.pkl"});
  expect_error(ErrorCode::kUnsupported, [&] { parse(zip({{"a/data.pkl", "c", 8}})); },
               {"compressed"});
  expect_error(ErrorCode::kUnsupported,
               [&] { parse(zip({{"a/data.pkl", "."}, {"a/byteorder", "big"}})); }, {"big"});
  expect_error(ErrorCode::kCorrupt, [&] { parse(zip({{"a/data.pkl", "."}, {"a/data.pkl", "."}})); },
               {"one name"});
}

TEST(TorchFile, Zip64) {
  PickleWriter pickle;
  pickle.raw("}").string("w").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1});
  const Bytes bytes = zip({{"x/data.pkl", pickle.raw("s").done()}, {"x/data/0", floats(6)}}, true);
  const std::vector<TorchTensor> tensors = parse_torch_file(bytes, "test");
  ASSERT_EQ(tensors.size(), 1U);
  EXPECT_EQ(tensors[0].storage_bytes, 24U);
  float last = 0;
  std::memcpy(&last, bytes.data() + tensors[0].storage_offset + 20, 4);
  EXPECT_EQ(last, 5.0F);
  expect_survives_damage(parse, bytes, bytes.size(), 3000);
}

TEST(TorchFile, Damage) {
  PickleWriter pickle;
  pickle.raw("}(").string("w").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1});
  pickle.string("v").tensor("BFloat16Storage", "1", 4, 1, {3}, {1});
  const std::string text = pickle.raw("u").done();
  const auto raw = std::as_bytes(std::span(text.data(), text.size()));
  expect_survives_damage(parse_pickle, Bytes(raw.begin(), raw.end()), text.size(), 5000);
  const Bytes whole = torch_file(text, {{"0", floats(6)}, {"1", "12345678"}});
  expect_survives_damage(parse, whole, whole.size(), 5000);
  const auto file = MappedFile::open(TENON_TEST_DATA "/models/llama_bin/pytorch_model.bin");
  const Bytes real(file->bytes().begin(), file->bytes().end());
  for (std::size_t length = 0; length < real.size(); length += 1009)
    EXPECT_FALSE(survives(parse, std::span(real).first(length), "cut short"));
}

}  // namespace
}  // namespace tenon
