// Graphs as text and as a page.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/partition.h"
#include "mini_llama.h"

namespace tenon {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Print, OneLineANode) {
  const std::string text = print(build({}));
  EXPECT_THAT(text, HasSubstr("graph decoder: 3 layers, 53 nodes, 30 weights\n"));
  EXPECT_THAT(text, HasSubstr("axis heads: 6 units, 3 groups, granule 1\n"));
  EXPECT_THAT(text, HasSubstr("input ids : int32 [T]\n"));
  EXPECT_THAT(text, HasSubstr("layer 1:\n"));
  EXPECT_THAT(text,
              HasSubstr("  layers.0.q = linear(layers.0.attention_norm; layers.0.q.weight [24, 20])"
                        " segments=1 : float32 [T, 24]\n"));
  EXPECT_THAT(text, HasSubstr("output logits : float32 [L, 31]\n"));
  EXPECT_THAT(print(partition(build({}), {.tp_size = 3}, 1)),
              HasSubstr("layers.0.k.weight [4, 20]@(4:8, 0:20)"));
}

TEST(PrintHtml, EscapesNamesAndShowsEverything) {
  Graph graph = build({});
  graph.values[3].name = "<script>alert('x')&\"";
  graph.weights[0].name = "</details><b>";
  graph.name = "<graph>";
  const std::string page = print_html(graph);
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;"));
  EXPECT_THAT(page, Not(HasSubstr("alert('x')")));
  EXPECT_THAT(page, Not(HasSubstr("</details><b>")));
  EXPECT_THAT(page, HasSubstr("<title>&lt;graph&gt;</title>"));
  EXPECT_THAT(page, HasSubstr("layers.2.down.weight"));
  EXPECT_THAT(page, HasSubstr("float32 [T, 24]"));
  EXPECT_THAT(page, HasSubstr("480 elements"));
  EXPECT_THAT(page, Not(HasSubstr("http")));  // nothing is fetched
}

}  // namespace
}  // namespace tenon
