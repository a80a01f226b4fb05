// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_executable.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/sampler.h"
#include "backends/kernel_report.h"
#include "core/check.h"
#include "core/current_work.h"
#include "core/half.h"

namespace tenon::cpu {
namespace {

std::int64_t whole_lines(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

std::int64_t value_bytes(const ProgramValue& value, const StepSizes& sizes) {
  return sizes.elements(value.type) * static_cast<std::int64_t>(size_of(value.type.dtype));
}

std::int64_t input_bytes(const ProgramDescription& program) {
  std::int64_t total = 0;
  for (const int input : program.inputs)
    total += whole_lines(
        value_bytes(program.values.at(static_cast<std::size_t>(input)), program.limits));
  return total;
}

int find_logits(const ProgramDescription& program) {
  for (const int output : program.outputs)
    if (program.values.at(static_cast<std::size_t>(output)).name == "logits") return output;
  return -1;
}

std::int64_t vocabulary_of(const ProgramDescription& program) {
  const int logits = find_logits(program);
  if (logits < 0) return 0;
  const ValueType& type = program.values[static_cast<std::size_t>(logits)].type;
  TENON_CHECK(
      type.dtype == DataType::kFloat32 && type.shape.size() == 2 && type.shape[1].is_constant(),
      ErrorCode::kUnsupported, "the sampler needs logits of float32 [L, vocabulary], not {}",
      to_string(type));
  return type.shape[1].extent;
}

class FinishedStep final : public StepHandle {
 public:
  FinishedStep(StepResult result, std::exception_ptr error)
      : result_(std::move(result)), error_(std::move(error)) {}
  bool ready() const override { return true; }
  const StepResult& wait() override {
    if (error_) std::rethrow_exception(error_);
    return result_;
  }

 private:
  StepResult result_;
  std::exception_ptr error_;
};

StepSizes sizes_of(const Batch& batch) {
  return {.tokens = batch.tokens(),
          .sequences = batch.sequences(),
          .logit_rows = static_cast<std::int64_t>(batch.logit_rows.size()),
          .encoder_tokens = batch.encoder_begin.empty() ? 0 : batch.encoder_begin.back()};
}

void check_limits(const StepSizes& step, const StepSizes& limits) {
  const auto check = [](const char* what, std::int64_t got, std::int64_t limit) {
    TENON_CHECK(got <= limit, ErrorCode::kInternal, "[step] {} {}, at most {} were planned", got,
                what, limit);
  };
  check("tokens", step.tokens, limits.tokens);
  check("sequences", step.sequences, limits.sequences);
  check("logit rows", step.logit_rows, limits.logit_rows);
  check("encoder tokens", step.encoder_tokens, limits.encoder_tokens);
}

}  // namespace

std::int64_t CpuExecutable::activation_bytes(const ProgramDescription& program) {
  return whole_lines(program.arena_bytes) + input_bytes(program);
}

std::int64_t CpuExecutable::sampler_bytes(const ProgramDescription& program, int threads) {
  return SamplerScratch::bytes(vocabulary_of(program)) * threads;
}

CpuExecutable::CpuExecutable(Parts parts)
    : parts_(std::move(parts)),
      logits_(find_logits(parts_.program)),
      vocabulary_(vocabulary_of(parts_.program)),
      isa_(isa_kernels(CpuFeatures::detect(parts_.program.policy.max_isa))),
      cache_(parts_.program.cache, parts_.program.swap_directory),
      slots_(parts_.program.slots, parts_.program.cache) {
  const auto allocate = [](std::int64_t bytes) {
    return allocate_aligned(static_cast<std::size_t>(std::max<std::int64_t>(bytes, 64)));
  };
  arena_ = allocate(parts_.program.arena_bytes);
  inputs_ = allocate(input_bytes(parts_.program));
  workspace_ = allocate(parts_.workspace_bytes);
  sampler_memory_ = allocate(sampler_bytes(parts_.program, parts_.pool->size()));
  place_values();
}

CpuExecutable::~CpuExecutable() {
  if (parts_.release) parts_.release();
}

void CpuExecutable::place_values() {
  const ProgramDescription& program = parts_.program;
  values_.assign(program.values.size(), nullptr);
  for (std::size_t i = 0; i < program.values.size(); ++i) {
    const ProgramValue& value = program.values[i];
    if (value.offset < 0) continue;
    TENON_CHECK(value.offset % 64 == 0 &&
                    value.offset + value_bytes(value, program.limits) <= program.arena_bytes,
                ErrorCode::kInternal, "[program {}] value \"{}\" does not fit its arena",
                program.name, value.name);
    values_[i] = arena_.get() + value.offset;
  }
  std::byte* next = inputs_.get();
  for (const int input : program.inputs) {
    const auto at = static_cast<std::size_t>(input);
    values_[at] = next;
    next += whole_lines(value_bytes(program.values[at], program.limits));
  }
  labels_ = node_labels(program, parts_.choices);
  node_inputs_.resize(program.nodes.size());
  node_outputs_.resize(program.nodes.size());
}

TensorRef CpuExecutable::at_step(int value) const {
  const auto at = static_cast<std::size_t>(value);
  const ValueType& type = parts_.program.values[at].type;
  TensorRef ref{values_[at], type.dtype, 1, 1};
  if (type.kind == ValueKind::kCache) return {nullptr, type.dtype, 0, 0};
  for (std::size_t d = 0; d + 1 < type.shape.size(); ++d) ref.rows *= sizes_.extent(type.shape[d]);
  if (!type.shape.empty()) ref.width = sizes_.extent(type.shape.back());
  return ref;
}

void CpuExecutable::prepare(const Batch& batch) {
  verify(batch);
  check_limits(sizes_of(batch), parts_.program.limits);
  slots_.apply(batch.updates);
  slots_.check_tables(batch);
  for (const CacheCommand& command : batch.commands) cache_.run(command);
  batch_ = batch;
}

void CpuExecutable::fill_inputs() {
  for (std::size_t s = 0; s < batch_.slots.size(); ++s)
    for (std::int32_t t = batch_.token_begin[s]; t < batch_.token_begin[s + 1]; ++t) {
      std::int32_t& id = batch_.token_ids[static_cast<std::size_t>(t)];
      if (id == kLastSampledToken) id = slots_.at(batch_.slots[s]).last_token;
      TENON_CHECK(id >= 0, ErrorCode::kInternal, "[step] slot {} has not sampled a token yet",
                  batch_.slots[s]);
    }
  for (const int input : parts_.program.inputs) {
    const auto at = static_cast<std::size_t>(input);
    const std::string& name = parts_.program.values[at].name;
    const std::vector<std::int32_t>* source = name == "token_ids"    ? &batch_.token_ids
                                              : name == "positions"  ? &batch_.positions
                                              : name == "logit_rows" ? &batch_.logit_rows
                                                                     : nullptr;
    TENON_CHECK(source != nullptr, ErrorCode::kUnsupported,
                "[program {}] no step fills an input \"{}\"", parts_.program.name, name);
    if (!source->empty())
      std::memcpy(values_[at], source->data(), source->size() * sizeof(std::int32_t));
  }
}

void CpuExecutable::run_nodes() {
  cache_.bind(slots_.tables(batch_));
  rope_.start_step();
  StepContext step{
      .pool = *parts_.pool,
      .batch = batch_,
      .cache = &cache_,
      .communicator = parts_.communicator,
      .workspace = {workspace_.get(), static_cast<std::size_t>(parts_.workspace_bytes)},
      .rope = &rope_};
  for (std::size_t i = 0; i < parts_.program.nodes.size(); ++i) {
    const ProgramNode& node = parts_.program.nodes[i];
    node_inputs_[i].clear();
    node_outputs_[i].clear();
    for (const int value : node.inputs) node_inputs_[i].push_back(at_step(value));
    for (const int value : node.outputs) node_outputs_[i].push_back(at_step(value));
    note_current_work(labels_[i].c_str());
    try {
      parts_.kernels[i]->run(node_inputs_[i], node_outputs_[i], step);
    } catch (const Error& error) {
      note_current_work(nullptr);
      fail(error.code(), "{}: {}", labels_[i], error.what());
    }
  }
  note_current_work(nullptr);
}

void CpuExecutable::forward() {
  sizes_ = sizes_of(batch_);  // not before: read() shows the step before until now
  error_ = nullptr;
  try {
    fill_inputs();
    run_nodes();
  } catch (...) {
    error_ = std::current_exception();
    if (parts_.communicator != nullptr) parts_.communicator->abort();
  }
}

void CpuExecutable::sample_sequence(std::int64_t sequence, const LateInputs& late, int worker,
                                    SequenceResult& result) const {
  const auto s = static_cast<std::size_t>(sequence);
  const auto vocabulary = static_cast<std::size_t>(vocabulary_);
  const auto row = static_cast<std::size_t>(batch_.sample_row[s]);
  std::span<const float> logits = {
      reinterpret_cast<const float*>(values_[static_cast<std::size_t>(logits_)]) + row * vocabulary,
      vocabulary};
  if (!late.logits.empty() && !late.logits[s].empty()) logits = late.logits[s];
  TENON_CHECK(logits.size() == vocabulary, ErrorCode::kInternal,
              "[step] {} logits were given for sequence {}, the vocabulary has {}", logits.size(),
              sequence, vocabulary);
  std::span<const std::uint32_t> allowed;
  if (!late.allowed_tokens.empty()) allowed = late.allowed_tokens[s];
  const SamplingState& state = slots_.at(batch_.slots[s]).sampling;
  const auto scratch = SamplerScratch::over(
      sampler_memory_.get() + worker * SamplerScratch::bytes(vocabulary_), vocabulary_, isa_);
  if (state.params.beam_width > 1) {
    result.top_logprobs = {continue_beam(logits, state, allowed, scratch)};
    return;
  }
  // The new token's place in its sequence, whatever part of the sequence this step held.
  const std::int64_t position =
      batch_.cached_tokens[s] + batch_.logit_rows[row] - batch_.token_begin[s] + 1;
  SampledToken sampled = sample_token(logits, state, position, allowed, scratch);
  if (sampled.token < 0) return;
  result.tokens = {sampled.token};
  if (!state.params.logprobs) return;
  result.logprobs = {sampled.logprob};
  result.top_logprobs = {std::move(sampled.top)};
}

std::shared_ptr<StepHandle> CpuExecutable::sample(const LateInputs& late) {
  StepResult result;
  result.sequences.resize(batch_.slots.size());
  if (!error_ && logits_ >= 0) try {
      TENON_ASSERT(late.allowed_tokens.empty() ||
                   late.allowed_tokens.size() == batch_.slots.size());
      TENON_ASSERT(late.logits.empty() || late.logits.size() == batch_.slots.size());
      parts_.pool->run(batch_.sequences(), [&](std::int64_t s, int worker) {
        const auto at = static_cast<std::size_t>(s);
        if (batch_.sample_row[at] >= 0) sample_sequence(s, late, worker, result.sequences[at]);
      });
      for (std::size_t s = 0; s < batch_.slots.size(); ++s)
        for (const std::int32_t token : result.sequences[s].tokens)
          slots_.record(batch_.slots[s], token);
    } catch (...) {
      error_ = std::current_exception();
    }
  return std::make_shared<FinishedStep>(std::move(result), error_);
}

Tensor CpuExecutable::read(std::string_view output) {
  if (error_) std::rethrow_exception(error_);
  std::string known;
  for (const int value : parts_.program.outputs) {
    const ProgramValue& entry = parts_.program.values[static_cast<std::size_t>(value)];
    if (entry.name != output) {
      known += known.empty() ? entry.name : ", " + entry.name;
      continue;
    }
    Shape shape;
    for (const Dim& dim : entry.type.shape) shape.push_back(sizes_.extent(dim));
    const TensorRef ref = at_step(value);
    const bool integer = entry.type.dtype == DataType::kInt32;
    Tensor out(integer ? DataType::kInt32 : DataType::kFloat32, shape);
    const auto count = static_cast<std::size_t>(ref.rows * ref.width);
    if (integer || entry.type.dtype == DataType::kFloat32)
      std::memcpy(out.mutable_data(), ref.data, count * 4);
    else
      convert_to_float(entry.type.dtype, ref.data, out.mutable_as<float>(), count);
    return out;
  }
  fail(ErrorCode::kNotFound, "program {} has no output \"{}\"; it has {}", parts_.program.name,
       output, known);
}

}  // namespace tenon::cpu
