// The pickle machine; see pickle.h. Opcodes and their meaning are those of Python's pickle,
// protocols 2 to 5, without those that only other data need.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "checkpoint/byte_reader.h"
#include "core/check.h"

namespace tenon {
namespace {

constexpr std::size_t kMaxNodes = std::size_t{1} << 22;  // some 25 a tensor

class Machine {
 public:
  Machine(std::span<const std::byte> pickle, PickleHeap& heap, PickleHost& host)
      : reader_(pickle, heap.where()), heap_(heap), host_(host) {}

  PickleRef run() {
    for (;;) {
      const auto opcode = number<std::uint8_t>();
      if (opcode == '.') {
        TENON_CHECK(stack_.size() == 1 && marks_.empty(), ErrorCode::kCorrupt,
                    "{}: the pickle ends with {} values instead of one", where(), stack_.size());
        return stack_.back();
      }
      TENON_CHECK(constant(opcode) || text(opcode) || container(opcode) || fill(opcode) ||
                      memo(opcode) || object(opcode),
                  ErrorCode::kUnsupported,
                  "{}: pickle opcode 0x{:02x} at byte {} is none that weights need; refused (save "
                  "the weights as safetensors)",
                  where(), opcode, reader_.position() - 1);
    }
  }

 private:
  std::string_view where() const { return heap_.where(); }

  template <class T>
  T number() {
    return reader_.number<T>("a pickle opcode");
  }

  void push(PickleNode node) { stack_.push_back(heap_.add(std::move(node))); }

  PickleRef pop() {
    TENON_CHECK(stack_.size() > floor(), ErrorCode::kCorrupt,
                "{}: the pickle takes more values than it has (byte {})", where(),
                reader_.position());
    const PickleRef top = stack_.back();
    stack_.pop_back();
    return top;
  }

  PickleRef top() const {
    TENON_CHECK(stack_.size() > floor(), ErrorCode::kCorrupt,
                "{}: the pickle takes more values than it has (byte {})", where(),
                reader_.position());
    return stack_.back();
  }

