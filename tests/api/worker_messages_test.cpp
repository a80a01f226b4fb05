// Messages between a program and its worker: whole ones come out as they went in, and no byte that
// is missing or wrong does more than throw.
// SPDX-License-Identifier: Apache-2.0
#include "api/worker_messages.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <random>
#include <thread>

namespace tenon::test {
namespace {

Batch sample_batch() {
  Batch batch;
  SlotUpdate update{.slot = 3, .reset = true, .parent = 2};
  update.tables = {{.group = 1, .begin = 4, .blocks = {7, 8}}, {.group = 0, .begin = 0}};
  update.sampling = SamplingParams{};
  update.sampling->temperature = 0.5F;
  update.sampling->seed = 1234567890123;
  update.sampling->logit_bias = {{4, -1.5F}};
  update.sampling->bad_words = {{1, 2}, {3}};
  update.sampling->stop = {"", "end"};
  update.end_ids = {2};
  update.history = {1, 2, 3};
  update.outputs = {9};
  batch.updates = {update, {.slot = 1}};
  batch.commands = {{CacheCommand::Kind::kSwapIn, 1, 2, 3}};
  batch.slots = {3, 1};
  batch.token_begin = {0, 1, 3};
  batch.cached_tokens = {5, 0};
  batch.sequence_length = {6, 2};
  batch.sample_row = {0, -1};
  batch.token_ids = {kLastSampledToken, 4, 5};
  batch.positions = {5, 0, 1};
  batch.logit_rows = {0};
  return batch;
}

template <class Value>
WorkerPacket packet_of(const Value& value) {
  FieldWriter out;
  write(out, value);
  return {0, {out.bytes().begin(), out.bytes().end()}};
}

/// A whole value survives; each of its beginnings, and more than it, is refused.
template <class Value, class Reader>
void expect_exact(const Value& value, const Reader& reader) {
  const WorkerPacket whole = packet_of(value);
  EXPECT_EQ(packet_of(reader(whole)).bytes, whole.bytes);
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    WorkerPacket part = whole;
    part.bytes.resize(size);
    EXPECT_THROW(reader(part), Error) << size;
  }
  WorkerPacket more = whole;
  more.bytes.push_back(std::byte{0});
  EXPECT_THROW(reader(more), Error);
}

/// Any change of bytes gives a value or an error.
template <class Reader>
void expect_no_harm(const WorkerPacket& whole, const Reader& reader) {
  std::mt19937 random(3);
  for (int round = 0; round < 20'000; ++round) {
    WorkerPacket changed = whole;
    for (std::size_t n = 1 + random() % 3; n > 0; --n)
      changed.bytes[random() % changed.bytes.size()] = static_cast<std::byte>(random());
    try {
      reader(changed);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    }
  }
}

StepResult sample_result() {
  StepResult result;
  result.sequences = {{.tokens = {5}, .logprobs = {-0.5F}, .top_logprobs = {{{5, -0.5F}, {6, -2}}}},
                      {}};
  return result;
}

WorkerDescription sample_description() {
  WorkerDescription told;
  told.options.taps = {"a", "b"};
  told.options.cache_dtype = DataType::kBFloat16;
  told.options.mapping.tp_size = 2;
  told.options.kv_cache.max_bytes = 5;
  told.traits.cache_layers = {{.kv_heads = 2, .head_dim = 4, .window = 0, .layer = 1}};
  told.traits.vocab_size = 7;
  told.groups = {{.window = 0, .blocks = 5, .host_blocks = 1, .disk_blocks = 2}};
  told.ledger_device = "cpu";
  told.ledger_rows = {{MemoryKind::kCache, "cache", 5, 4}};
  told.text = "text";
  told.kernels = {{"linear", 3}};
  return told;
}

TEST(WorkerMessages, ComeOutAsTheyWentIn) {
  expect_exact(sample_batch(), read_batch);
  expect_exact(LateInputs{.allowed_tokens = {{1, 2}, {}}, .logits = {{}, {0.5F}}},
               read_late_inputs);
  expect_exact(sample_result(), read_result);
  expect_exact(sample_description(), read_description);
  expect_exact(WorkerFailure{ErrorCode::kCorrupt, "why", true}, read_failure);
  expect_exact(Tensor::from_floats({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}), read_tensor);
  WorkerLoad load{"/a/path", "identity", {}};
  load.options.device = "cpu";
  load.options.max_seq_len = 77;
  load.options.taps = {"x"};
  load.options.executor.kv_cache.disk_cache_directory = "/tmp";
  expect_exact(load, read_load);
  EXPECT_EQ(read_batch(packet_of(sample_batch())).updates[0].sampling,
            sample_batch().updates[0].sampling);
}

TEST(WorkerMessages, NoChangeOfBytesDoesHarm) {
  expect_no_harm(packet_of(sample_batch()), read_batch);
  expect_no_harm(packet_of(sample_result()), read_result);
  expect_no_harm(packet_of(sample_description()), read_description);
  expect_no_harm(packet_of(Tensor::from_floats({2, 3}, std::vector<float>(6))), read_tensor);
}

TEST(WorkerMessages, AnotherVersionsLoadIsRefused) {
  WorkerLoad load;
  load.path = "/a/path";
  WorkerPacket packet = packet_of(load);
  packet.bytes[8] = std::byte{'9'};  // after the length
  try {
    read_load(packet);
    ADD_FAILURE() << "read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("worker_executable"), std::string::npos);
  }
}

struct Ends {
  Ends() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets.data()), 0); }
  std::array<int, 2> sockets{};
};

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

