// Steps that fail on one rank of several, at every place where ranks meet: the others come back,
// the session goes on, and sequences that were not in the step lose nothing.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <atomic>
#include <future>

#include "api/model_source.h"
#include "core/current_work.h"
#include "distributed/in_process_communicator.h"
#include "engine/session.h"
#include "fixture.h"

namespace tenon::test {
namespace {

/// Which of a rank's meetings with other ranks fails.
struct Fault {
  std::atomic<int> rank{-1};  ///< none
  std::atomic<int> calls_before{0};
  std::string work;               ///< what a crash there would tell
  std::shared_future<void> hold;  ///< where it is valid, the rank waits for it before it fails

  void meet(int caller) {
    if (rank != caller || calls_before-- > 0) return;
    rank = -1;
    if (const char* text = current_work()) work = text;
    if (hold.valid()) hold.wait();
    throw Error(ErrorCode::kIo, "the cable was pulled");
  }
};

class FaultyCommunicator : public Communicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> whole, int rank, Fault& fault)
      : whole_(std::move(whole)), rank_(rank), fault_(fault) {}

  int tp_rank() const override { return whole_->tp_rank(); }
  int tp_size() const override { return whole_->tp_size(); }
  void all_reduce(std::span<float> values) override {
    fault_.meet(rank_);
    whole_->all_reduce(values);
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::int64_t rows,
                  std::span<const std::int64_t> widths, std::size_t element_bytes) override {
    fault_.meet(rank_);
    whole_->all_gather(mine, all, rows, widths, element_bytes);
  }
  void send(int peer, std::span<const std::byte> data) override {
    fault_.meet(rank_);
    whole_->send(peer, data);
  }
  void receive(int peer, std::span<std::byte> data) override {
    fault_.meet(rank_);
    whole_->receive(peer, data);
  }
  void abort() noexcept override { whole_->abort(); }
  void reset() override { whole_->reset(); }

 private:
  std::unique_ptr<Communicator> whole_;
  int rank_;
  Fault& fault_;
};

