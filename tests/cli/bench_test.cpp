// tenon bench: the arithmetic of its figures, its datasets, and the command as a user runs it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/bench_figures.h"
#include "cli/bench_spread.h"
#include "cli/bench_workload.h"
#include "core/file.h"
#include "program.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(BenchSpread, PercentilesAreLinearBetweenNeighbours) {
  const std::vector<double> values = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(percentile(values, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 3);
  EXPECT_DOUBLE_EQ(percentile(values, 0.9), 4 + 0.7 * 4);
  EXPECT_DOUBLE_EQ(percentile(values, 1), 8);
  EXPECT_DOUBLE_EQ(percentile(std::vector<double>{5}, 0.99), 5);
}

TEST(BenchSpread, OfValuesInAnyOrder) {
  std::vector<double> values(101);
  std::iota(values.rbegin(), values.rend(), 0.0);
  const Spread spread = spread_of(values);
  EXPECT_EQ(spread.count, 101U);
  EXPECT_DOUBLE_EQ(spread.mean, 50);
  EXPECT_DOUBLE_EQ(spread.min, 0);
  EXPECT_DOUBLE_EQ(spread.p50, 50);
  EXPECT_DOUBLE_EQ(spread.p90, 90);
  EXPECT_DOUBLE_EQ(spread.p99, 99);
  EXPECT_DOUBLE_EQ(spread.max, 100);
  EXPECT_EQ(spread_of({}).count, 0U);
}

TEST(BenchSpread, MedianRun) {
  EXPECT_EQ(median_index(std::vector<double>{3, 1, 2}), 2U);
  EXPECT_EQ(median_index(std::vector<double>{4, 1, 3, 2}), 3U);
  EXPECT_EQ(median_index(std::vector<double>{7}), 0U);
}

