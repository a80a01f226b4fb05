// What a program and its worker process read from each other. The first byte says which message; 8
// more: the rest is bytes of it, else edits of a whole one (two bytes of place, one of content).
// The last kind is what comes over the socket. A message that is read must write to one that reads
// alike.
// SPDX-License-Identifier: Apache-2.0
#include "api/worker_messages.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>

#include "fuzz_input.h"

namespace tenon {
namespace {

using Bytes = std::vector<std::byte>;

template <class Value>
Bytes bytes_of(const Value& value) {
  FieldWriter out;
  write(out, value);
  return {out.bytes().begin(), out.bytes().end()};
}

Batch whole_batch() {
  Batch batch;
  SlotUpdate update{.slot = 1, .reset = true, .parent = -1};
  update.tables = {{.group = 0, .begin = 0, .blocks = {7, 8}}};
  update.sampling = SamplingParams{};
  update.sampling->logit_bias = {{4, -1.5F}};
  update.sampling->bad_words = {{1, 2}, {3}};
  update.sampling->bad = {"text"};
  update.sampling->stop = {"", "end"};
  update.sampling->seed = 1;
  update.sampling->logprobs = 2;
  update.end_ids = {2};
  update.history = {1, 2, 3};
  update.outputs = {9};
  batch.updates = {update, {.slot = 0}};
  batch.commands = {{CacheCommand::Kind::kSwapIn, 1, 2, 3}};
  batch.slots = {1, 0};
  batch.token_begin = {0, 1, 3};
  batch.cached_tokens = {5, 0};
  batch.sequence_length = {6, 2};
  batch.sample_row = {0, -1};
  batch.token_ids = {kLastSampledToken, 4, 5};
  batch.positions = {5, 0, 1};
  batch.logit_rows = {0};
  return batch;
}

WorkerDescription whole_description() {
  WorkerDescription told;
  told.options.taps = {"a", "b"};
  told.options.kv_cache.max_bytes = 5;
  told.traits.cache_layers = {{.kv_heads = 2, .head_dim = 4, .window = 0, .layer = 1}};
  told.groups = {{.window = 0, .blocks = 5, .host_blocks = 1, .disk_blocks = 2}};
  told.ledger_rows = {{MemoryKind::kCache, "cache", 5, 4}};
  told.text = "text";
  told.kernels = {{"linear", 3}};
  return told;
}

WorkerLoad whole_load() {
  WorkerLoad load{"/a/path", "identity", {}};
  load.options.max_seq_len = 77;
  load.options.taps = {"x"};
  load.options.executor.kv_cache.disk_cache_directory = "/tmp";
  return load;
}

/// What is read writes to no more bytes, which read and write alike.
template <class Value>
void read_both_ways(const Bytes& bytes, Value (*read)(const WorkerPacket&)) {
  const Bytes once = bytes_of(read(WorkerPacket{0, bytes}));
  if (once.size() > bytes.size() || bytes_of(read(WorkerPacket{0, once})) != once) std::abort();
}

Bytes edited(Bytes bytes, std::span<const std::byte> edits) {
  for (; edits.size() >= 3; edits = edits.subspan(3)) {
    const auto at = static_cast<std::size_t>(edits[0]) << 8U | static_cast<std::size_t>(edits[1]);
    if (at < bytes.size())
      bytes[at] = edits[2];
    else
      bytes.push_back(edits[2]);
  }
  return bytes;
}

/// `bytes` come in pieces, and then the end.
void receive_all(std::span<const std::byte> bytes) {
  std::array<int, 2> ends{};
  if (bytes.empty() || ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) return;
  WorkerChannel channel(ends[1]);
  const std::size_t piece = 1 + static_cast<std::size_t>(bytes[0]) * 16;
  bytes = bytes.subspan(1);
  std::size_t taken = 0;
  const auto receive = [&](WorkerChannel::Wait wait) {
    WorkerPacket packet;
    while (channel.receive(packet, wait) == WorkerChannel::Received::kPacket)
      taken += packet.bytes.size();
  };
  const std::size_t all = bytes.size();
  try {
    while (!bytes.empty()) {
      const auto now = bytes.first(std::min(piece, bytes.size()));
      if (::write(ends[0], now.data(), now.size()) != static_cast<ssize_t>(now.size()))
        std::abort();
      bytes = bytes.subspan(now.size());
      receive(WorkerChannel::Wait::kNo);
    }
  } catch (...) {
    ::close(ends[0]);
    throw;
  }
  ::close(ends[0]);
  receive(WorkerChannel::Wait::kYes);
  if (taken > all) std::abort();
}

/// Batches that read may still contradict themselves, and are refused before anything runs.
void verify_any(const Batch& batch) {
  try {
    verify(batch);
  } catch (const Error&) {
    return;
  }
}

void read_message(std::size_t kind, const Bytes& bytes) {
  switch (kind) {
    case 0: return read_both_ways(bytes, read_load);
    case 1: read_both_ways(bytes, read_batch); return verify_any(read_batch({0, bytes}));
    case 2: return read_both_ways(bytes, read_late_inputs);
    case 3: return read_both_ways(bytes, read_description);
    case 4: return read_both_ways(bytes, read_result);
    case 5: return read_both_ways(bytes, read_tensor);
    case 6: return read_both_ways(bytes, read_failure);
    default: return receive_all(bytes);
  }
}

Bytes whole_message(std::size_t kind) {
  switch (kind) {
    case 0: return bytes_of(whole_load());
    case 1: return bytes_of(whole_batch());
    case 2: return bytes_of(LateInputs{.allowed_tokens = {{1, 2}, {}}, .logits = {{}, {0.5F}}});
    case 3: return bytes_of(whole_description());
    case 4: {
      StepResult result;
      result.sequences = {
          {.tokens = {5}, .logprobs = {-0.5F}, .top_logprobs = {{{5, -0.5F}, {6, -2}}}}, {}};
      return bytes_of(result);
    }
    case 5: return bytes_of(Tensor::from_floats({2, 3}, std::vector<float>(6)));
    case 6: return bytes_of(WorkerFailure{ErrorCode::kCorrupt, "why", true});
    default: return {};
  }
}

}  // namespace
}  // namespace tenon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t kind = data[0] % 8;
  const bool edits = data[0] / 8 % 2 == 0 && kind != 7;
  const auto rest = tenon::FuzzInput{data + 1, size - 1}.bytes();
  return tenon::fuzz([&] {
    const tenon::Bytes bytes = edits ? tenon::edited(tenon::whole_message(kind), rest)
                                     : tenon::Bytes(rest.begin(), rest.end());
    tenon::read_message(kind, bytes);
  });
}
