// Engines that were damaged, or that a newer Tenon wrote, are refused: never run.
// SPDX-License-Identifier: Apache-2.0
#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

class Damage : public CliTest {
 protected:
  Result run_engine() const {
    return run({"run", "--engine_dir", engine_, "--input_text", "Hi", "--max_output_len", "2",
                "--threads", "1", "--no_pin"});
  }
  void edit(const std::string& name, const std::function<void(std::string&)>& change) const {
    std::string content = read_file(fs::path(engine_) / name);
    change(content);
    write("engine/" + name, content);
  }
  static void replace(std::string& text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    text.replace(at, from.size(), to);
  }

  std::string engine_ = build_engine();
};

TEST_F(Damage, AFlippedBitOfAWeight) {
  edit("rank0.safetensors", [](std::string& bytes) { bytes[bytes.size() - 9] ^= 0x10; });
  const Result result = run_engine();
  EXPECT_EQ(result.code, 5);
  EXPECT_THAT(result.err, HasSubstr("rank0.safetensors"));
}

TEST_F(Damage, AFlippedBitOfAHeader) {
  edit("rank0.safetensors", [](std::string& bytes) { bytes[40] ^= 0x01; });
  EXPECT_EQ(run_engine().code, 5);
}

TEST_F(Damage, AFileCutShort) {
  edit("rank0.safetensors", [](std::string& bytes) { bytes.resize(bytes.size() / 2); });
  EXPECT_EQ(run_engine().code, 5);
}

TEST_F(Damage, AChangedConfig) {
  edit("config.json",
       [](std::string& text) { replace(text, "\"norm_epsilon\"", "\"norm_epsilon\" "); });
  const Result result = run_engine();
  EXPECT_EQ(result.code, 5);
  EXPECT_THAT(result.err, HasSubstr("config.json: it was changed"));
}

TEST_F(Damage, AMissingFile) {
  fs::remove(fs::path(engine_) / "graph.json");
  EXPECT_NE(run_engine().code, 0);
}

TEST_F(Damage, ANewerVersion) {
  edit("manifest.json",
       [](std::string& text) { replace(text, "\"version\": 1", "\"version\": 2"); });
  const Result result = run_engine();
  EXPECT_EQ(result.code, 6);
  EXPECT_THAT(result.err, HasSubstr("newer Tenon"));
  EXPECT_EQ(run({"inspect", engine_}).code, 6);
}

}  // namespace
}  // namespace tenon::test
