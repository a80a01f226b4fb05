// The globals that saved weights use, and the walk over what they make; see torch_pickle.h.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/torch_pickle.h"

#include <algorithm>
#include <optional>
#include <set>

#include "checkpoint/pickle.h"
#include "core/check.h"

namespace tenon {
namespace {

constexpr int kMaxDepth = 32;                 // of nested containers
constexpr std::size_t kMaxVisits = 1U << 21;  // values seen on the walk
constexpr std::size_t kMaxNameBytes = 1U << 12;
constexpr std::uint64_t kMaxPickleBytes = std::uint64_t{1} << 28;
constexpr std::size_t kMaxDimensions = 64;  // PyTorch's own limit

struct TypeName {
  std::string_view name;
  DataType type;
};

constexpr TypeName kStorages[] = {
    {"FloatStorage", DataType::kFloat32},
    {"HalfStorage", DataType::kFloat16},
    {"BFloat16Storage", DataType::kBFloat16},
    {"DoubleStorage", DataType::kFloat64},
    {"LongStorage", DataType::kInt64},
    {"IntStorage", DataType::kInt32},
    {"ShortStorage", DataType::kInt16},
    {"CharStorage", DataType::kInt8},
    {"ByteStorage", DataType::kUInt8},
    {"BoolStorage", DataType::kBool},
    {"Float8_e4m3fnStorage", DataType::kFloat8E4M3},
    {"Float8_e5m2Storage", DataType::kFloat8E5M2},
};

constexpr TypeName kTypes[] = {
    {"float32", DataType::kFloat32},
    {"float16", DataType::kFloat16},
    {"bfloat16", DataType::kBFloat16},
    {"float64", DataType::kFloat64},
    {"int64", DataType::kInt64},
    {"int32", DataType::kInt32},
    {"int16", DataType::kInt16},
    {"int8", DataType::kInt8},
    {"uint8", DataType::kUInt8},
    {"uint16", DataType::kUInt16},
    {"uint32", DataType::kUInt32},
    {"uint64", DataType::kUInt64},
    {"bool", DataType::kBool},
    {"float8_e4m3fn", DataType::kFloat8E4M3},
    {"float8_e5m2", DataType::kFloat8E5M2},
};

std::optional<DataType> find_type(std::span<const TypeName> names, std::string_view name) {
  for (const TypeName& row : names)
    if (row.name == name) return row.type;
  return std::nullopt;
}

bool is_untyped_storage(std::string_view module, std::string_view name) {
  return name == "UntypedStorage" && (module == "torch.storage" || module == "torch");
}

bool is_allowed(std::string_view module, std::string_view name) {
  if (module == "torch._utils")
    return name == "_rebuild_tensor" || name == "_rebuild_tensor_v2" ||
           name == "_rebuild_tensor_v3" || name == "_rebuild_parameter";
  if (module == "collections") return name == "OrderedDict";
  if (is_untyped_storage(module, name)) return true;
  if (module == "torch")
    return name == "Size" || name == "device" || find_type(kStorages, name).has_value() ||
           find_type(kTypes, name).has_value();
  return false;
}

/// What storages and tensors become: nodes of kind kObject hold an index into one of two lists.
struct Storage {
  std::optional<DataType> type;  ///< none: untyped, counted in bytes
  std::string_view key;
  std::int64_t bytes = 0;
};

class TorchHost : public PickleHost {
 public:
  explicit TorchHost(std::string_view where) : where_(where) {}

  void check_global(std::string_view module, std::string_view name) override {
    TENON_CHECK(is_allowed(module, name), ErrorCode::kUnsupported,
                "{}: the pickle wants \"{}.{}\", which is not on the list of what weights need; "
                "refused, nothing was run (save the weights as safetensors)",
                where_, module.substr(0, 100), name.substr(0, 100));
  }

  PickleRef call(PickleHeap& heap, PickleRef callable, PickleRef arguments) override {
    const std::string_view name = heap[callable].text;
    const std::vector<PickleRef> items = heap[arguments].items;
    if (name == "OrderedDict") return ordered_dict(heap, items);
    if (name == "_rebuild_tensor" || name == "_rebuild_tensor_v2")
      return tensor(heap, items, false);
    if (name == "_rebuild_tensor_v3") return tensor(heap, items, true);
    if (name == "_rebuild_parameter") {
      check(!items.empty(), "a parameter without a tensor");
      return items[0];
    }
    if (name == "Size") {
      check(items.size() == 1, "a torch.Size without extents");
      return items[0];
    }
    check(name == "device", "a call of what is no function");
    return heap.add({});
  }