/// Where a step failed: the op, what it was to give, the kernel.
auto names_the_op() {
  return ::testing::MatchesRegex(
      R"(\[(all_reduce|all_gather|send|receive)\] "[^"]*", kernel [a-z_]+: the cable was pulled)");
}

constexpr int kRanks = 4;
constexpr std::int32_t kBlocks = 2;  // of each sequence, of 32 tokens

class FailedStep : public ::testing::Test {
 protected:
  FailedStep() {
    const ModelSource source = open_model_source(data_path("models/llama_two_kv_tp4").string());
    SessionOptions options;
    options.mapping = {.world_size = kRanks, .tp_size = 2, .pp_size = 2};
    options.threads = kRanks;
    options.pin = false;
    options.max_sequences = 2;
    options.max_step_tokens = 128;
    options.max_sequence_length = 64;
    options.communicators = [this](const Mapping& mapping) {
      auto communicators = make_in_process_communicators(mapping);
      for (int rank = 0; rank < kRanks; ++rank) {
        auto& own = communicators[static_cast<std::size_t>(rank)];
        own = std::make_unique<FaultyCommunicator>(std::move(own), rank, fault_);
      }
      return communicators;
    };
    session_ = Session::load(build_graphs(source, BuildConfig{}), source.weights, options);
  }

  /// A step over the prompt or, with tokens `generated`, over the last of them.
  Batch batch(std::int32_t slot, std::size_t generated) const {
    std::vector<std::int32_t> tokens = expected_.ids;
    tokens.insert(tokens.end(), expected_.greedy.begin(),
                  expected_.greedy.begin() + static_cast<std::ptrdiff_t>(generated));
    const auto length = static_cast<std::int32_t>(tokens.size());
    const std::int32_t cached = generated == 0 ? 0 : length - 1;
    Batch batch;
    if (generated == 0) {
      SlotUpdate update{.slot = slot, .reset = true};
      update.tables = {{.group = 0, .begin = 0, .blocks = {}}};
      for (std::int32_t b = 0; b < kBlocks; ++b)
        update.tables[0].blocks.push_back(slot * kBlocks + b);
      update.sampling = SamplingParams{};
      update.sampling->temperature = 0;
      update.sampling->seed = 1;
      batch.updates = {update};
    }
    batch.slots = {slot};
    batch.token_begin = {0, length - cached};
    batch.cached_tokens = {cached};
    batch.sequence_length = {length};
    batch.sample_row = {0};
    batch.logit_rows = {length - cached - 1};
    for (std::int32_t position = cached; position < length; ++position) {
      batch.token_ids.push_back(tokens[static_cast<std::size_t>(position)]);
      batch.positions.push_back(position);
    }
    return batch;
  }

  std::shared_ptr<StepHandle> issue(const Batch& batch) {
    session_->prepare(batch);
    session_->forward();
    return session_->sample({});
  }
  std::int32_t token_of(const Batch& batch) {
    return issue(batch)->wait().sequences.at(0).tokens.at(0);
  }
  static std::string failure_of(StepHandle& step) {
    try {
      step.wait();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  Expected expected_ = read_expected(data_path("models/llama_two_kv_tp4.expected.safetensors"));
  Fault fault_;
  std::unique_ptr<Session> session_;
};

TEST_F(FailedStep, TheSessionGoesOnWhereverARankFailed) {
  std::size_t generated = 0;  // by slot 0, which is in no step that fails
  int told = 0;
  const auto continue_other = [&] {
    if (generated == expected_.greedy.size()) generated = 0;
    ASSERT_EQ(token_of(batch(0, generated)), expected_.greedy[generated]);
    ++generated;
  };
  continue_other();
  for (int rank = 0; rank < kRanks; ++rank) {
    int failures = 0;
    for (int call = 0;; ++call) {
      SCOPED_TRACE("rank " + std::to_string(rank) + ", meeting " + std::to_string(call));
      fault_.calls_before = call;
      fault_.rank = rank;
      const std::string failure = failure_of(*issue(batch(1, 0)));
      const bool unused = fault_.rank.exchange(-1) == rank;
      continue_other();
      ASSERT_EQ(token_of(batch(1, 0)), expected_.greedy[0]);
      if (unused) break;  // the step has no more meetings
      ++failures;
      EXPECT_THAT(failure, names_the_op());
      // Another rank may be at another op, or between two.
      EXPECT_THAT(fault_.work,
                  ::testing::AnyOf(
                      "", ::testing::MatchesRegex(R"(\[[a-z_]+\] "[^"]*", kernel [a-z_0-9]+)")));
      told += !std::exchange(fault_.work, "").empty();
    }
    EXPECT_GE(failures, 3);
  }
  EXPECT_GE(told, kRanks);
}

TEST_F(FailedStep, ABadBatchEndsItsStepAlone) {
  ASSERT_EQ(token_of(batch(0, 0)), expected_.greedy[0]);
  Batch bad = batch(1, 0);
  bad.logit_rows = {1000};
  for (int round = 0; round < 2; ++round)
    EXPECT_NE(failure_of(*issue(bad)).find("logit_rows"), std::string::npos);
  Batch unknown = batch(1, 0);
  unknown.token_ids[3] = kLastSampledToken;  // seen when the step runs: nothing was sampled yet
  EXPECT_NE(failure_of(*issue(unknown)).find("has not sampled"), std::string::npos);
  EXPECT_EQ(token_of(batch(0, 1)), expected_.greedy[1]);
  EXPECT_EQ(token_of(batch(1, 0)), expected_.greedy[0]);
}

TEST_F(FailedStep, StepsIssuedBehindItFailWithIt) {
  ASSERT_EQ(token_of(batch(0, 0)), expected_.greedy[0]);
  std::promise<void> go;
  fault_.hold = go.get_future().share();
  fault_.rank = 2;
  const auto failing = issue(batch(1, 0));
  const auto behind = issue(batch(0, 1));
  go.set_value();
  EXPECT_THAT(failure_of(*failing), names_the_op());
  EXPECT_NE(failure_of(*behind), "");
  EXPECT_EQ(token_of(batch(0, 0)), expected_.greedy[0]);
  EXPECT_EQ(token_of(batch(0, 1)), expected_.greedy[1]);
}

TEST_F(FailedStep, CacheCommandsThatOnlySomeRanksRanEndTheSession) {
  std::promise<void> go;
  fault_.hold = go.get_future().share();
  fault_.rank = 1;
  const auto failing = issue(batch(1, 0));
  Batch moving = batch(0, 0);
  moving.commands = {{.kind = CacheCommand::Kind::kCopyBlock, .source = 2, .destination = 3}};
  const auto behind = issue(moving);
  go.set_value();
  EXPECT_THAT(failure_of(*failing), names_the_op());
  EXPECT_NE(failure_of(*behind), "");
  for (int round = 0; round < 2; ++round)
    EXPECT_NE(failure_of(*issue(batch(0, 0))).find("load the model again"), std::string::npos);
}

TEST_F(FailedStep, CacheCommandsOfAStepThatFailsLaterWereRunEverywhere) {
  Batch moving = batch(1, 0);
  moving.commands = {{.kind = CacheCommand::Kind::kCopyBlock, .source = 2, .destination = 3}};
  fault_.rank = 3;
  EXPECT_THAT(failure_of(*issue(moving)), names_the_op());
  EXPECT_EQ(token_of(batch(0, 0)), expected_.greedy[0]);
}

}  // namespace
}  // namespace tenon::test
