// SPDX-License-Identifier: Apache-2.0
#include "cli/input_file.h"

#include "cli/npy.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InputFile : public CliTest {
 protected:
  cli::Prompts read(const std::string& name, const std::string& content) const {
    write(name, content);
    return cli::read_input_file(at(name));
  }
  std::string error(const std::string& name, const std::string& content) const {
    try {
      read(name, content);
    } catch (const Error& thrown) {
      return thrown.what();
    }
    return "no error";
  }
};

TEST_F(InputFile, TextIsOnePrompt) {
  EXPECT_THAT(read("a.txt", "one\ntwo\n").texts, ElementsAre("one\ntwo\n"));
}

TEST_F(InputFile, JsonLinesOfEveryForm) {
  EXPECT_THAT(read("a.jsonl",
                   "\"a\"\r\n\n{\"prompt\": \"b\"}\n{\"text\": \"c\"}\n"
                   "{\"input_text\": \"d\"}")
                  .texts,
              ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(read("b.jsonl", "{\"input_ids\": [1, 2]}\n{\"input_ids\": [3]}\n").ids,
              ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
}

TEST_F(InputFile, CsvAndNpyAreIds) {
  EXPECT_THAT(read("a.csv", "1, 2,3\n\n4\n").ids,
              ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4)));
  cli::write_npy(at("a.npy"), {2, 2}, std::vector<std::int32_t>{1, 2, 3, 4});
  EXPECT_THAT(cli::read_input_file(at("a.npy")).ids,
              ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4)));
}

TEST_F(InputFile, ErrorsNameFileLineAndValue) {
  EXPECT_THAT(error("a.csv", "1\n\n2,x\n"), HasSubstr("a.csv, line 3: \"x\" is no token id"));
  EXPECT_THAT(error("a.csv", "-1\n"), HasSubstr("-1 is no token id"));
  EXPECT_THAT(error("a.csv", "4294967296\n"), HasSubstr("is no token id"));
  EXPECT_THAT(error("a.jsonl", "{\"foo\": 1}\n"), HasSubstr("line 1: expected a string"));
  EXPECT_THAT(error("a.jsonl", "\"a\"\n{\n"), HasSubstr("line 2"));
  EXPECT_THAT(error("a.jsonl", "\"a\"\n{\"input_ids\": [1]}\n"), HasSubstr("use two"));
  EXPECT_THAT(error("a.jsonl", "\n"), HasSubstr("no prompts"));
  EXPECT_THAT(error("a.doc", "x"), HasSubstr("takes .txt, .jsonl, .csv or .npy"));
}

}  // namespace
}  // namespace tenon::test
