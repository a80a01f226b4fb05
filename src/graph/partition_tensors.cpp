// Tensor parallelism. Marks on weights say what is cut; how values lie on the ranks follows from
// them, node by node: a value is whole on every rank, or cut along an axis, each rank holding its
// columns. What needs a whole value makes it by AllGather, once a value; a partial sum is never
// seen by others, since AllReduce follows it at once.
// Names: the whole value keeps the plain name; a rank's columns keep it where the whole is never
// made, and are "name.shard" where it is; a partial sum is "name.partial".
// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "graph/node_types.h"
#include "graph/partition.h"
#include "graph/partition_parts.h"
#include "graph/rewrite.h"

namespace tenon {
namespace {

/// Columns of a value along an axis.
struct ColumnCut {
  std::string axis;
  bool per_group = false;
  std::int64_t extent = 1;  ///< columns of a unit
  bool operator==(const ColumnCut&) const = default;
};

/// Where a plain value is found in this rank's graph.
struct Place {
  std::optional<ColumnCut> cut;
  ValueId local = kNoId;  ///< where cut
  ValueId whole = kNoId;  ///< where not cut, or gathered
  std::size_t made_by = 0;
};

class TensorPartition {
 public:
  TensorPartition(const Graph& plain, int tp_size, int tp)
      : plain_(plain), tp_size_(tp_size), tp_(tp), graph_(plain) {
    places_.resize(plain.values.size());
    buckets_.resize(plain.nodes.size());
    graph_.values.clear();
    graph_.nodes.clear();
    for (const Value& value : plain.values) names_.insert(value.name);
  }

  Graph run(const std::set<std::string>& taps) {
    for (Weight& weight : graph_.weights) cut_weight(weight);
    for (const ValueId id : plain_.inputs)
      place(id).whole = new_value(plain_.value(id).name, plain_.value(id).type);
    for (index_ = 0; index_ < plain_.nodes.size(); ++index_)
      std::visit([&](const auto& op) { add(op, node()); }, node().op);
    for (std::size_t i = 0; i < places_.size(); ++i)
      if (taps.contains(plain_.values[i].name) && plain_.values[i].type.kind == ValueKind::kTensor)
        whole(static_cast<ValueId>(i));
    for (ValueId& id : graph_.inputs) id = place(id).whole;
    for (ValueId& id : graph_.outputs) id = whole(id);
    for (auto& bucket : buckets_)
      for (Node& made : bucket) graph_.nodes.push_back(std::move(made));
    compact(graph_);
    return std::move(graph_);
  }

 private:
  using Ids = std::vector<ValueId>;

  // ---- axes and weights

  const ShardAxis& axis(const std::string& name) const { return plain_.axes.at(name); }

  Range share(const std::string& name, bool per_group, int tp) const {
    return cut_axis(name, axis(name), tp_size_, tp, per_group);
  }

  /// Where every unit is a group of its own, the two ways of counting are one.
  bool counts_groups(const ShardMark& mark) const {
    const ShardAxis& on = axis(mark.axis);
    return mark.per_group && on.groups > 0 && on.groups != on.units;
  }

  void cut_weight(Weight& weight) const {
    if (weight.marks.empty()) return;
    for (const std::int64_t extent : weight.shape) weight.cut.emplace_back(0, extent);
    for (const ShardMark& mark : weight.marks) {
      const Range units = share(mark.axis, mark.per_group, tp_);
      auto& [begin, end] = weight.cut[static_cast<std::size_t>(mark.dim)];
      begin = units.begin * mark.extent_per_unit;
      end = units.end * mark.extent_per_unit;
      weight.shape[static_cast<std::size_t>(mark.dim)] = end - begin;
    }
  }

  const ShardMark* mark_of(WeightId id, int dim) const {
    for (const ShardMark& mark : plain_.weight(id).marks)
      if (mark.dim == dim) return &mark;
    return nullptr;
  }

  ColumnCut columns_of(const ShardMark& mark) const {
    return {mark.axis, counts_groups(mark), mark.extent_per_unit};
  }

  // ---- nodes and values of the rank's graph

