// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor_facts.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

class Doctor : public CliTest {};

TEST_F(Doctor, SaysWhatIsThere) {
  const Json json = json_of({"doctor", "--json"});
  EXPECT_GE(json.at("uses", "").at("threads", "").as_int(""), 1);
  EXPECT_GT(json.at("memory", "").at("total_bytes", "").as_int(""), 0);
  EXPECT_EQ(json.at("cache", "").at("folder", "").as_string(""), at("cache"));
  EXPECT_EQ(json.at("cache", "").at("engines", "").as_int(""), 0);
  EXPECT_THAT(out_of({"doctor"}), HasSubstr("Tenon will use"));
}

TEST_F(Doctor, AFolderThatCannotBeIsAFindingAndNoFailure) {
  write("file", "no folder");
  environment_["TENON_CACHE_DIR"] = at("file/cache");
  EXPECT_THAT(out_of({"doctor"}), HasSubstr("cannot be written"));
}

cli::MachineFacts healthy() {
  cli::MachineFacts facts;
  facts.processor = {"a processor", "avx2", true, 8, 8, 8, 0};
  facts.memory = {16LL << 30, 8LL << 30, 16LL << 30, 8LL << 30, "madvise", 0};
  facts.cache = {"/cache", "", true, 0, 0, 100LL << 30};
  facts.threads = 8;
  return facts;
}

/// All that is found, with its remedies.
std::string verdict(const cli::MachineFacts& facts) {
  std::string text;
  for (const cli::Finding& finding : cli::judge(facts)) {
    EXPECT_FALSE(finding.remedy.empty()) << finding.what;
    text +=
        (finding.warning ? "warning: " : "note: ") + finding.what + "; " + finding.remedy + "\n";
  }
  return text;
}

TEST(DoctorFindings, NothingIsWrongWithAHealthyMachine) { EXPECT_EQ(verdict(healthy()), ""); }

TEST(DoctorFindings, EachFaultHasItsRemedy) {
  cli::MachineFacts facts = healthy();
  facts.processor.vectors = false;
  facts.processor.allowed = 2;
  facts.processor.quota = 0.5;
  facts.memory.limit = 2LL << 30;
  facts.memory.free_within_limit = 100 << 20;
  facts.memory.transparent_huge_pages = "never";
  facts.gpu.devices = {"/dev/nvidia0"};
  facts.gpu.unusable = "the driver is too old";
  facts.cache.disk_free = 1 << 20;
  const std::string text = verdict(facts);
  for (const char* part :
       {"warning: the processor has no AVX2", "note: this process may use 2 of 8",
        "warning: the container grants 0.50 of 8", "warning: only 100.0 MiB",
        "note: the container may use 2.00 GiB", "transparent huge pages are off",
        "the driver is too old", "have no driver", "warning: /cache: only 1.00 MiB"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(DoctorFindings, DriversWithoutDevicesAndCachesWithoutAPlace) {
  cli::MachineFacts facts = healthy();
  facts.gpu.driver = "NVRM version";
  EXPECT_THAT(verdict(facts), HasSubstr("--gpus all"));
  facts = healthy();
  facts.cache.problem = "no place";
  EXPECT_THAT(verdict(facts), HasSubstr("TENON_CACHE_DIR"));
  facts = healthy();
  facts.cache.writable = false;
  EXPECT_THAT(verdict(facts), HasSubstr("--no_cache"));
}

}  // namespace
}  // namespace tenon::test