TEST(WorkerChannel, CarriesMessagesOfAnySize) {
  const Ends ends;
  WorkerChannel here(ends.sockets[0]);
  WorkerChannel there(ends.sockets[1]);
  const std::vector<std::size_t> sizes = {
      0, 1, 15, 16, 17, 65'519, 65'520, 65'521, 65'536, 200'000, 3, 999'999, (17 << 20) + 1, 0};
  std::thread sender([&] {
    for (std::size_t i = 0; i < sizes.size(); ++i)
      EXPECT_TRUE(here.send(static_cast<std::uint32_t>(i), pattern(sizes[i])));
    here.shut_down();
  });
  WorkerPacket packet;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    ASSERT_EQ(there.receive(packet, WorkerChannel::Wait::kYes), WorkerChannel::Received::kPacket);
    EXPECT_EQ(packet.kind, i);
    EXPECT_TRUE(packet.bytes == pattern(sizes[i])) << sizes[i];
  }
  EXPECT_EQ(there.receive(packet, WorkerChannel::Wait::kYes), WorkerChannel::Received::kEnd);
  sender.join();
  EXPECT_FALSE(there.send(1, pattern(100'000)));
}

TEST(WorkerChannel, DoesNotWaitWhereItIsToldNotTo) {
  const Ends ends;
  WorkerChannel there(ends.sockets[1]);
  std::vector<std::byte> wire;
  {
    const Ends other;
    WorkerChannel writer(other.sockets[0]);
    EXPECT_TRUE(writer.send(4, pattern(100)));
    wire.resize(200);
    const ssize_t size = ::read(other.sockets[1], wire.data(), wire.size());
    wire.resize(static_cast<std::size_t>(size));
    ::close(other.sockets[1]);
  }
  WorkerPacket packet;
  for (std::size_t i = 0; i < wire.size(); ++i) {  // byte by byte
    EXPECT_EQ(there.receive(packet, WorkerChannel::Wait::kNo), WorkerChannel::Received::kNothing);
    ASSERT_EQ(::write(ends.sockets[0], &wire[i], 1), 1);
  }
  EXPECT_EQ(there.receive(packet, WorkerChannel::Wait::kNo), WorkerChannel::Received::kPacket);
  EXPECT_TRUE(packet.bytes == pattern(100));
  for (std::size_t size = 1; size < wire.size(); ++size) {  // every way to stop in the middle
    const Ends cut;
    WorkerChannel reader(cut.sockets[1]);
    ASSERT_EQ(::write(cut.sockets[0], wire.data(), size), static_cast<ssize_t>(size));
    ::close(cut.sockets[0]);
    EXPECT_THROW(reader.receive(packet, WorkerChannel::Wait::kYes), Error) << size;
  }
  ::close(ends.sockets[0]);
}

/// What one byte costs does not depend on how large the message is to become.
TEST(WorkerChannel, ALargeMessageMayComeInSmallPieces) {
  const Ends ends;
  WorkerChannel there(ends.sockets[1]);
  const std::array<std::uint64_t, 2> header = {0x6e6e6574ULL, std::uint64_t{64} << 20};
  ASSERT_EQ(::write(ends.sockets[0], header.data(), sizeof(header)), 16);
  WorkerPacket packet;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 4000; ++i) {
    ASSERT_EQ(::write(ends.sockets[0], &i, 1), 1);
    ASSERT_EQ(there.receive(packet, WorkerChannel::Wait::kNo), WorkerChannel::Received::kNothing);
  }
  // Making room anew for each would write 64 GB.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  ::close(ends.sockets[0]);
  EXPECT_THROW(there.receive(packet, WorkerChannel::Wait::kYes), Error);
}

TEST(WorkerChannel, AFalseSizeTakesNoMemory) {
  const Ends ends;
  WorkerChannel there(ends.sockets[1]);
  const std::array<std::uint64_t, 2> header = {0x66e6e6574ULL, std::uint64_t{1} << 35};
  ASSERT_EQ(::write(ends.sockets[0], header.data(), sizeof(header)), 16);
  ::close(ends.sockets[0]);
  WorkerPacket packet;
  EXPECT_THROW(there.receive(packet, WorkerChannel::Wait::kYes), Error);
}

}  // namespace
}  // namespace tenon::test