  const Node& node() const { return plain_.nodes[index_]; }
  Place& place(ValueId plain) { return places_[static_cast<std::size_t>(plain)]; }

  [[noreturn]] void refuse(const std::string& why) const {
    const std::string name =
        node().outputs.empty() ? "" : plain_.value(node().outputs.front()).name;
    fail(ErrorCode::kUnsupported, "graph \"{}\", node \"{}\" ({}): cannot be cut over {} ranks: {}",
         plain_.name, name, name_of(node().op), tp_size_, why);
  }

  ValueId new_value(std::string name, ValueType type) {
    graph_.values.push_back({std::move(name), std::move(type)});
    return static_cast<ValueId>(graph_.values.size() - 1);
  }

  std::string unused_name(std::string name) {
    while (!names_.insert(name).second) name += '_';
    return name;
  }

  /// Adds a node with one output beside plain node `at`.
  ValueId emit(std::size_t at, Op op, Ids inputs, std::vector<WeightId> weights, std::string name) {
    Node made{std::move(op), std::move(inputs), {}, std::move(weights), plain_.nodes[at].layer};
    const auto types = node_output_types(graph_, made, fmt::format("partition of \"{}\"", name));
    TENON_ASSERT(types.size() == 1);
    const ValueId output = new_value(std::move(name), types.front());
    made.outputs = {output};
    buckets_[at].push_back(std::move(made));
    return output;
  }

  const std::string& output_name() const { return plain_.value(node().outputs.front()).name; }
  Place& output() {
    Place& made = place(node().outputs.front());
    made.made_by = index_;
    return made;
  }

  void emit_whole(Op op, Ids inputs, std::vector<WeightId> weights = {}) {
    output().whole =
        emit(index_, std::move(op), std::move(inputs), std::move(weights), output_name());
  }
  void emit_cut(Op op, Ids inputs, const ColumnCut& cut, std::vector<WeightId> weights = {}) {
    output().cut = cut;
    output().local =
        emit(index_, std::move(op), std::move(inputs), std::move(weights), output_name());
  }
  void emit_sum(Op op, Ids inputs, std::vector<WeightId> weights) {
    const ValueId partial = emit(index_, std::move(op), std::move(inputs), std::move(weights),
                                 unused_name(output_name() + ".partial"));
    emit_whole(AllReduce{}, {partial});
  }

  /// The whole value, gathered beside its producer where it is cut.
  ValueId whole(ValueId plain) {
    Place& where = place(plain);
    if (where.whole != kNoId) return where.whole;
    const std::string name = plain_.value(plain).name;
    graph_.values[static_cast<std::size_t>(where.local)].name = unused_name(name + ".shard");
    where.whole = gather(where, name);
    return where.whole;
  }

  ValueId gather(const Place& where, const std::string& name) {
    const ColumnCut& cut = *where.cut;
    AllGather op;
    for (int tp = 0; tp < tp_size_; ++tp)
      op.widths.push_back(share(cut.axis, cut.per_group, tp).size() * cut.extent);
    if (!repeats_groups(cut)) return emit(where.made_by, op, {where.local}, {}, name);
    // Several ranks hold each group: one copy of each is kept.
    const ValueId all = emit(where.made_by, op, {where.local}, {}, unused_name(name + ".repeated"));
    const std::int64_t groups = axis(cut.axis).groups;
    const std::int64_t stride = tp_size_ / groups * cut.extent;
    Ids copies;
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t begin = group * stride;
      copies.push_back(emit(where.made_by, Slice{begin, begin + cut.extent}, {all}, {},
                            unused_name(fmt::format("{}.group{}", name, group))));
    }
    return emit(where.made_by, Concat{}, copies, {}, name);
  }

  /// The node's output is whole from here on, for all its readers.
  void gather_output() {
    whole(node().outputs.front());
    output().cut.reset();
  }

  bool repeats_groups(const ColumnCut& cut) const {
    return cut.per_group && tp_size_ > axis(cut.axis).groups;
  }