  /// Values below the last mark are out of reach until it is popped.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  std::vector<PickleRef> pop_to_mark() {
    TENON_CHECK(!marks_.empty(), ErrorCode::kCorrupt, "{}: the pickle lacks a mark (byte {})",
                where(), reader_.position());
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  std::vector<PickleRef> pop_some(std::size_t count) {
    std::vector<PickleRef> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  void push_int(std::int64_t value) { push({.kind = PickleKind::kInt, .number = value}); }

  bool constant(std::uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const auto protocol = number<std::uint8_t>();
        TENON_CHECK(protocol >= 2 && protocol <= 5, ErrorCode::kUnsupported,
                    "{}: pickle protocol {}; expected 2 to 5", where(), protocol);
        return true;
      }
      case 0x95: number<std::uint64_t>(); return true;  // FRAME
      case 'N': push({}); return true;
      case 0x88: push({.kind = PickleKind::kBool, .number = 1}); return true;
      case 0x89: push({.kind = PickleKind::kBool, .number = 0}); return true;
      case 'J': push_int(number<std::int32_t>()); return true;
      case 'K': push_int(number<std::uint8_t>()); return true;
      case 'M': push_int(number<std::uint16_t>()); return true;
      case 0x8a: long_integer(); return true;
      case 'G':  // BINFLOAT, big-endian
        push({.kind = PickleKind::kFloat,
              .real = std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()))});
        return true;
      default: return false;
    }
  }

  void long_integer() {
    const auto length = number<std::uint8_t>();
    TENON_CHECK(length <= 8, ErrorCode::kCorrupt,
                "{}: the pickle has an integer of {} bytes; expected up to 8", where(), length);
    const auto bytes = reader_.take(length, "an integer");
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    const bool negative = length > 0 && (bytes.back() & std::byte{0x80}) != std::byte{0};
    if (negative && length < 8) value |= ~std::uint64_t{0} << (8 * length);
    push_int(static_cast<std::int64_t>(value));
  }

  void push_text(PickleKind kind, std::uint64_t length) {
    push({.kind = kind, .text = reader_.text(length, "a string")});
  }

  bool text(std::uint8_t opcode) {
    switch (opcode) {
      case 'X': push_text(PickleKind::kString, number<std::uint32_t>()); return true;
      case 0x8c: push_text(PickleKind::kString, number<std::uint8_t>()); return true;
      case 0x8d: push_text(PickleKind::kString, number<std::uint64_t>()); return true;
      case 'U': push_text(PickleKind::kString, number<std::uint8_t>()); return true;
      case 'T': push_text(PickleKind::kString, number<std::uint32_t>()); return true;
      case 'C': push_text(PickleKind::kBytes, number<std::uint8_t>()); return true;
      case 'B': push_text(PickleKind::kBytes, number<std::uint32_t>()); return true;
      default: return false;
    }
  }

  void push_items(PickleKind kind, std::vector<PickleRef> items) {
    push({.kind = kind, .items = std::move(items)});
  }

  bool container(std::uint8_t opcode) {
    switch (opcode) {
      case '(': marks_.push_back(stack_.size()); return true;
      case '0':  // POP takes a mark where there is nothing above it
        if (!marks_.empty() && stack_.size() == marks_.back())
          marks_.pop_back();
        else
          pop();
        return true;
      case '1': pop_to_mark(); return true;
      case '2': stack_.push_back(top()); return true;
      case ']': push_items(PickleKind::kList, {}); return true;
      case 'l': push_items(PickleKind::kList, pop_to_mark()); return true;
      case ')': push_items(PickleKind::kTuple, {}); return true;
      case 't': push_items(PickleKind::kTuple, pop_to_mark()); return true;
      case 0x85: push_items(PickleKind::kTuple, pop_some(1)); return true;
      case 0x86: push_items(PickleKind::kTuple, pop_some(2)); return true;
      case 0x87: push_items(PickleKind::kTuple, pop_some(3)); return true;
      case '}': push_items(PickleKind::kDict, {}); return true;
      case 'd':
        push_items(PickleKind::kDict, {});
        extend_below(PickleKind::kDict);
        return true;
      default: return false;
    }
  }

  void extend(PickleKind kind, const std::vector<PickleRef>& items) {
    PickleNode& target = heap_[top()];
    TENON_CHECK(target.kind == kind && (kind != PickleKind::kDict || items.size() % 2 == 0),
                ErrorCode::kCorrupt,
                "{}: the pickle puts items into what cannot hold them (byte {})", where(),
                reader_.position());
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  /// DICT: the new dict stands above the items that go into it.
  void extend_below(PickleKind kind) {
    const PickleRef target = stack_.back();
    stack_.pop_back();
    const std::vector<PickleRef> items = pop_to_mark();
    stack_.push_back(target);
    extend(kind, items);
  }

  bool fill(std::uint8_t opcode) {
    switch (opcode) {
      case 'a': extend(PickleKind::kList, pop_some(1)); return true;
      case 'e': extend(PickleKind::kList, pop_to_mark()); return true;
      case 's': extend(PickleKind::kDict, pop_some(2)); return true;
      case 'u': extend(PickleKind::kDict, pop_to_mark()); return true;
      default: return false;
    }
  }

  void recall(std::uint32_t index) {
    const auto found = memo_.find(index);
    TENON_CHECK(found != memo_.end(), ErrorCode::kCorrupt,
                "{}: the pickle recalls value {}, which it has not stored", where(), index);
    stack_.push_back(found->second);
  }

  bool memo(std::uint8_t opcode) {
    switch (opcode) {
      case 'q': memo_[number<std::uint8_t>()] = top(); return true;
      case 'r': memo_[number<std::uint32_t>()] = top(); return true;
      case 0x94: memo_[static_cast<std::uint32_t>(memo_.size())] = top(); return true;
      case 'h': recall(number<std::uint8_t>()); return true;
      case 'j': recall(number<std::uint32_t>()); return true;
      default: return false;
    }
  }

  std::string_view line() {
    const std::uint64_t start = reader_.position();
    std::uint64_t length = 0;
    while (reader_.take(1, "a global's name").front() != std::byte{'\n'}) ++length;
    reader_.seek(start, "a global's name");
    const std::string_view text = reader_.text(length, "a global's name");
    reader_.take(1, "a global's name");
    return text;
  }

  void push_global(std::string_view module, std::string_view name) {
    host_.check_global(module, name);
    push({.kind = PickleKind::kGlobal, .text = name, .module = module});
  }

  bool object(std::uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleNode& name = heap_[pop()];
        const PickleNode& module = heap_[pop()];
        TENON_CHECK(name.kind == PickleKind::kString && module.kind == PickleKind::kString,
                    ErrorCode::kCorrupt, "{}: a global of the pickle has no name", where());
        push_global(module.text, name.text);
        return true;
      }
      case 'R':
      case 0x81: {  // REDUCE, NEWOBJ
        const PickleRef arguments = pop();
        const PickleRef callable = pop();
        TENON_CHECK(heap_[callable].kind == PickleKind::kGlobal &&
                        heap_[arguments].kind == PickleKind::kTuple,
                    ErrorCode::kCorrupt, "{}: the pickle calls what cannot be called", where());
        stack_.push_back(host_.call(heap_, callable, arguments));
        return true;
      }
      case 'b':  // BUILD sets attributes, such as a state dict's _metadata: not weights
        pop();
        TENON_CHECK(heap_[top()].kind == PickleKind::kDict, ErrorCode::kUnsupported,
                    "{}: the pickle sets attributes of what is no dict; refused", where());
        return true;
      case 'Q': stack_.push_back(host_.persistent(heap_, pop())); return true;
      default: return false;
    }
  }

  ByteReader reader_;
  PickleHeap& heap_;
  PickleHost& host_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleRef> memo_;
};

}  // namespace

PickleRef PickleHeap::add(PickleNode node) {
  TENON_CHECK(nodes_.size() < kMaxNodes, ErrorCode::kCorrupt,
              "{}: the pickle has more than {} values", where_, kMaxNodes);
  nodes_.push_back(std::move(node));
  return static_cast<PickleRef>(nodes_.size() - 1);
}

PickleRef run_pickle(std::span<const std::byte> pickle, PickleHeap& heap, PickleHost& host) {
  return Machine(pickle, heap, host).run();
}

}  // namespace tenon
