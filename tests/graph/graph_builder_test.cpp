// GraphBuilder reports a mistake where it is made.
// SPDX-License-Identifier: Apache-2.0
#include "graph/graph_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tenon/error.h"

namespace tenon {
namespace {

using testing::HasSubstr;

ValueType rows(std::int64_t width) {
  return ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, width});
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(GraphBuilder, NamesOutputsAndLayers) {
  GraphBuilder b("decoder");
  const ValueId x = b.input("x", rows(4));
  const WeightId w = b.weight("w", {3, 4});
  EXPECT_EQ(b.weight("w", {3, 4}), w);
  b.set_layer(1);
  const auto both = b.add(Linear{.segments = 2}, {x}, {w, w}, {"both"});
  const auto named = b.add(Linear{.segments = 2}, {x}, {w, w}, {"left", "right"});
  EXPECT_EQ(b.type(both[1]), rows(3));
  b.output(named[0], "out");
  const Graph graph = b.finish();
  EXPECT_EQ(graph.value(both[1]).name, "both.1");
  EXPECT_EQ(graph.value(named[1]).name, "right");
  EXPECT_EQ(graph.value(graph.outputs[0]).name, "out");
  EXPECT_EQ(graph.layers, 2);
  EXPECT_EQ(graph.nodes[0].layer, 1);
}

TEST(GraphBuilder, ErrorsNameGraphNodeAndWeights) {
  GraphBuilder b("decoder");
  const ValueId x = b.input("x", rows(4));
  const WeightId w = b.weight("layers.0.q.weight", {3, 5});
  const std::string error = error_of([&] { b.add1(Linear{}, {x}, {w}, "layers.0.q"); });
  EXPECT_THAT(error, HasSubstr("graph \"decoder\", node \"layers.0.q\": [linear] weight 0 is"));
  EXPECT_THAT(error, HasSubstr("0 \"layers.0.q.weight\""));
  EXPECT_THAT(error_of([&] { b.weight("layers.0.q.weight", {3, 4}); }), HasSubstr("in another"));
  EXPECT_THAT(error_of([&] { b.weight("layers.0.q.weight", {3, 5}, {{"a", 0, 1, false}}); }),
              HasSubstr("cut differently"));
  b.axis("a", {4, 2, 1});
  EXPECT_THAT(error_of([&] { b.axis("a", {4, 1, 1}); }), HasSubstr("axis \"a\""));
  EXPECT_THAT(error_of([&] { b.input("x", rows(4)); }), HasSubstr("two values are named \"x\""));
  EXPECT_THAT(error_of([&] { b.add1(Add{}, {x, 9}, {}, "y"); }), HasSubstr("no value 9"));
  EXPECT_THAT(error_of([&] { b.add1(Linear{}, {x}, {-1}, "y"); }), HasSubstr("no weight -1"));
  EXPECT_THAT(error_of([&] { b.add(Scale{}, {x}, {}, {"y", "z"}); }), HasSubstr("2 names"));
  EXPECT_THAT(error_of([&] { b.input("", rows(4)); }), HasSubstr("name of 0 bytes"));
  EXPECT_THAT(error_of([&] { b.output(x, "y"); }), HasSubstr("cannot be an output"));
  b.add1(Scale{}, {x}, {}, "y");
  EXPECT_THAT(error_of([&] { b.output(b.add1(Scale{}, {x}, {}, "z"), "y"); }),
              HasSubstr("two values are named \"y\""));
}

}  // namespace
}  // namespace tenon
