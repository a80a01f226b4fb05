// SPDX-License-Identifier: Apache-2.0
#include "interpreter.h"

#include <stdexcept>
#include <utility>

namespace tenon::interpreter {
namespace {

Array cut_weight(const Array& whole, const Weight& weight) {
  if (weight.cut.empty()) return whole;
  const bool vector = weight.cut.size() == 1;
  const auto rows = vector ? std::pair<std::int64_t, std::int64_t>{0, 1} : weight.cut[0];
  const auto columns = weight.cut.back();
  Array part(rows.second - rows.first, columns.second - columns.first);
  for (std::int64_t r = 0; r < part.rows; ++r)
    for (std::int64_t c = 0; c < part.width; ++c)
      part.at(r, c) = whole.at(rows.first + r, columns.first + c);
  return part;
}

bool is_transfer(const Op& op) {
  return std::holds_alternative<AllReduce>(op) || std::holds_alternative<AllGather>(op) ||
         std::holds_alternative<Send>(op) || std::holds_alternative<Receive>(op);
}

void check_size(const Array& array, const Value& value) {
  if (value.type.kind == ValueKind::kCache || value.type.shape.size() != 2) return;
  if (array.width != value.type.shape[1].extent)
    throw std::runtime_error(value.name + " has another width than its type");
}

}  // namespace

Ranks::Ranks(std::vector<Graph> graphs, const Mapping& mapping, const Arrays& weights)
    : mapping_(mapping) {
  for (std::size_t i = 0; i < graphs.size(); ++i) {
    Rank rank;
    rank.graph = std::move(graphs[i]);
    rank.place = place_of(mapping, static_cast<int>(i));
    for (const Weight& weight : rank.graph.weights)
      rank.weights.push_back(cut_weight(weights.at(weight.name), weight));
    ranks_.push_back(std::move(rank));
  }
}

Arrays Ranks::step(const Step& step) {
  for (Rank& rank : ranks_) {
    rank.next_node = 0;
    rank.collectives = 0;
    rank.values.assign(rank.graph.values.size(), std::nullopt);
    for (const ValueId id : rank.graph.inputs)
      rank.values[static_cast<std::size_t>(id)] = step.inputs.at(rank.graph.value(id).name);
  }
  for (bool moved = true; moved;) {
    moved = false;
    for (Rank& rank : ranks_)
      while (advance(rank, step)) moved = true;
  }
  Arrays outputs;
  for (Rank& rank : ranks_) {
    if (rank.next_node != rank.graph.nodes.size())
      throw std::runtime_error("rank " + std::to_string(rank.place.rank) + " waits for ever");
    for (const ValueId id : rank.graph.outputs) {
      const Array& value = *rank.values[static_cast<std::size_t>(id)];
      const auto [at, is_new] = outputs.emplace(rank.graph.value(id).name, value);
      if (!is_new && at->second.data != value.data)
        throw std::runtime_error("ranks hold different " + rank.graph.value(id).name);
    }
  }
  for (const auto& [pair, letters] : mail_)
    if (!letters.empty()) throw std::runtime_error("a value was sent that nobody received");
  meetings_.clear();
  return outputs;
}

bool Ranks::advance(Rank& rank, const Step& step) {
  if (rank.next_node == rank.graph.nodes.size()) return false;
  const Node& node = rank.graph.nodes[rank.next_node];
  if (is_transfer(node.op)) {
    if (!run_collective(rank, node)) return false;
    ++rank.next_node;
    return true;
  }
  std::vector<const Array*> inputs;
  for (const ValueId id : node.inputs)
    inputs.push_back(&rank.values[static_cast<std::size_t>(id)].value());
  std::vector<const Array*> weights;
  for (const WeightId id : node.weights)
    weights.push_back(&rank.weights[static_cast<std::size_t>(id)]);
  std::vector<Array> outputs = run_op(node.op, inputs, weights, step, rank.cache);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check_size(outputs[i], rank.graph.value(node.outputs[i]));
    rank.values[static_cast<std::size_t>(node.outputs[i])] = std::move(outputs[i]);
  }
  ++rank.next_node;
  return true;
}

bool Ranks::run_collective(Rank& rank, const Node& node) {
  const auto input = [&] { return rank.values[static_cast<std::size_t>(node.inputs[0])].value(); };
  if (const auto* send = std::get_if<Send>(&node.op)) {
    mail_[{rank.place.rank, static_cast<int>(send->peer)}].push_back(input());
    return true;
  }
  std::optional<Array> made;
  if (const auto* receive = std::get_if<Receive>(&node.op)) {
    auto& letters = mail_[{static_cast<int>(receive->peer), rank.place.rank}];
    if (letters.empty()) return false;
    made = letters.front();
    letters.erase(letters.begin());
  } else {
    auto& parts = meetings_[{rank.place.pp, rank.collectives}];
    parts.resize(static_cast<std::size_t>(mapping_.tp_size));
    parts[static_cast<std::size_t>(rank.place.tp)] = input();
    for (const auto& part : parts)
      if (!part) return false;
    made = joined(node.op, parts);
    ++rank.collectives;
  }
  check_size(*made, rank.graph.value(node.outputs[0]));
  rank.values[static_cast<std::size_t>(node.outputs[0])] = std::move(made);
  return true;
}

Array Ranks::joined(const Op& op, const std::vector<std::optional<Array>>& parts) const {
  if (std::holds_alternative<AllReduce>(op)) {
    Array sum = *parts[0];
    for (std::size_t p = 1; p < parts.size(); ++p)
      for (std::size_t i = 0; i < sum.data.size(); ++i) sum.data[i] += parts[p]->data.at(i);
    return sum;
  }
  const auto& widths = std::get<AllGather>(op).widths;
  Array all(parts[0]->rows, 0);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    if (parts[p]->width != widths.at(p)) throw std::runtime_error("all_gather: wrong widths");
    all.width += widths[p];
  }
  for (std::int64_t row = 0; row < all.rows; ++row)
    for (const auto& part : parts)
      for (std::int64_t c = 0; c < part->width; ++c) all.data.push_back(part->at(row, c));
  return all;
}

Ranks single(const Graph& graph, const Arrays& weights) {
  return Ranks({graph}, Mapping{}, weights);
}

}  // namespace tenon::interpreter