  PickleRef persistent(PickleHeap& heap, PickleRef id) override {
    const PickleNode& tuple = heap[id];
    check(tuple.kind == PickleKind::kTuple && tuple.items.size() >= 5, "a strange persistent id");
    const PickleNode& tag = heap[tuple.items[0]];
    const PickleNode& type = heap[tuple.items[1]];
    const PickleNode& key = heap[tuple.items[2]];
    const PickleNode& count = heap[tuple.items[4]];
    check(tag.kind == PickleKind::kString && tag.text == "storage" &&
              type.kind == PickleKind::kGlobal && key.kind == PickleKind::kString &&
              count.kind == PickleKind::kInt && count.number >= 0,
          "a strange persistent id");
    Storage storage;
    storage.key = key.text;
    storage.type = find_type(kStorages, type.text);
    check(storage.type.has_value() || is_untyped_storage(type.module, type.text),
          "a storage of no known type");
    storage.bytes = byte_count(storage.type.value_or(DataType::kUInt8), {count.number}, where_);
    storages_.push_back(storage);
    return heap.add(
        {.kind = PickleKind::kObject, .number = -static_cast<std::int64_t>(storages_.size())});
  }

  /// The tensor of a node, null where it is none.
  const PickledTensor* find(const PickleNode& node) const {
    if (node.kind != PickleKind::kObject || node.number < 0) return nullptr;
    return &tensors_[static_cast<std::size_t>(node.number)];
  }

 private:
  void check(bool condition, const char* what) const {
    TENON_CHECK(condition, ErrorCode::kCorrupt, "{}: the pickle has {}; the file is damaged",
                where_, what);
  }

  PickleRef ordered_dict(PickleHeap& heap, const std::vector<PickleRef>& items) {
    PickleNode dict = {.kind = PickleKind::kDict};
    if (!items.empty()) {
      check(items.size() == 1 && heap[items[0]].kind == PickleKind::kList, "a strange OrderedDict");
      for (const PickleRef pair : heap[items[0]].items) {
        check(heap[pair].items.size() == 2, "a strange OrderedDict");
        dict.items.insert(dict.items.end(), heap[pair].items.begin(), heap[pair].items.end());
      }
    }
    return heap.add(std::move(dict));
  }

  std::vector<std::int64_t> naturals(const PickleHeap& heap, PickleRef tuple) const {
    std::vector<std::int64_t> values;
    check(heap[tuple].kind == PickleKind::kTuple && heap[tuple].items.size() <= kMaxDimensions,
          "a tensor with a strange shape or strides");
    for (const PickleRef item : heap[tuple].items) {
      check(heap[item].kind == PickleKind::kInt && heap[item].number >= 0,
            "a tensor with a strange shape or strides");
      values.push_back(heap[item].number);
    }
    return values;
  }

  /// Arguments: storage, offset, size, stride, requires_grad, hooks[, dtype (v3) or metadata].
  PickleRef tensor(PickleHeap& heap, const std::vector<PickleRef>& items, bool has_type) {
    check(items.size() >= (has_type ? 7U : 4U), "a tensor with too few arguments");
    const PickleNode& object = heap[items[0]];
    check(object.kind == PickleKind::kObject && object.number < 0, "a tensor without a storage");
    const Storage& storage = storages_[static_cast<std::size_t>(-object.number - 1)];
    PickledTensor tensor;
    std::optional<DataType> type = storage.type;
    if (has_type) type = find_type(kTypes, heap[items[6]].text);
    check(type.has_value(), "a tensor without an element type");
    const PickleNode& offset = heap[items[1]];
    check(offset.kind == PickleKind::kInt && offset.number >= 0, "a tensor with a strange offset");
    tensor.type = *type;
    tensor.offset = offset.number;
    tensor.shape = naturals(heap, items[2]);
    tensor.strides = naturals(heap, items[3]);
    check(tensor.shape.size() == tensor.strides.size(), "a tensor with fewer strides than extents");
    tensor.storage = storage.key;
    tensor.storage_bytes = storage.bytes;
    check_bounds(tensor);
    tensors_.push_back(std::move(tensor));
    return heap.add(
        {.kind = PickleKind::kObject, .number = static_cast<std::int64_t>(tensors_.size()) - 1});
  }

