// SPDX-License-Identifier: Apache-2.0
#include "layer_test_support.h"

namespace tenon {
namespace {

using namespace test;
using testing::HasSubstr;

template <class Linear>
void expect_linear(const layers::LinearOptions& options) {
  Linear layer(options);
  const Matrix w = give(layer, "weight", 1);
  const Matrix b = options.bias ? give(layer, "bias", 2) : Matrix{};
  const Matrix x = random_matrix(5, options.in_features, 3);
  expect_near(layer.forward(x.array()), affine(x, w, b), 1e-5);
}

TEST(LinearLayers, ComputeTheSameHoweverTheyAreCut) {
  for (const bool bias : {false, true}) {
    expect_linear<layers::Linear>({.in_features = 12, .out_features = 10, .bias = bias});
    for (const int tp : {1, 2, 3}) {
      const layers::LinearOptions options{
          .in_features = 12, .out_features = 10, .bias = bias, .tp_size = tp};
      expect_linear<layers::Linear>(options);
      expect_linear<layers::ColumnLinear>(options);
      expect_linear<layers::RowLinear>(options);
    }
  }
  expect_linear<layers::ColumnLinear>(
      {.in_features = 12, .out_features = 10, .tp_size = 2, .gather_output = false});
}

TEST(LinearLayers, SayWhatIsWrong) {
  layers::Linear layer({.in_features = 4, .out_features = 2});
  EXPECT_THAT(error_of([&] { layer.forward(random_matrix(1, 4, 1).array()); }),
              testing::AllOf(HasSubstr("weight [2, 4]"), HasSubstr("bias [2]")));
  EXPECT_THAT(error_of([&] { layer.set_weight("wieght", {2, 4}, std::vector<float>(8)); }),
              HasSubstr("did you mean \"weight\"?"));
  EXPECT_THAT(error_of([&] { layer.set_weight("weight", {4, 2}, std::vector<float>(8)); }),
              HasSubstr("is [4, 2], expected [2, 4]"));
  EXPECT_THAT(error_of([&] { layer.set_weight("weight", {2, 4}, std::vector<float>(7)); }),
              HasSubstr("has 7 numbers"));
  give(layer, "weight", 1);
  give(layer, "bias", 1);
  EXPECT_THAT(error_of([&] { layer.forward(random_matrix(1, 5, 1).array()); }),
              HasSubstr("x is [1, 5], expected [rows, 4]"));
  EXPECT_THAT(error_of([&] {
                layer.forward(random_matrix(3, 4, 1).array(), {.sequence_lengths = {1, 1}});
              }),
              HasSubstr("add up to 2, expected the 3 rows"));
  EXPECT_THAT(error_of([] { layers::Linear({.in_features = 0, .out_features = 2}); }),
              HasSubstr("width is 0, expected 1 or more"));
  EXPECT_THAT(layer.print(), HasSubstr("linear"));
}

TEST(EmbeddingLayers, LookUpRowsHoweverTheyAreCut) {
  for (const int dim : {0, 1})
    for (const int tp : {1, 2, 3}) {
      layers::Embedding layer(
          {.num_embeddings = 10, .embedding_dim = 8, .tp_size = tp, .sharding_dim = dim});
      const Matrix table = give(layer, "weight", 4);
      const std::vector<std::int32_t> ids = {9, 0, 4, 4, 5};
      Matrix expected(5, 8);
      for (std::int64_t r = 0; r < 5; ++r)
        for (std::int64_t c = 0; c < 8; ++c)
          expected.at(r, c) = table.at(ids[static_cast<std::size_t>(r)], c);
      expect_near(layer.forward(ids), expected, 0.0);
    }
}

TEST(EmbeddingLayers, RefuseIdsThatAreNotThere) {
  layers::Embedding layer({.num_embeddings = 10, .embedding_dim = 8});
  give(layer, "weight", 4);
  EXPECT_THAT(error_of([&] { layer.forward({10}); }), HasSubstr("id 10"));
  EXPECT_THAT(error_of([&] { layer.forward({-1}); }), HasSubstr("id -1"));
  EXPECT_THAT(error_of([&] { layer.forward({}); }), HasSubstr("no ids"));
}

}  // namespace
}  // namespace tenon
