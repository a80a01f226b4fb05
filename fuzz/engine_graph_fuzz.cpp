// An engine's graph.json on any bytes; what is accepted is partitioned, fused and printed.
// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "fuzz_input.h"
#include "graph/partition.h"
#include "graph/passes.h"
#include "graph/programs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    const tenon::ModelGraphs graphs =
        tenon::model_graphs_from_json(tenon::Json::parse(input.text(), "fuzz"), "fuzz");
    std::vector<std::string> passes;
    for (const tenon::Pass& pass : tenon::all_passes()) passes.emplace_back(pass.name);
    for (const auto& [name, graph] : graphs.programs) {
      tenon::print_html(graph);
      for (const int tp : {1, 2}) {
        tenon::Graph rank = tenon::partition(graph, {.world_size = tp, .tp_size = tp}, 0);
        tenon::run_passes(rank, passes, {});
      }
    }
  });
}