  void check_bounds(const PickledTensor& tensor) const {
    const std::int64_t count = element_count(tensor.shape, where_);
    byte_count(tensor.type, tensor.shape, where_);
    if (count == 0) return;
    const std::int64_t held =
        tensor.storage_bytes / static_cast<std::int64_t>(size_of(tensor.type));
    std::int64_t last = tensor.offset;
    bool overflow = false;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      std::int64_t reach = 0;
      overflow |= __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach);
      overflow |= __builtin_add_overflow(last, reach, &last);
    }
    TENON_CHECK(!overflow && last < held && count <= held, ErrorCode::kCorrupt,
                "{}: a tensor of shape {} at element {} does not lie in its storage \"{}\" of {} "
                "elements; the file is damaged",
                where_, to_string(tensor.shape), tensor.offset, tensor.storage.substr(0, 100),
                held);
  }

  std::string_view where_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

class Walk {
 public:
  Walk(const PickleHeap& heap, const TorchHost& host) : heap_(heap), host_(host) {}

  std::vector<PickledTensor> collect(PickleRef root) {
    visit(unwrapped(root), "", 0);
    return std::move(found_);
  }

 private:
  /// Goes through {"state_dict": {…}} and the like to the dict that holds the tensors.
  PickleRef unwrapped(PickleRef root) const {
    for (int depth = 0; depth < kMaxDepth; ++depth) {
      const PickleNode& node = heap_[root];
      if (node.kind != PickleKind::kDict) return root;
      std::optional<PickleRef> inner;
      for (std::size_t i = 0; i + 1 < node.items.size(); i += 2) {
        const PickleNode& value = heap_[node.items[i + 1]];
        if (host_.find(value) != nullptr) return root;
        const std::string_view key = heap_[node.items[i]].text;
        const bool names_weights =
            key == "state_dict" || key == "model_state_dict" || key == "model" || key == "module";
        if (names_weights && value.kind == PickleKind::kDict && !inner) inner = node.items[i + 1];
      }
      if (!inner) return root;
      root = *inner;
    }
    return root;
  }

  std::string key_text(PickleRef key) const {
    const PickleNode& node = heap_[key];
    if (node.kind == PickleKind::kString) return std::string(node.text);
    if (node.kind == PickleKind::kInt) return std::to_string(node.number);
    fail(ErrorCode::kUnsupported, "{}: a dict of the pickle has a key that is no text",
         heap_.where());
  }

  void visit(PickleRef ref, const std::string& name, int depth) {
    TENON_CHECK(depth <= kMaxDepth && ++visits_ <= kMaxVisits && name.size() <= kMaxNameBytes,
                ErrorCode::kCorrupt, "{}: the pickle is nested without end, or too large at \"{}\"",
                heap_.where(), name.substr(0, 100));
    const PickleNode& node = heap_[ref];
    if (const PickledTensor* tensor = host_.find(node)) {
      TENON_CHECK(names_.insert(name).second, ErrorCode::kCorrupt, "{}: holds two tensors \"{}\"",
                  heap_.where(), name);
      found_.push_back(*tensor);
      found_.back().name = name;
      return;
    }
    const std::string prefix = name.empty() ? "" : name + ".";
    if (node.kind == PickleKind::kDict) {
      for (std::size_t i = 0; i + 1 < node.items.size(); i += 2)
        if (may_hold(node.items[i + 1]))
          visit(node.items[i + 1], prefix + key_text(node.items[i]), depth + 1);
    } else if (node.kind == PickleKind::kList || node.kind == PickleKind::kTuple) {
      for (std::size_t i = 0; i < node.items.size(); ++i)
        if (may_hold(node.items[i])) visit(node.items[i], prefix + std::to_string(i), depth + 1);
    }
  }

  bool may_hold(PickleRef ref) const {
    const PickleNode& node = heap_[ref];
    return node.kind == PickleKind::kDict || node.kind == PickleKind::kList ||
           node.kind == PickleKind::kTuple || host_.find(node) != nullptr;
  }

  const PickleHeap& heap_;
  const TorchHost& host_;
  std::size_t visits_ = 0;
  std::set<std::string> names_;
  std::vector<PickledTensor> found_;
};

}  // namespace

bool PickledTensor::is_contiguous() const {
  if (std::ranges::find(shape, 0) != shape.end()) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::vector<PickledTensor> read_torch_pickle(std::span<const std::byte> pickle,
                                             std::string_view where) {
  TENON_CHECK(pickle.size() <= kMaxPickleBytes, ErrorCode::kUnsupported,
              "{}: a pickle of {} bytes; up to {} are read (tensors are not part of it)", where,
              pickle.size(), kMaxPickleBytes);
  PickleHeap heap(where);
  TorchHost host(where);
  const PickleRef root = run_pickle(pickle, heap, host);
  return Walk(heap, host).collect(root);
}

}  // namespace tenon
