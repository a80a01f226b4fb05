// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "graph/graph.h"

namespace tenon {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --accent: #2a7; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.3rem; margin: .2rem 0; }
header { position: sticky; top: 0; background: Canvas; padding: .5rem 0; z-index: 1;
  border-bottom: 1px solid var(--line); }
input { font: inherit; width: 24rem; max-width: 60%; padding: .3rem .5rem; }
details { margin: .6rem 0; border: 1px solid var(--line); border-radius: .4rem; }
summary { padding: .4rem .7rem; cursor: pointer; background: var(--soft); }
.node { margin: .5rem .7rem; padding: .4rem .6rem; border: 1px solid var(--line);
  border-left: .3rem solid var(--accent); border-radius: .3rem; overflow-wrap: anywhere; }
.node:target, .value:target { outline: 2px solid var(--accent); }
.op { font-weight: 600; margin-right: .6rem; }
.attributes, .size { opacity: .7; font-size: .85em; }
.type { font-family: ui-monospace, monospace; font-size: .85em; opacity: .85; }
.row { margin-left: 1rem; }
.hidden { display: none; }
)";

constexpr const char* kScript = R"(
const box = document.getElementById('search'), count = document.getElementById('count');
const nodes = [...document.querySelectorAll('.node')];
const groups = [...document.querySelectorAll('details')];
box.addEventListener('input', () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const node of nodes) {
    const text = node.textContent.toLowerCase();
    const match = words.every(word => text.includes(word));
    node.classList.toggle('hidden', !match);
    shown += match;
  }
  for (const group of groups) {
    const any = group.querySelector('.node:not(.hidden)');
    group.classList.toggle('hidden', !any);
    if (words.length && any) group.open = true;
  }
  count.textContent = words.length ? shown + ' found' : '';
});
const all = open => groups.forEach(group => group.open = open);
document.getElementById('open').addEventListener('click', () => all(true));
document.getElementById('close').addEventListener('click', () => all(false));
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  const group = target && target.closest('details');
  if (group) { group.open = true; target.scrollIntoView({block: 'center'}); }
};
window.addEventListener('hashchange', reveal);
reveal();
)";

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  return out;
}

/// 1234567 as "1.23 M": elements of weights, whose bytes depend on their format.
std::string format_count(double count) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T"};
  int unit = 0;
  while (count >= 1000 && unit < 4) {
    count /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f}", count) : fmt::format("{:.3g}{}", count, kUnits[unit]);
}

double elements_of(const Weight& weight) {
  return static_cast<double>(element_count(weight.shape, weight.name));
}

std::string typed_value(const Value& value) {
  return fmt::format("{} <span class=\"type\">{}</span>", escape(value.name),
                     escape(to_string(value.type)));
}

std::string weight_row(const Weight& weight) {
  std::string out = fmt::format(
      "<div class=\"row\">weight {} <span class=\"type\">{}</span> "
      "<span class=\"size\">{} elements",
      escape(weight.name), to_string(weight.shape), format_count(elements_of(weight)));
  for (const ShardMark& mark : weight.marks)
    out += fmt::format(", dimension {} cut along {}", mark.dim, escape(mark.axis));
  return out + "</span></div>";
}

std::string node_box(const Graph& graph, std::size_t index) {
  const Node& node = graph.nodes[index];
  std::string out = fmt::format(
      "<div class=\"node\" id=\"n{}\"><span class=\"op\">{}</span><span class=\"attributes\">{}"
      "</span>",
      index, name_of(node.op), escape(describe(node.op)));
  for (const ValueId id : node.outputs)
    out += fmt::format("<div class=\"row value\" id=\"v{}\">→ {}</div>", id,
                       typed_value(graph.value(id)));
  for (const ValueId id : node.inputs)
    out += fmt::format("<div class=\"row\">← <a href=\"#v{}\">{}</a></div>", id,
                       typed_value(graph.value(id)));
  for (const WeightId id : node.weights) out += weight_row(graph.weight(id));
  return out + "</div>\n";
}

/// Consecutive nodes of one layer under one heading.
std::string layer_group(const Graph& graph, std::size_t begin, std::size_t end) {
  double elements = 0;
  for (std::size_t i = begin; i < end; ++i)
    for (const WeightId id : graph.nodes[i].weights) elements += elements_of(graph.weight(id));
  const std::int32_t layer = graph.nodes[begin].layer;
  std::string out = fmt::format(
      "<details{}><summary>{} <span class=\"size\">{} nodes, {} elements</span></summary>\n",
      layer <= 0 ? " open" : "",
      layer < 0 ? std::string("outside layers") : fmt::format("layer {}", layer), end - begin,
      format_count(elements));
  for (std::size_t i = begin; i < end; ++i) out += node_box(graph, i);
  return out + "</details>\n";
}

std::string value_list(const Graph& graph, const char* title, const std::vector<ValueId>& ids,
                       bool anchors) {
  std::string out = fmt::format("<p>{}:", title);
  for (const ValueId id : ids)
    out += anchors ? fmt::format("<br><span class=\"row value\" id=\"v{}\">{}</span>", id,
                                 typed_value(graph.value(id)))
                   : fmt::format("<br><a class=\"row\" href=\"#v{}\">{}</a>", id,
                                 typed_value(graph.value(id)));
  return out + "</p>\n";
}

}  // namespace

std::string print_html(const Graph& graph) {
  double elements = 0;
  for (const Weight& weight : graph.weights) elements += elements_of(weight);
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>"
      "<style>{1}</style></head><body>\n<header><h1>{0}</h1><div class=\"size\">{2} layers, {3} "
      "nodes, {4} weights of {5} elements</div>"
      "<input id=\"search\" type=\"search\" placeholder=\"name, op, type or weight\"> "
      "<button id=\"open\">open all</button> <button id=\"close\">close all</button> "
      "<span id=\"count\"></span></header>\n",
      escape(graph.name), kStyle, graph.layers, graph.nodes.size(), graph.weights.size(),
      format_count(elements));
  out += value_list(graph, "Inputs", graph.inputs, true);
  for (std::size_t begin = 0; begin < graph.nodes.size();) {
    std::size_t end = begin + 1;
    while (end < graph.nodes.size() && graph.nodes[end].layer == graph.nodes[begin].layer) ++end;
    out += layer_group(graph, begin, end);
    begin = end;
  }
  out += value_list(graph, "Outputs", graph.outputs, false);
  return out + fmt::format("<script>{}</script></body></html>\n", kScript);
}

}  // namespace tenon