  /// This rank's columns along `cut`, whether the value is cut so already or has to be sliced.
  ValueId columns(ValueId plain, const ColumnCut& cut) {
    const Place& where = place(plain);
    if (where.cut == cut) return where.local;
    const ValueId from = whole(plain);
    const Range units = share(cut.axis, cut.per_group, tp_);
    return emit(index_, Slice{units.begin * cut.extent, units.end * cut.extent}, {from}, {},
                unused_name(plain_.value(plain).name + ".columns"));
  }

  // ---- the ops

  void refuse_marks() const {
    for (const WeightId id : node().weights)
      if (!plain_.weight(id).marks.empty())
        refuse(fmt::format("its weight \"{}\" may not be marked", plain_.weight(id).name));
  }

  /// Ops that mix columns, and all that is not known to work on a rank's columns alone.
  void add_whole(const Node& plain) {
    refuse_marks();
    Ids inputs;
    for (const ValueId id : plain.inputs) inputs.push_back(whole(id));
    emit_whole(plain.op, inputs, plain.weights);
  }

  /// Ops on each column alone: on cut values where all are cut alike, else on whole ones.
  void add_columnwise(const Node& plain) {
    const std::optional<ColumnCut> cut = place(plain.inputs.front()).cut;
    bool alike = cut.has_value();
    for (const ValueId id : plain.inputs) alike = alike && place(id).cut == cut;
    if (!alike) return add_whole(plain);
    Ids inputs;
    for (const ValueId id : plain.inputs) inputs.push_back(place(id).local);
    emit_cut(plain.op, inputs, *cut);
  }

  void add(const Activation&, const Node& plain) { add_columnwise(plain); }
  void add(const GatedActivation&, const Node& plain) { add_columnwise(plain); }
  void add(const Add&, const Node& plain) { add_columnwise(plain); }
  void add(const Mul&, const Node& plain) { add_columnwise(plain); }
  void add(const Scale&, const Node& plain) { add_columnwise(plain); }
  void add(const Softcap&, const Node& plain) { add_columnwise(plain); }
  void add(const Cast&, const Node& plain) { add_columnwise(plain); }
  void add(const Norm&, const Node& plain) { add_whole(plain); }
  void add(const Concat&, const Node& plain) { add_whole(plain); }
  void add(const Slice&, const Node& plain) { add_whole(plain); }

  template <class Made>
  void add(const Made&, const Node&) {
    refuse("it comes from a pass, and partition runs before all others");
  }

  void add(const GatherRows& op, const Node& plain) {
    const Place& x = place(plain.inputs[0]);
    const ValueId rows = whole(plain.inputs[1]);
    if (!x.cut) return emit_whole(op, {x.whole, rows});
    emit_cut(op, {x.local, rows}, *x.cut);
  }

  void add(Embedding op, const Node& plain) {
    const ShardMark* rows = mark_of(plain.weights[0], 0);
    const ShardMark* width = mark_of(plain.weights[0], 1);
    if (rows != nullptr && width != nullptr) refuse("its table is marked along both dimensions");
    const ValueId ids = whole(plain.inputs[0]);
    if (rows != nullptr) {
      op.row_begin += graph_.weight(plain.weights[0]).cut[0].first;
      emit_sum(op, {ids}, plain.weights);
    } else if (width != nullptr) {
      emit_cut(op, {ids}, columns_of(*width), plain.weights);
      gather_output();  // what follows an embedding mixes columns
    } else {
      emit_whole(op, {ids}, plain.weights);
    }
  }

  void add(Linear op, const Node& plain) {
    if (op.segments != 1) refuse("it has several segments, and partition runs before merging");
    const ShardMark* out = mark_of(plain.weights[0], 0);
    const ShardMark* in = mark_of(plain.weights[0], 1);
    if (out != nullptr && in != nullptr) refuse("its weight is marked along both dimensions");
    if (op.has_bias) check_bias(plain.weights[1], out);
    const bool gathered = std::exchange(op.gather_output, false);
    if (in != nullptr) return add_row_linear(op, plain, columns_of(*in));
    const ValueId x = whole(plain.inputs[0]);
    if (out == nullptr) return emit_whole(op, {x}, plain.weights);
    emit_cut(op, {x}, columns_of(*out), plain.weights);
    if (gathered) gather_output();
  }

