// A session's steps: run while the caller prepares the next, read in between, and fail alone.
// SPDX-License-Identifier: Apache-2.0
#include "session_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

std::string what_of(StepHandle& handle) {
  try {
    handle.wait();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.view().as<float>(), tensor.view().as<float>() + tensor.view().elements()};
}

TEST(Session, StepsIssuedAheadEqualStepsWaitedFor) {
  const auto run = [](bool ahead) {
    const auto session = load_random(random_config(), small_options());
    std::vector<std::shared_ptr<StepHandle>> handles;
    handles.push_back(issue(
        *session, batch_of({{0, 0, {5, 6, 7}}}, {start_slot(*session, 0, blocks_from(0, 2))})));
    for (std::int32_t cached = 3; cached < 40; ++cached) {
      if (!ahead) handles.back()->wait();
      handles.push_back(issue(*session, batch_of({{0, cached, {kLastSampledToken}}})));
    }
    std::vector<std::int32_t> tokens;
    for (const auto& handle : handles)
      tokens.push_back(handle->wait().sequences.at(0).tokens.at(0));
    return tokens;
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(Session, TheCallerIsFreeWhileAStepRuns) {
  SessionOptions options = small_options();
  options.max_step_tokens = 256;
  const auto session = load_random(random_config(256, 4), options);
  const std::vector<std::int32_t> prompt(250, 3);
  int running = 0;
  for (int step = 0; step < 40 && running == 0; ++step) {  // a busy machine may hold the caller up
    const auto handle =
        issue(*session, batch_of({{0, 0, prompt}}, {start_slot(*session, 0, blocks_from(0, 8))}));
    session->prepare(batch_of({{0, 250, {1}}}));
    running += handle->ready() ? 0 : 1;
    handle->wait();
    EXPECT_TRUE(handle->ready());
    session->forward();
    session->sample({})->wait();
  }
  EXPECT_GT(running, 0) << "every step was over before the next was prepared";
}

TEST(Session, ReadShowsTheLastForwardUntilTheNext) {
  const auto session = load_random(random_config(), small_options());
  EXPECT_THROW(session->read("logits"), Error);
  session->prepare(batch_of({{0, 0, {5, 6, 7}}}, {start_slot(*session, 0, blocks_from(0, 2))}));
  session->forward();
  const auto before_sampling = values_of(session->read("logits"));
  ASSERT_EQ(before_sampling.size(), 96U);
  session->sample({})->wait();
  session->prepare(
      batch_of({{0, 3, {8}}, {1, 0, {1, 2}}}, {start_slot(*session, 1, blocks_from(2, 2))}));
  EXPECT_EQ(values_of(session->read("logits")), before_sampling);
  session->forward();
  EXPECT_EQ(session->read("logits").shape(), (Shape{2, 96}));
  session->sample({})->wait();
}

TEST(Session, AFailedStepEndsAlone) {
  const auto session = load_random(random_config(), small_options());
  const Batch good = batch_of({{0, 0, {5, 6, 7}}}, {start_slot(*session, 0, blocks_from(0, 2))});
  issue(*session, good)->wait();
  const auto expected = values_of(session->read("logits"));

  const Batch bad_slot = batch_of({{9, 0, {1}}});
  const auto failed = issue(*session, bad_slot);  // told by wait() alone
  EXPECT_THAT(what_of(*failed), HasSubstr("slot"));
  EXPECT_THAT(what_of(*failed), HasSubstr("slot")) << "a second time too";
  EXPECT_THROW(session->read("logits"), Error) << "nothing was computed";

  const auto never_sampled = issue(
      *session, batch_of({{2, 0, {kLastSampledToken}}},
                         {start_slot(*session, 2, blocks_from(4, 1))}));  // fails in forward()
  const auto next = issue(*session, good);
  EXPECT_THAT(what_of(*never_sampled), HasSubstr("has not sampled"));
  next->wait();
  EXPECT_EQ(values_of(session->read("logits")), expected);
}

TEST(Session, HiddenStatesTimesTheHeadAreTheLogits) {
  for (const Mapping& mapping : {Mapping{}, Mapping{.world_size = 2, .tp_size = 2},
                                 Mapping{.world_size = 2, .pp_size = 2}}) {
    SessionOptions options = small_options();
    options.mapping = mapping;
    const ModelSource source = random_model_source(random_config(), 7);
    const auto session =
        Session::load(build_graphs(source, BuildConfig{}), source.weights, options);
    issue(*session,
          batch_of({{0, 0, {5, 6, 7}}, {1, 0, {9}}}, {start_slot(*session, 0, blocks_from(0, 2)),
                                                      start_slot(*session, 1, blocks_from(2, 2))}))
        ->wait();
    const auto hidden = values_of(session->read("hidden_states"));
    const auto logits = values_of(session->read("logits"));
    ASSERT_EQ(session->read("hidden_states").shape(), (Shape{2, 64}));
    const QuantizedTensor head = source.weights->load("lm_head.weight", {});
    const auto* weight = reinterpret_cast<const float*>(head.codes.data());
    for (std::size_t row = 0; row < 2; ++row)
      for (std::size_t token = 0; token < 96; ++token) {
        double sum = 0;
        for (std::size_t i = 0; i < 64; ++i)
          sum += double{hidden[row * 64 + i]} * double{weight[token * 64 + i]};
        ASSERT_NEAR(logits[row * 96 + token], sum, 1e-4) << token;
      }
  }
}

TEST(Session, AnEngineWithoutHiddenStatesSaysBuildAgain) {
  const ModelSource source = random_model_source(random_config(), 7);
  ModelGraphs graphs = build_graphs(source, BuildConfig{});
  Graph& decoder = graphs.programs.at("decoder");
  std::erase(decoder.outputs, decoder.find_value("hidden_states"));
  const auto session = Session::load(graphs, source.weights, small_options());
  issue(*session, batch_of({{0, 0, {5}}}, {start_slot(*session, 0, blocks_from(0, 1))}))->wait();
  try {
    session->read("hidden_states");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("build it again"));
  }
}

TEST(Session, AHandleOutlivesItsSession) {
  auto session = load_random(random_config(), small_options());
  const auto handle =
      issue(*session, batch_of({{0, 0, {5, 6, 7}}}, {start_slot(*session, 0, blocks_from(0, 2))}));
  session.reset();
  EXPECT_EQ(handle->wait().sequences.at(0).tokens.size(), 1U);
}

}  // namespace
}  // namespace tenon::test
