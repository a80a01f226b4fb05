// SPDX-License-Identifier: Apache-2.0
#include "api/worker_messages.h"

#include <limits>

#include "tenon/version.h"

namespace tenon {

// fields(): every field of a struct by a structured binding, which does not compile any more once
// the struct has another number of them. A field that is not passed on says why.

constexpr ErrorCode last_of(ErrorCode) { return ErrorCode::kInternal; }
constexpr DataType last_of(DataType) { return DataType::kBool; }
constexpr MemoryKind last_of(MemoryKind) { return MemoryKind::kForeign; }
constexpr CacheCommand::Kind last_of(CacheCommand::Kind) {
  return CacheCommand::Kind::kMoveSwapped;
}

void fields(auto& codec, Like<Mapping> auto& value) {
  auto& [world, tp, pp, cp, moe_tp, moe_ep] = value;
  codec(world, tp, pp, cp, moe_tp, moe_ep);
}
void fields(auto& codec, Like<KvCacheConfig> auto& value) {
  auto& [block_reuse, partial_reuse, tokens, bytes, fraction, host, disk, directory, events,
         per_block] = value;
  codec(block_reuse, partial_reuse, tokens, bytes, fraction, host, disk, directory, events,
        per_block);
}
/// The scheduler and the queue are the program's own.
void fields(auto& codec, Like<ExecutorConfig> auto& value) {
  [[maybe_unused]] auto& [policy, chunking, chunk, queue, queue_tokens, queue_time, total_time,
                          beams, statistics, cache, worker, program] = value;
  codec(cache);
}
/// Text is the program's own.
void fields(auto& codec, Like<LlmOptions> auto& value) {
  [[maybe_unused]] auto& [mapping, device, threads, pin, batch, step_tokens, length, cache_tokens,
                          memory_limit, cache_type, activation_type, deterministic, context_logits,
                          isa, tactics, taps, chat_template, executor, cache_folder] = value;
  codec(mapping, device, threads, pin, batch, step_tokens, length, cache_tokens, memory_limit,
        cache_type, activation_type, deterministic, context_logits, isa, tactics, taps, executor,
        cache_folder);
}
void fields(auto& codec, Like<WorkerLoad> auto& value) {
  auto& [path, identity, options] = value;
  codec(path, identity, options);
}

void fields(auto& codec, Like<KernelPolicy> auto& value) {
  auto& [activation, deterministic, isa] = value;
  codec(activation, deterministic, isa);
}
/// Ranks of a worker are threads of it. What its kernels were measured to be is its own.
void fields(auto& codec, Like<SessionOptions> auto& value) {
  [[maybe_unused]] auto& [device, mapping, threads, pin, policy, cache_type, per_block, step_tokens,
                          sequences, length, input_length, all_logits, cache, limit, device_memory,
                          taps, tactics, program, communicators] = value;
  codec(device, mapping, threads, pin, policy, cache_type, per_block, step_tokens, sequences,
        length, input_length, all_logits, cache, limit, device_memory, taps, program);
}
void fields(auto& codec, Like<EngineTraits::CacheLayer> auto& value) {
  auto& [heads, head_dim, window, layer] = value;
  codec(heads, head_dim, window, layer);
}
void fields(auto& codec, Like<EngineTraits> auto& value) {
  auto& [layers, max_position, vocab, chunkable] = value;
  codec(layers, max_position, vocab, chunkable);
}
void fields(auto& codec, Like<Session::CacheGroup> auto& value) {
  auto& [window, blocks, host_blocks, disk_blocks] = value;
  codec(window, blocks, host_blocks, disk_blocks);
}
void fields(auto& codec, Like<Ledger::Row> auto& value) {
  auto& [kind, name, planned, drawn] = value;
  codec(kind, name, planned, drawn);
}
void fields(auto& codec, Like<WorkerDescription> auto& value) {
  auto& [options, traits, groups, device, limit, rows, text, kernels, keeps] = value;
  codec(options, traits, groups, device, limit, rows, text, kernels, keeps);
}
void fields(auto& codec, Like<WorkerFailure> auto& value) {
  auto& [code, message, device_lost] = value;
  codec(code, message, device_lost);
}

void fields(auto& codec, Like<SamplingParams> auto& value) {
  auto& [temperature, top_k, top_p, top_p_decay, top_p_min, top_p_reset, min_p, typical_p,
         repetition, presence, frequency, ignored, bias, ngram, bad_words, bad, seed, max_tokens,
         min_tokens, ignore_eos, stop, stop_ids, stop_words, include_stop, logprobs,
         prompt_logprobs, context_logits, generation_logits, n, best_of, beams, length_penalty,
         early_stopping, diversity] = value;
  codec(temperature, top_k, top_p, top_p_decay, top_p_min, top_p_reset, min_p, typical_p,
        repetition, presence, frequency, ignored, bias, ngram, bad_words, bad, seed, max_tokens,
        min_tokens, ignore_eos, stop, stop_ids, stop_words, include_stop, logprobs, prompt_logprobs,
        context_logits, generation_logits, n, best_of, beams, length_penalty, early_stopping,
        diversity);
}
void fields(auto& codec, Like<BlockTableChange> auto& value) {
  auto& [group, begin, blocks] = value;
  codec(group, begin, blocks);
}
void fields(auto& codec, Like<SlotUpdate> auto& value) {
  auto& [slot, reset, parent, tables, sampling, sample, ends, history, outputs] = value;
  codec(slot, reset, parent, tables, sampling, sample, ends, history, outputs);
}
void fields(auto& codec, Like<CacheCommand> auto& value) {
  auto& [kind, group, source, destination] = value;
  codec(kind, group, source, destination);
}
void fields(auto& codec, Like<Batch> auto& value) {
  auto& [updates, commands, slots, token_begin, cached, lengths, sample_row, tokens, positions,
         logit_rows, encoder_begin, watched] = value;
  codec(updates, commands, slots, token_begin, cached, lengths, sample_row, tokens, positions,
        logit_rows, encoder_begin, watched);
}
void fields(auto& codec, Like<LateInputs> auto& value) {
  auto& [allowed, logits] = value;
  codec(allowed, logits);
}
void fields(auto& codec, Like<TokenLogprob> auto& value) {
  auto& [token, logprob] = value;
  codec(token, logprob);
}
void fields(auto& codec, Like<SequenceResult> auto& value) {
  auto& [tokens, logprobs, top] = value;
  codec(tokens, logprobs, top);
}
void fields(auto& codec, Like<StepResult> auto& value) {
  auto& [sequences] = value;
  codec(sequences);
}

namespace {

template <class Value>
Value read_whole(const WorkerPacket& packet) {
  FieldReader in(packet.bytes);
  Value value;
  in(value);
  in.finish();
  return value;
}

}  // namespace

void write(FieldWriter& out, const WorkerLoad& load) { out(std::string(kVersion), load); }
void write(FieldWriter& out, const WorkerDescription& description) { out(description); }
void write(FieldWriter& out, const WorkerFailure& failure) { out(failure); }
void write(FieldWriter& out, const Batch& batch) { out(batch); }
void write(FieldWriter& out, const LateInputs& late) { out(late); }
void write(FieldWriter& out, const StepResult& result) { out(result); }

void write(FieldWriter& out, const Tensor& tensor) {
  out(tensor.dtype(), tensor.shape());
  out.put_bytes(tensor.data(), tensor.bytes());
}

WorkerLoad read_load(const WorkerPacket& packet) {
  FieldReader in(packet.bytes);
  std::string version;
  in(version);
  TENON_CHECK(version == kVersion, ErrorCode::kUnsupported,
              "the worker's program is Tenon {}, the one that started it is {}; name one of the "
              "same version as worker_executable",
              kVersion, version);
  WorkerLoad load;
  in(load);
  in.finish();
  return load;
}

WorkerDescription read_description(const WorkerPacket& packet) {
  return read_whole<WorkerDescription>(packet);
}
WorkerFailure read_failure(const WorkerPacket& packet) { return read_whole<WorkerFailure>(packet); }
Batch read_batch(const WorkerPacket& packet) { return read_whole<Batch>(packet); }
LateInputs read_late_inputs(const WorkerPacket& packet) { return read_whole<LateInputs>(packet); }
StepResult read_result(const WorkerPacket& packet) { return read_whole<StepResult>(packet); }

Tensor read_tensor(const WorkerPacket& packet) {
  FieldReader in(packet.bytes);
  TensorView view;
  in(view.dtype, view.shape);
  const auto bytes = static_cast<std::uint64_t>(byte_count(view.dtype, view.shape, "an output"));
  const auto taken = in.take_bytes(bytes);
  in.finish();
  Tensor tensor(view.dtype, view.shape);
  if (!taken.empty()) std::memcpy(tensor.mutable_data(), taken.data(), taken.size());
  return tensor;
}

}  // namespace tenon
