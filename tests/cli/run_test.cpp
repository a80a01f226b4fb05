// convert → build → run, every kind of input, every kind of output.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "cli/npy.h"
#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

class Run : public CliTest {
 protected:
  /// run with what all of these share, plus `more`.
  std::vector<std::string> words(std::vector<std::string> more) const {
    std::vector<std::string> all = {"run",       engine_, "--max_output_len", "6", "--ignore_eos",
                                    "--threads", "1",     "--no_pin"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// Output ids of every sequence.
  std::vector<std::vector<std::int64_t>> ids(std::vector<std::string> more) const {
    more.push_back("--json");
    std::vector<std::vector<std::int64_t>> all;
    const Json json = json_of(words(std::move(more)));
    for (const Json& output : json.at("outputs", "").as_array("")) {
      all.emplace_back();
      for (const Json& id : output.at("token_ids", "").as_array(""))
        all.back().push_back(id.as_int(""));
    }
    return all;
  }

  std::string engine_ = build_engine();
};

TEST_F(Run, ConvertedBuiltAndDirectGiveTheSameTokens) {
  const auto direct = ids({"--input_text", "Hello there"});
  ASSERT_EQ(direct.size(), 1U);
  EXPECT_EQ(direct[0].size(), 6U);
  EXPECT_THAT(out_of({"convert", "--model_dir", text_model(), "--output_dir", at("checkpoint"),
                      "--tp_size", "2", "--pp_size", "2", "--workers", "2"}),
              HasSubstr("LlamaForCausalLM"));
  EXPECT_TRUE(fs::exists(at("checkpoint/rank3.safetensors")));
  out_of({"build", "--checkpoint_dir", at("checkpoint"), "--output_dir", at("engine2"),
          "--max_batch_size", "4", "--max-seq-len", "64"});
  engine_ = at("engine2");
  EXPECT_EQ(ids({"--input_text", "Hello there"}), direct);
  EXPECT_EQ(ids({"--input_text", "Hello there", "--tp_size", "2"}), direct);
  for (const std::string& other :
       {at("checkpoint"), text_model(), data_file("gguf/llama_text.gguf")}) {
    engine_ = other;
    EXPECT_EQ(ids({"--input_text", "Hello there", "--no_cache"}), direct) << other;
  }
}

TEST_F(Run, SaysThePrecisionOnStandardErrorAlone) {
  Result result = run(words({"--device", "cpu", "--input_text", "Hello"}));
  EXPECT_THAT(result.err,
              HasSubstr("precision: weights as stored (float32), activations float32 exact, cache "
                        "float32; its distance is not measured; tenon eval measures it\n"));
  EXPECT_EQ(result.out.find("precision"), result.out.npos);
  result = run(words({"--device", "cpu", "--input_text", "Hello", "--kv_cache_dtype", "int8"}));
  EXPECT_THAT(result.err, HasSubstr("cache int8;"));
  result =
      run(words({"--device", "cpu", "--input_text", "Hello", "--kv_cache_dtype", "float8_e4m3"}));
  EXPECT_THAT(result.err, HasSubstr("cache float8_e4m3;"));
  EXPECT_THAT(json_of(words({"--device", "cpu", "--input_text", "Hello", "--json"}))
                  .at("precision", "")
                  .as_string(""),
              HasSubstr("precision: weights as stored"));
  result = run(
      {"chat", engine_, "--device", "cpu", "--threads", "1", "--no_pin", "--max_output_len", "2"},
      "Hi\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("precision: weights as stored (float32)"));
  EXPECT_EQ(result.out.find("precision"), result.out.npos);
}

TEST_F(Run, StreamingPrintsTheSameText) {
  const Result whole = run(words({"--input_text", "Once upon a time"}));
  const Result pieces = run(words({"--input_text", "Once upon a time", "--streaming"}));
  EXPECT_EQ(whole.code, 0);
  EXPECT_EQ(pieces.code, 0);
  EXPECT_EQ(whole.out, pieces.out);
  EXPECT_THAT(whole.err, HasSubstr("sampling: greedy"));
  EXPECT_THAT(whole.err, HasSubstr("tokens/s"));
}

TEST_F(Run, OneTokenHasNoRate) {
  const Result result = run({"run", engine_, "--input_text", "a", "--max_output_len", "1"});
  EXPECT_THAT(result.err, HasSubstr("1 token in "));
  EXPECT_EQ(result.err.find("tokens/s"), result.err.npos);
}

TEST_F(Run, TakesTheEngineThatBuildMadeHereWhereNoneIsNamed) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);  // the program inherits it
  const Result none = run({"run", "--input_text", "a"});
  const Result built = run({"build", "--model_dir", text_model()});
  const Result result = run({"run", "--input_text", "a", "--max_output_len", "2"});
  fs::current_path(before);
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("engine_outputs"));
  EXPECT_EQ(built.code, 0) << built.err;
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_F(Run, EveryKindOfInputFileGivesTheSameTokens) {
  const auto expected = ids({"--input_text", "Hello", "--input_text", "the end"});
  ASSERT_EQ(expected.size(), 2U);
  write("prompts.jsonl", "\"Hello\"\n\n{\"prompt\": \"the end\"}\n");
  EXPECT_EQ(ids({"--input_file", at("prompts.jsonl")}), expected);
  write("one.txt", "the end");
  EXPECT_EQ(ids({"--input_file", at("one.txt")}),
            std::vector<std::vector<std::int64_t>>{expected[1]});

  // Ids as the tokenizer gives them: what they decode to is what was asked.
  write("ids.csv", "10, 20, 30\n40,50,60\n");
  cli::write_npy(at("ids.npy"), {2, 3}, std::vector<std::int32_t>{10, 20, 30, 40, 50, 60});
  write("ids.jsonl", "{\"input_ids\": [10, 20, 30]}\n{\"input_ids\": [40, 50, 60]}\n");
  const auto from_csv = ids({"--input_file", at("ids.csv")});
  ASSERT_EQ(from_csv.size(), 2U);
  EXPECT_EQ(ids({"--input_file", at("ids.npy")}), from_csv);
  EXPECT_EQ(ids({"--input_file", at("ids.jsonl")}), from_csv);
}

TEST_F(Run, WritesEveryKindOfOutput) {
  const auto expected = ids({"--input_text", "Hello", "--input_text", "a"});
  out_of(words({"--input_text", "Hello", "--input_text", "a", "--output_csv", at("ids.csv"),
                "--output_npy", at("ids.npy"), "--output_logits_npy", at("logits.npy"), "--dump",
                "layers.0.output", "--dump_dir", folder_.string()}));
  std::string csv;
  for (const auto& row : expected) {
    for (std::size_t i = 0; i < row.size(); ++i) csv += (i ? "," : "") + std::to_string(row[i]);
    csv += "\n";
  }
  EXPECT_EQ(read_file(at("ids.csv")), csv);
  const cli::NpyIds npy = cli::read_npy_ids(at("ids.npy"));
  EXPECT_EQ(npy.shape, (Shape{2, 6}));
  EXPECT_TRUE(std::equal(expected[1].begin(), expected[1].end(), npy.values.begin() + 6));

  // Greedy: each token is the largest of the logits it was chosen from.
  const std::string logits = read_file(at("logits.npy"));
  EXPECT_THAT(logits, HasSubstr("'shape': (2,6,290,)"));
  constexpr std::size_t kVocab = 290;
  std::vector<float> rows(2 * 6 * kVocab);
  ASSERT_GE(logits.size(), rows.size() * 4);
  std::memcpy(rows.data(), logits.data() + logits.size() - rows.size() * 4, rows.size() * 4);
  for (std::size_t i = 0; i < 12; ++i) {
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i * kVocab);
    EXPECT_EQ(std::max_element(row, row + kVocab) - row, npy.values[i]);
  }
  EXPECT_THAT(read_file(at("layers.0.output.npy")), HasSubstr("<f4"));
}