  void check_bias(WeightId bias, const ShardMark* out) const {
    const ShardMark* mark = mark_of(bias, 0);
    const bool alike =
        out == nullptr ? mark == nullptr : mark != nullptr && columns_of(*mark) == columns_of(*out);
    if (!alike)
      refuse(fmt::format("its bias \"{}\" must be marked as its weight's rows are",
                         plain_.weight(bias).name));
  }

  /// Input columns cut: the output is a partial sum. The bias is added once, by rank 0.
  void add_row_linear(Linear op, const Node& plain, const ColumnCut& cut) {
    if (repeats_groups(cut)) refuse("several ranks would hold, and add, the same input columns");
    std::vector<WeightId> weights = plain.weights;
    if (op.has_bias && tp_ != 0) {
      op.has_bias = false;
      weights.resize(1);
    }
    emit_sum(op, {columns(plain.inputs[0], cut)}, weights);
  }

  void add(Rope op, const Node& plain) {
    const Place& x = place(plain.inputs[0]);
    const ValueId positions = whole(plain.inputs[1]);
    if (!x.cut || x.cut->extent % op.head_dim != 0) return add_whole(plain);
    op.heads = graph_.value(x.local).type.shape.back().extent / op.head_dim;
    emit_cut(op, {x.local, positions}, *x.cut);
  }

  void add(CacheWrite op, const Node& plain) {
    const Place& k = place(plain.inputs[0]);
    const Place& v = place(plain.inputs[1]);
    if (k.cut != v.cut) refuse("its k and v are not cut alike");
    if (!k.cut) return emit_whole(op, {k.whole, v.whole});
    check_head_cut(*k.cut, op.head_dim);
    op.kv_heads = graph_.value(k.local).type.shape.back().extent / op.head_dim;
    emit_cut(op, {k.local, v.local}, *k.cut);
  }

  void check_head_cut(const ColumnCut& cut, std::int64_t head_dim) const {
    if (cut.extent != head_dim)
      refuse(fmt::format("it is cut along \"{}\" by {} columns, expected head_dim {}", cut.axis,
                         cut.extent, head_dim));
  }

  void add(Attention op, const Node& plain) {
    const std::optional<ColumnCut> cut = place(plain.inputs[0]).cut;
    std::optional<ColumnCut> keys = cut;
    if (cut) keys->per_group = is_grouped(axis(cut->axis));
    for (std::size_t i = 1; i < plain.inputs.size(); ++i)
      if (place(plain.inputs[i]).cut != keys)
        refuse("its q must be cut by heads, and its keys and values by groups of the same axis");
    const bool bias_cut = op.relative_bias && mark_of(plain.weights[0], 1) != nullptr;
    if (op.relative_bias && bias_cut != cut.has_value())
      refuse("its table of relative biases must be marked by heads as q is");
    if (!cut) return add_whole(plain);
    if (cut->per_group) refuse("its q is cut by groups, expected heads");
    check_head_cut(*cut, op.head_dim);
    const Range heads = share(cut->axis, false, tp_);
    if (op.total_heads == 0) op.total_heads = op.heads;
    op.head_begin += heads.begin;
    op.heads = heads.size();
    op.kv_heads = share(cut->axis, keys->per_group, tp_).size();
    Ids inputs;
    for (const ValueId id : plain.inputs) inputs.push_back(place(id).local);
    emit_cut(op, inputs, *cut, plain.weights);
  }

  static bool is_grouped(const ShardAxis& axis) {
    return axis.groups > 0 && axis.groups != axis.units;
  }

  const Graph& plain_;
  int tp_size_;
  int tp_;
  Graph graph_;
  std::vector<Place> places_;               // by plain value
  std::vector<std::vector<Node>> buckets_;  // by plain node: what it became, and its gathers
  std::unordered_set<std::string> names_;
  std::size_t index_ = 0;
};

}  // namespace

Graph partition_tensors(const Graph& graph, int tp_size, int tp,
                        const std::set<std::string>& taps) {
  return TensorPartition(graph, tp_size, tp).run(taps);
}

}  // namespace tenon