TEST(BenchFigures, FromTimesToRatesAndRoof) {
  RunRecord run;
  run.requests = {{.sent = 1.0,
                   .times = {1.5, 1.7, 2.0},
                   .counts = {1, 1, 2},
                   .end = 2.0,
                   .prompt_tokens = 10,
                   .timing = {.queued_seconds = 0.25}},
                  {.sent = 2.0,
                   .times = {2.1},
                   .counts = {1},
                   .end = 3.5,
                   .prompt_tokens = 30,
                   .timing = {.reused_tokens = 20}}};
  run.before.paused_sequences = 3;
  run.after.paused_sequences = 5;
  const auto step = [](double issued, double latency, std::int64_t context, std::int64_t generation,
                       std::int64_t blocks) {
    IterationStatistics it;
    it.timestamp = issued;
    it.latency_seconds = latency;
    it.context_requests = context;
    it.generation_requests = generation;
    it.kv_cache.used_blocks = blocks;
    return it;
  };
  // The second is issued while the first runs: it took 0.2 s, from 1.5 to 1.7.
  run.steps = {step(1.0, 0.5, 1, 0, 1), step(1.1, 0.6, 0, 1, 2), step(2.0, 0.1, 0, 2, 3)};
  const BenchRoof roof{.bytes_per_second = 1000, .weight_bytes = 60, .block_bytes = 10};
  const BenchFigures f = figures_of(run, roof);
  EXPECT_DOUBLE_EQ(f.seconds, 2.5);
  EXPECT_EQ(f.input_tokens, 40);
  EXPECT_EQ(f.output_tokens, 5);
  EXPECT_DOUBLE_EQ(f.output_rate, 2);
  EXPECT_DOUBLE_EQ(f.total_rate, 18);
  EXPECT_DOUBLE_EQ(f.request_rate, 0.8);
  EXPECT_DOUBLE_EQ(f.ttft_fresh.mean, 0.5);
  EXPECT_NEAR(f.ttft_cached.mean, 0.1, 1e-12);
  EXPECT_EQ(f.itl.count, 2U);
  EXPECT_NEAR(f.itl.max, 0.3, 1e-12);
  EXPECT_EQ(f.tpot.count, 1U);
  EXPECT_NEAR(f.tpot.mean, 0.5 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(f.latency.max, 1.5);
  EXPECT_DOUBLE_EQ(f.queued.max, 0.25);
  EXPECT_DOUBLE_EQ(f.cache_hit_rate, 0.5);
  EXPECT_EQ(f.preemptions, 2U);
  EXPECT_EQ(f.decode_steps, 2);
  EXPECT_NEAR(f.decode_seconds, 0.3, 1e-12);
  EXPECT_DOUBLE_EQ(f.decode_bytes, 60 + 20 + 60 + 30);
  EXPECT_NEAR(f.roof_share, 170 / 300.0, 1e-12);

  double width = 0;
  const std::vector<double> rates = output_rate_over_time(run, 5, width);
  EXPECT_DOUBLE_EQ(width, 0.5);
  EXPECT_THAT(rates, ElementsAre(0, 4, 6, 0, 0));  // 1.5 and 1.7; 2.0 (two tokens) and 2.1
}

TEST(BenchWorkload, SyntheticLengthsFollowTheirMeanAndSeed) {
  const SyntheticWorkload wanted{.num_requests = 2000,
                                 .input_mean = 100,
                                 .input_stdev = 10,
                                 .output_mean = 3,
                                 .output_stdev = 50,
                                 .seed = 5,
                                 .vocab_size = 17};
  const auto requests = make_synthetic(wanted);
  ASSERT_EQ(requests.size(), 2000U);
  double sum = 0;
  double squares = 0;
  for (const BenchRequest& request : requests) {
    const auto length = static_cast<double>(request.ids.size());
    sum += length;
    squares += (length - 100) * (length - 100);
    EXPECT_GE(request.output_tokens, 1);
    for (const std::int32_t id : request.ids) EXPECT_TRUE(id >= 0 && id < 17);
  }
  EXPECT_NEAR(sum / 2000, 100, 1);
  EXPECT_NEAR(std::sqrt(squares / 2000), 10, 1);
  EXPECT_EQ(make_synthetic(wanted)[7].ids, requests[7].ids);
  auto other = wanted;
  other.seed = 6;
  EXPECT_NE(make_synthetic(other)[7].ids, requests[7].ids);
}

TEST(BenchWorkload, ArrivalsHaveTheRateAsked) {
  const std::vector<double> times = arrival_times(4000, 8.0, 1);
  EXPECT_EQ(times.front(), 0);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  EXPECT_NEAR(times.back(), 500, 30);
  EXPECT_THAT(arrival_times(3, 0, 1), ElementsAre(0, 0, 0));
}

class Bench : public test::CliTest {
 protected:
  std::vector<std::string> words(std::vector<std::string> more) const {
    std::vector<std::string> all = {"bench"};
    all.insert(all.end(), more.begin(), more.end());
    for (const char* word : {"--threads", "1", "--no_pin", "--memory_bandwidth", "10"})
      all.emplace_back(word);
    return all;
  }
  Json report(std::vector<std::string> more) const {
    more.insert(more.end(), {"--json", at("report.json")});
    out_of(words(std::move(more)));
    return Json::parse(read_file(at("report.json")), "report.json");
  }
  std::vector<BenchRequest> dataset(const std::string& text) const {
    write("data", text);
    return read_dataset(at("data"), [](const std::string& prompt) {
      return std::vector<std::int32_t>(prompt.begin(), prompt.end());
    });
  }
  std::string refused(const std::string& text) const {
    try {
      dataset(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "taken";
  }
};

TEST_F(Bench, DatasetsAsLinesAndAsArray) {
  const std::string a = R"({"task_id": 1, "prompt": "ab", "output_tokens": 3})";
  const std::string b = R"({"task_id": 2, "input_ids": [5, 6, 7], "output_tokens": 1})";
  for (const std::string& text : {a + "\n\n" + b + "\n", "[" + a + "," + b + "]"}) {
    const auto requests = dataset(text);
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_THAT(requests[0].ids, ElementsAre('a', 'b'));
    EXPECT_EQ(requests[0].output_tokens, 3);
    EXPECT_THAT(requests[1].ids, ElementsAre(5, 6, 7));
  }
}

TEST_F(Bench, WrongDatasetsNameTheRow) {
  EXPECT_THAT(refused("\n{\"prompt\": \"a\"}"), HasSubstr("data:2: output_tokens is missing"));
  EXPECT_THAT(refused("{\"output_tokens\": 1}"), HasSubstr("0 prompts"));
  EXPECT_THAT(refused("{\"prompt\": \"\", \"output_tokens\": 1}"), HasSubstr("no tokens"));
  EXPECT_THAT(refused("{\"input_ids\": [-1], \"output_tokens\": 1}"), HasSubstr("no token id"));
  EXPECT_THAT(refused("{\"prompt\": \"a\", \"output_tokens\": 0}"), HasSubstr("at least 1"));
  EXPECT_THAT(refused("[{\"prompt\": \"a\", \"output_tokens\": 1, \"lora\": 1}]"),
              AllOf(HasSubstr("row 1"), HasSubstr("lora")));
  EXPECT_THAT(refused("\n"), HasSubstr("no requests"));
  EXPECT_THAT(refused("{\"prompt\""), HasSubstr("data:1"));
}

TEST_F(Bench, ThroughputOfSyntheticRequests) {
  const Json json =
      report({"throughput", test::text_model(), "--num_requests", "5", "--input_mean", "7",
              "--output_mean", "6", "--runs", "3", "--warmup", "1", "--plot", at("plot.html")});
  EXPECT_EQ(json.at("output_tokens", "").as_int(""), 30);
  EXPECT_EQ(json.at("input_tokens", "").as_int(""), 35);
  EXPECT_EQ(json.at("output_tokens_per_second_of_runs", "").as_array("").size(), 3U);
  EXPECT_EQ(json.at("ttft", "").at("count", "").as_int(""), 5);
  EXPECT_EQ(json.at("itl", "").at("count", "").as_int(""), 25);
  EXPECT_EQ(json.at("tpot", "").at("count", "").as_int(""), 5);
  EXPECT_EQ(json.at("cache_hit_rate", "").as_double(""), 0);  // no run finds another's prompts
  EXPECT_GT(json.at("decode_steps", "").as_int(""), 0);
  EXPECT_GT(json.at("roof_share", "").as_double(""), 0);
  EXPECT_GT(json.at("memory_planned_bytes", "").as_int(""), 0);
  EXPECT_GT(json.at("memory_peak_bytes", "").as_int(""), 0);
  EXPECT_GT(json.at("load_seconds", "").as_double(""), 0);
  const double seconds = json.at("seconds", "").as_double("");
  EXPECT_NEAR(json.at("output_tokens_per_second", "").as_double("") * seconds, 30, 1e-6);
  for (const Json& request : json.at("requests", "").as_array("")) {
    EXPECT_EQ(request.at("output_tokens", "").as_int(""), 6);
    EXPECT_LE(request.at("ttft", "").as_double(""), request.at("latency", "").as_double(""));
    EXPECT_LE(request.at("latency", "").as_double(""), seconds + 1e-9);
  }
  const std::string page = read_file(at("plot.html"));
  EXPECT_THAT(page, AllOf(StartsWith("<!doctype html>"), HasSubstr("<svg"), HasSubstr("</svg>"),
                          HasSubstr("time to first token"), Not(HasSubstr("src="))));
}

TEST_F(Bench, SharedPrefixesAreFoundInTheCache) {
  const Json json = report({"latency", test::text_model(), "--num_requests", "3", "--input_mean",
                            "4", "--output_mean", "2", "--shared_prefix", "32"});
  const Json::Array& requests = json.at("requests", "").as_array("");
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].at("prompt_tokens", "").as_int(""), 36);
  EXPECT_EQ(requests[0].at("cached_tokens", "").as_int(""), 0);
  EXPECT_EQ(requests[1].at("cached_tokens", "").as_int(""), 32);
  EXPECT_NEAR(json.at("cache_hit_rate", "").as_double(""), 64 / 108.0, 1e-12);
  EXPECT_EQ(json.at("ttft_cached", "").at("count", "").as_int(""), 2);
  // One after another.
  EXPECT_GE(requests[1].at("sent", "").as_double(""), requests[0].at("latency", "").as_double(""));
}

TEST_F(Bench, DatasetWithTextUsesTheModelsTokenizer) {
  write("data.jsonl",
        "{\"task_id\": 0, \"prompt\": \"Hello there\", \"output_tokens\": 2}\n"
        "{\"task_id\": 1, \"input_ids\": [3, 4, 5, 6], \"output_tokens\": 3}\n");
  for (const std::string& model : {test::text_model(), test::data_file("gguf/llama_text.gguf")}) {
    const Json json = report({model, "--dataset", at("data.jsonl"), "--request_rate", "500",
                              "--concurrency", "1", "--warmup", "0"});
    EXPECT_EQ(json.at("num_requests", "").as_int(""), 2);
    EXPECT_EQ(json.at("output_tokens", "").as_int(""), 5);
    EXPECT_GT(json.at("input_tokens", "").as_int(""), 5);
  }
}

TEST_F(Bench, RandomWeightsForAConfigurationAlone) {
  fs::create_directory(at("model"));
  fs::copy_file(test::text_model() + "/config.json", at("model/config.json"));
  const std::string out =
      out_of(words({"throughput", at("model"), "--load_format", "dummy", "--num_requests", "2",
                    "--input_mean", "4", "--output_mean", "3", "--plot", at("plot.svg")}));
  EXPECT_THAT(out, AllOf(HasSubstr("output "), HasSubstr("TTFT"), HasSubstr("decode step"),
                         HasSubstr("10.0 GB/s")));
  EXPECT_THAT(read_file(at("plot.svg")), StartsWith("<svg"));
  const test::Result without = run(words({at("model"), "--num_requests", "2"}));
  EXPECT_NE(without.code, 0);  // there are no weights
}

TEST_F(Bench, DummyWeightsTakeTheFormOfTheConfigOrTheFlag) {
  fs::create_directory(at("model"));
  Json config = Json::parse(read_file(test::text_model() + "/config.json"), "config.json");
  config.set("quantization",
             Json::parse(R"({"quant_algo": "W4A16", "group_size": 16})", "quantization"));
  write("model/config.json", config.dump());
  const auto bench = [&](std::vector<std::string> flags) {
    std::vector<std::string> all =
        words({"throughput", at("model"), "--load_format", "dummy", "--num_requests", "2",
               "--input_mean", "4", "--output_mean", "3", "--json", at("report.json")});
    all.insert(all.end(), flags.begin(), flags.end());
    const test::Result result = run(all);
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(read_file(at("report.json")), "report.json");
  };
  const auto weights = [&](const std::vector<std::string>& flags) {
    return bench(flags).at("settings", "").at("weights", "").as_string("");
  };
  EXPECT_THAT(weights({}), HasSubstr("int4 group 16 scale float16 offset 8"));
  EXPECT_THAT(weights({"--quantization", "W8A16"}), HasSubstr("int8 group row scale float32"));
  EXPECT_THAT(weights({"-q", "FP8"}), HasSubstr("float8_e4m3 group row scale float32"));
  const test::Result wrong = run(words({"throughput", at("model"), "--load_format", "dummy",
                                        "--num_requests", "1", "--quantization", "NVFP4"}));
  EXPECT_EQ(wrong.code, 6);
  EXPECT_THAT(wrong.err, HasSubstr("NVFP4"));
  const test::Result real = run(words({test::text_model(), "--quantization", "FP8"}));
  EXPECT_EQ(real.code, 2);
  EXPECT_THAT(real.err, HasSubstr("--load_format dummy"));
}

TEST_F(Bench, WrongFlagsAreRefused) {
  const std::string model = test::text_model();
  const std::vector<std::vector<std::string>> wrong = {
      {"--num_requests", "0"},     {"--input_mean", "0"},
      {"--output_stdev", "-1"},    {"--runs", "0"},
      {"--request_rate", "-2"},    {"--concurrency", "0"},
      {"--warmup", "-1"},          {"--scheduler_policy", "fast"},
      {"--load_format", "pickle"}, {"--plot", "plot.png"},
      {"--memory_bandwidth", "0"}, {"--shared_prefix", "-1"},
      {"--num_request", "3"},      {"--eos_id", "-2"}};
  for (const std::vector<std::string>& flags : wrong) {
    const test::Result result = run({"bench", "throughput", model, flags[0], flags[1]});
    EXPECT_EQ(result.code, 2) << flags[0];
    EXPECT_THAT(result.err, HasSubstr(flags[0]));
  }
  EXPECT_EQ(run({"bench", "latency", model, "--concurrency", "2"}).code, 2);
  EXPECT_EQ(run({"bench", "latency", model, "--request_rate", "2"}).code, 2);
  EXPECT_EQ(run({"bench", model, "--beam_width", "2"}).code, 6);
  EXPECT_EQ(run({"bench"}).code, 2);
  write("data.jsonl", "{\"prompt\": \"a\", \"output_tokens\": 1}\n");
  EXPECT_EQ(run(words({model, "--dataset", at("data.jsonl"), "--num_requests", "2"})).code, 2);
}

}  // namespace
}  // namespace tenon::cli