/// The answer took its time; a file that cannot be written does not cost it.
TEST_F(Run, PrintsBeforeItWritesFiles) {
  const std::string text = trimmed(out_of(words({"--input_text", "Hello"})));
  for (const char* flag : {"--output_csv", "--output_npy", "--output_logits_npy"}) {
    const Result result = run(words({"--input_text", "Hello", flag, at("none/file")}));
    EXPECT_NE(result.code, 0) << flag;
    EXPECT_EQ(trimmed(result.out), text) << flag;
    EXPECT_THAT(result.err, HasSubstr(at("none/file") + ": cannot create it"));
  }
}

TEST_F(Run, MorePromptsThanTheQueueHoldsTakeTurns) {
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += "\"a " + std::to_string(i) + "\"\n";
  write("many.jsonl", lines);
  const auto all = ids({"--input_file", at("many.jsonl")});
  EXPECT_EQ(all.size(), 40U);
  EXPECT_EQ(ids({"--input_file", at("many.jsonl"), "--max_queue_size", "3"}), all);
  EXPECT_EQ(
      ids({"--input_file", at("many.jsonl"), "--max_queue_tokens", "20", "--max_batch_size", "2"}),
      all);
  const Result result = run(words(
      {"--input_file", at("many.jsonl"), "--max_queue_size", "3", "--streaming", "--verbose"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("[39.0]"));
}

TEST_F(Run, SaysWhichOutputsTheTimeCutShort) {
  const Result result = run(words({"--input_text", "Hello", "--total_seconds", "1e-7"}));
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("[0.0] the time was up after 0 tokens"));
}

TEST_F(Run, MemoryLimitBindsTheLoad) {
  const Result result = run(words({"--input_text", "Hello", "--memory_limit", "1000000"}));
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("cache"));
  EXPECT_EQ(run(words({"--input_text", "Hello", "--memory_limit", "400000000"})).code, 0);
  EXPECT_EQ(run({"chat", engine_, "--memory_limit", "1000000"}).code, 7);
  EXPECT_EQ(run({"bench", engine_, "--memory_limit", "1000000", "--memory_bandwidth", "1",
                 "--num_requests", "2", "--input_mean", "4", "--output_mean", "4"})
                .code,
            7);
  EXPECT_EQ(run(words({"--input_text", "Hello", "--memory_limit", "0"})).code, 2);
}

TEST_F(Run, SamplesAreSeededAndSeveral) {
  const std::vector<std::string> sampled = {
      "--input_text",  "Hello", "--temperature",          "1", "--top_k", "20",
      "--random_seed", "7",     "--num_return_sequences", "3"};
  const auto first = ids(sampled);
  EXPECT_EQ(first.size(), 3U);
  EXPECT_EQ(ids(sampled), first);
  EXPECT_NE(first[0], first[1]);
}

TEST_F(Run, ChatAppliesTheTemplate) {
  const Json json = json_of(words({"--input_text", "Hi", "--chat", "--json"}));
  EXPECT_EQ(json.at("outputs", "").as_array("")[0].at("prompt", "").as_string(""),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace tenon::test
