// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/inspect_graph.h"
#include "cli/inspect_report.h"
#include "core/check.h"
#include "core/file.h"

namespace tenon::cli {
namespace {

struct InspectFlags {
  std::string model, engine_dir, model_dir, checkpoint_dir;
  std::string graph_html;
  bool tensors = false;
  bool graph = false;
  bool json = false;
  GraphView view;
};

void add_flags(CommandLine& line, InspectFlags& flags) {
  line.positional("model", flags.model,
                  "engine, checkpoint or model directory, .gguf, .safetensors or .bin file, or id");
  line.option("--engine_dir", flags.engine_dir, "what `tenon build` wrote");
  line.option("--model_dir", flags.model_dir, "Hugging Face directory, .gguf file, or id");
  line.option("--checkpoint_dir", flags.checkpoint_dir, "what `tenon convert` wrote");
  line.flag("--tensors", flags.tensors, "list every tensor");
  line.flag("--json", flags.json, "print as JSON");
  line.group("Graph");
  line.flag("--graph", flags.graph, "print the graph, and nothing else (with --json: all)");
  line.option("--graph_html", flags.graph_html, "write it as a page to look at");
  line.option("--tp_size", flags.view.mapping.tp_size, "as cut over that many ranks [1]");
  line.option("--pp_size", flags.view.mapping.pp_size, "and pipeline stages [1]");
  line.option("--rank", flags.view.rank, "which rank's [0]");
  line.flag("--fused", flags.view.fused, "after the passes that the CPU backend asks for");
}

std::string path_of(const InspectFlags& flags) {
  std::string path;
  for (const std::string& given :
       {flags.model, flags.engine_dir, flags.model_dir, flags.checkpoint_dir}) {
    if (given.empty()) continue;
    TENON_CHECK(path.empty(), ErrorCode::kInvalidArgument,
                "two things were named: {} and {}; give one", path, given);
    path = given;
  }
  TENON_CHECK(!path.empty(), ErrorCode::kInvalidArgument,
              "nothing to inspect: name a model, a checkpoint, an engine or a file");
  return path;
}

void write_pages(const std::string& file, const std::vector<Graph>& graphs) {
  TENON_CHECK(graphs.size() == 1, ErrorCode::kUnsupported,
              "--graph_html: a page shows one program, this has {}", graphs.size());
  write_file_atomically(file, print_html(graphs.front()));
  std::fprintf(stderr, "%zu nodes → %s\n", graphs.front().nodes.size(), file.c_str());
}

}  // namespace

int inspect_command(const Arguments& arguments) {
  InspectFlags flags;
  CommandLine line("inspect",
                   "Shows what is in a model, checkpoint, engine or file of tensors: kind, "
                   "config, tensors, sizes by format, memory by part, tokenizer, graph.");
  add_flags(line, flags);
  if (!line.parse(arguments)) return 0;
  const bool wants_graph = flags.graph || !flags.graph_html.empty();
  TENON_CHECK(wants_graph || flags.view.is_stored(), ErrorCode::kInvalidArgument,
              "--tp_size, --pp_size, --rank and --fused say which graph: give --graph or "
              "--graph_html with them");

  const InspectTarget target = open_inspect_target(path_of(flags));
  std::vector<Graph> graphs;
  if (wants_graph) graphs = graphs_to_show(target, flags.view);
  if (!flags.graph_html.empty()) write_pages(flags.graph_html, graphs);
  if (flags.json) {
    Json report = inspect_report(target, flags.tensors);
    if (flags.graph) {
      Json programs = Json::object();
      for (const Graph& graph : graphs) programs.set(graph.name, to_json(graph));
      report.set("graphs", std::move(programs));
    }
    std::printf("%s\n", report.dump(2).c_str());
  } else if (flags.graph) {
    for (const Graph& graph : graphs) std::fputs(print(graph).c_str(), stdout);
  } else if (flags.graph_html.empty() || flags.tensors) {
    std::fputs(report_as_text(inspect_report(target, flags.tensors)).c_str(), stdout);
  }
  return 0;
}

}  // namespace tenon::cli
