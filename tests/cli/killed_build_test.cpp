// A build that dies midway leaves no engine directory; one that fails leaves nothing at all.
// The kernel kills it at a known byte: RLIMIT_FSIZE ends a process that writes past it (SIGXFSZ,
// which no destructor sees), or makes the write fail where the signal is ignored.
// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <thread>

#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

/// Limits of processes that are started while it lives; both are inherited.
class FileSizeLimit {
 public:
  FileSizeLimit(rlim_t bytes, bool ignore_signal) {
    getrlimit(RLIMIT_FSIZE, &size_);
    getrlimit(RLIMIT_CORE, &core_);
    const rlimit small{bytes, size_.rlim_max};
    const rlimit none{0, core_.rlim_max};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &small);
    before_ = signal(SIGXFSZ, ignore_signal ? SIG_IGN : SIG_DFL);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &size_);
    setrlimit(RLIMIT_CORE, &core_);
    signal(SIGXFSZ, before_);
  }

 private:
  rlimit size_{}, core_{};
  void (*before_)(int) = SIG_DFL;
};

class KilledBuild : public CliTest {
 protected:
  std::vector<std::string> words() const {
    return {"build", "--model_dir", text_model(), "--output_dir", at("engine")};
  }
  /// Directories of the test's folder that begin with "engine".
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with("engine"))
        names.push_back(entry.path().filename().string());
    return names;
  }
};

constexpr rlim_t kMidway = 30'000;  // the rank file has 100 kB

TEST_F(KilledBuild, LeavesNoEngineDirectory) {
  Started started;
  {
    const FileSizeLimit limit(kMidway, /*ignore_signal=*/false);
    started = start(words());
  }
  EXPECT_EQ(finish(started).signal, SIGXFSZ);
  EXPECT_FALSE(fs::exists(at("engine")));
  ASSERT_EQ(leftovers().size(), 1U);
  EXPECT_THAT(leftovers()[0], HasSubstr("engine.partial-"));
  EXPECT_EQ(run({"run", at("engine"), "--input_text", "a"}).code, 3);
  const Result next = run(words());
  EXPECT_EQ(next.code, 0);
  EXPECT_THAT(next.err, HasSubstr("killed"));
  EXPECT_EQ(leftovers(), std::vector<std::string>{"engine"}) << "what was left is gone";
  EXPECT_EQ(run({"inspect", at("engine")}).code, 0);
}

TEST_F(KilledBuild, AKilledConversionIsTidiedToo) {
  const std::vector<std::string> convert = {"convert", "--model_dir", text_model(), "--output_dir",
                                            at("engine")};
  Started started;
  {
    const FileSizeLimit limit(kMidway, /*ignore_signal=*/false);
    started = start(convert);
  }
  EXPECT_EQ(finish(started).signal, SIGXFSZ);
  EXPECT_EQ(leftovers().size(), 1U);
  EXPECT_EQ(run(convert).code, 0);
  EXPECT_EQ(leftovers(), std::vector<std::string>{"engine"});
}

TEST_F(KilledBuild, AnOldEngineOutlivesIt) {
  const std::string engine = build_engine();
  Started started;
  {
    const FileSizeLimit limit(kMidway, /*ignore_signal=*/false);
    started = start(words());
  }
  EXPECT_EQ(finish(started).signal, SIGXFSZ);
  EXPECT_EQ(run({"inspect", engine}).code, 0);
}

TEST_F(KilledBuild, AFullDiskLeavesNothing) {
  Started started;
  {
    const FileSizeLimit limit(kMidway, /*ignore_signal=*/true);
    started = start(words());
  }
  const Result result = finish(started);
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err, HasSubstr("rank0.safetensors"));
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(KilledBuild, SigkillWheneverItComesLeavesAWholeEngineOrNone) {
  for (const int milliseconds : {0, 2, 5, 10, 20}) {
    const Started started = start(words());
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(started.process, SIGKILL);
    finish(started);
    if (fs::exists(at("engine"))) {
      EXPECT_EQ(run({"inspect", at("engine")}).code, 0);
    }
    fs::remove_all(at("engine"));
  }
  EXPECT_EQ(run(words()).code, 0);
  EXPECT_EQ(leftovers(), std::vector<std::string>{"engine"});
}

}  // namespace
}  // namespace tenon::test
