// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_executable.h"

#include <algorithm>

#include "backends/kernel_report.h"
#include "core/check.h"
#include "core/half.h"

namespace tenon::cuda {
namespace {

constexpr std::size_t kUploads = 3;

std::int64_t value_bytes(const ProgramValue& value, const StepSizes& sizes) {
  return sizes.elements(value.type) * static_cast<std::int64_t>(size_of(value.type.dtype));
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

SamplerSizes sampler_sizes(const ProgramDescription& program) {
  std::int64_t length = program.sequence_length;
  if (length == 0)
    for (const CacheGroupDescription& group : program.cache)
      length = std::max(length, group.blocks * group.tokens_per_block);
  return {.slots = program.slots,
          .sequences = program.limits.sequences,
          .vocabulary = vocabulary_of(program),
          .sequence_length = length};
}

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

std::vector<const std::int32_t*> table_places(const StepState& state, std::size_t groups) {
  std::vector<const std::int32_t*> out;
  for (std::size_t g = 0; g < groups; ++g) out.push_back(state.tables(g));
  return out;
}

}  // namespace

std::int64_t CudaExecutable::state_bytes(const ProgramDescription& program) {
  return StepState::bytes(program) + Sampler::bytes(sampler_sizes(program));
}

std::int64_t CudaExecutable::workspace_bytes(std::int64_t kernels, const DeviceFeatures& features) {
  return aligned(kernels) + (features.cublaslt ? CublasLt::kWorkspaceBytes : 0);
}

CudaExecutable::CudaExecutable(Parts parts)
    : parts_(std::move(parts)),
      logits_(find_logits(parts_.program)),
      vocabulary_(vocabulary_of(parts_.program)),
      arena_(aligned(parts_.program.arena_bytes), "activations"),
      workspace_(aligned(parts_.workspace_bytes), "kernels' workspace"),
      blas_workspace_(parts_.features.cublaslt ? CublasLt::kWorkspaceBytes : 0,
                      "cuBLASLt's workspace"),
      state_(parts_.program),
      tables_(parts_.program.slots, parts_.program.cache, StepState::table_stride(parts_.program)),
      cache_(parts_.program.cache, table_places(state_, parts_.program.cache.size()),
             StepState::table_stride(parts_.program), parts_.program.swap_directory),
      sampler_(sampler_sizes(parts_.program), state_.last_tokens()),
      uploads_(kUploads),
      results_(std::make_shared<ResultPool>(parts_.program.limits.sequences)) {
  if (parts_.features.cublaslt) blas_ = std::make_unique<CublasLt>(blas_workspace_.data());
  place_values();
  labels_ = node_labels(parts_.program, parts_.choices);
  check(cudaDeviceSynchronize(), "load a program");  // memory set on the default stream
}

CudaExecutable::~CudaExecutable() {
  cudaStreamSynchronize(stream_.get());  // nothing may run on memory that goes
  if (parts_.release) parts_.release();
}

void CudaExecutable::place_values() {
  const ProgramDescription& program = parts_.program;
  values_.assign(program.values.size(), nullptr);
  for (std::size_t i = 0; i < program.values.size(); ++i) {
    const ProgramValue& value = program.values[i];
    if (value.offset < 0) continue;
    TENON_CHECK(value.offset % 64 == 0 &&
                    value.offset + value_bytes(value, program.limits) <= program.arena_bytes,
                ErrorCode::kInternal, "[program {}] value \"{}\" does not fit its arena",
                program.name, value.name);
    values_[i] = arena_.data() + value.offset;
  }
  const StepView& view = state_.view();
  for (const int input : program.inputs) {
    const auto at = static_cast<std::size_t>(input);
    const std::string& name = program.values[at].name;
    const std::int32_t* source = name == "token_ids"    ? view.token_ids
                                 : name == "positions"  ? view.positions
                                 : name == "logit_rows" ? view.logit_rows
                                                        : nullptr;
    TENON_CHECK(source != nullptr, ErrorCode::kUnsupported,
                "[program {}] no step fills an input \"{}\"", program.name, name);
    values_[at] = reinterpret_cast<std::byte*>(const_cast<std::int32_t*>(source));
  }
}

TensorRef CudaExecutable::at_step(int value, const StepSizes& sizes) const {
  const auto at = static_cast<std::size_t>(value);
  const ValueType& type = parts_.program.values[at].type;
  if (type.kind == ValueKind::kCache) return {nullptr, type.dtype, 0, 0};
  TensorRef ref{values_[at], parts_.storage[at], 1, 1};
  for (std::size_t d = 0; d + 1 < type.shape.size(); ++d) ref.rows *= sizes.extent(type.shape[d]);
  if (!type.shape.empty()) ref.width = sizes.extent(type.shape.back());
  return ref;
}

// A token for each sequence, and a row of logits for each token: what is recorded.
bool CudaExecutable::is_decode(const Batch& batch) const {
  const std::int64_t sequences = batch.sequences();
  if (!parts_.recordable || sequences == 0 || batch.tokens() != sequences) return false;
  if (static_cast<std::int64_t>(batch.logit_rows.size()) != sequences) return false;
  for (std::int64_t s = 0; s < sequences; ++s)
    if (batch.token_begin[static_cast<std::size_t>(s)] != s) return false;
  return batch.encoder_begin.empty();
}

StepSizes CudaExecutable::padded_sizes(const Batch& batch) const {
  const StepSizes& limits = parts_.program.limits;
  if (!is_decode(batch)) return sizes_of(batch);
  const std::int64_t limit = std::min({limits.tokens, limits.sequences, limits.logit_rows});
  const std::int64_t bucket = decode_bucket(batch.sequences(), limit);
  return {.tokens = bucket, .sequences = bucket, .logit_rows = bucket};
}

void CudaExecutable::prepare(const Batch& batch) {
  const DeviceGuard guard(parts_.features.device);
  verify(batch);
  check_limits(sizes_of(batch), parts_.program.limits);
  if (vocabulary_ > 0) sampler_.take(batch.updates);
  const std::vector<TableChange> changes = tables_.apply(batch.updates);
  unsent_changes_.insert(unsent_changes_.end(), changes.begin(), changes.end());
  tables_.merge(unsent_changes_);
  tables_.check(batch);
  if (logits_ >= 0) tables_.mark_sampled(batch);
  next_.upload = next_upload_;
  next_upload_ = (next_upload_ + 1) % kUploads;
  Upload& upload = uploads_[next_.upload];
  upload.clear();
  next_.pieces = StepState::encode(batch, unsent_changes_, padded_sizes(batch), upload);
  if (vocabulary_ > 0) next_.sampler = sampler_.encode(batch, upload);
  next_.batch = batch;
  next_.watched = parts_.watched || batch.watched;
}

StepContext CudaExecutable::context() const {
  const Batch& batch = step_.batch;
  StepContext step;
  step.stream = stream_.get();
  step.view = state_.view();
  step.sizes = step_.pieces.padded;
  step.cache = &cache_;
  step.communicator = parts_.communicator;
  step.workspace = workspace_.data();
  step.workspace_bytes = workspace_.bytes();
  step.features = &parts_.features;
  step.cublaslt = blas_.get();
  if (is_decode(batch)) {
    step.decodes = step.sizes.sequences;
    step.longest_context = std::int64_t{StepState::table_stride(parts_.program)};
    std::int64_t block = 1;
    for (const CacheGroupDescription& group : parts_.program.cache)
      block = std::max(block, group.tokens_per_block);
    step.longest_context *= block;
    return step;
  }
  bool leading = true;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const std::int64_t tokens = batch.token_begin[s + 1] - batch.token_begin[s];
    leading = leading && tokens == 1;
    if (leading) ++step.decodes;
    step.longest_chunk = std::max(step.longest_chunk, tokens);
    step.longest_context = std::max(step.longest_context, batch.cached_tokens[s] + tokens);
  }
  return step;
}

void CudaExecutable::run_nodes(const StepContext& step) {
  std::vector<TensorRef> inputs;
  std::vector<TensorRef> outputs;
  for (std::size_t i = 0; i < parts_.program.nodes.size(); ++i) {
    const ProgramNode& node = parts_.program.nodes[i];
    inputs.clear();
    outputs.clear();
    for (const int value : node.inputs) inputs.push_back(at_step(value, step.sizes));
    for (const int value : node.outputs) outputs.push_back(at_step(value, step.sizes));
    try {
      parts_.kernels[i]->launch(inputs, outputs, step);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", labels_[i], error.what());
    }
    watch(labels_[i]);
  }
}

// What the device reports, it reports to whoever waits next: in a watched step that is here.
void CudaExecutable::watch(const std::string& what) const {
  if (!step_.watched) return;
  try {
    stream_.synchronize();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", what, error.what());
  }
}

void CudaExecutable::forward() {
  step_ = std::move(next_);
  next_ = {};
  error_ = nullptr;
  try {
    const DeviceGuard guard(parts_.features.device);
    Upload& upload = uploads_[step_.upload];
    upload.send(stream_.get());
    for (const CacheCommand& command : step_.batch.commands) cache_.run(command, stream_.get());
    state_.apply_tables(step_.pieces, upload, stream_.get());
    if (vocabulary_ > 0) sampler_.apply(step_.sampler, upload, stream_.get());
    state_.fill(step_.pieces, upload, stream_.get());
    unsent_changes_.clear();
    watch("[step] cache blocks, tables and inputs");
    const StepContext step = context();
    if (is_decode(step_.batch) && !step_.watched)
      recorded_.run(step.sizes.sequences, stream_.get(), [&] { run_nodes(step); });
    else
      run_nodes(step);
  } catch (...) {
    error_ = std::current_exception();
    if (parts_.communicator != nullptr) parts_.communicator->abort();
  }
}

std::shared_ptr<StepHandle> CudaExecutable::sample(const LateInputs& late) {
  const std::size_t sequences = step_.batch.slots.size();
  std::shared_ptr<ResultPlace> place;
  if (!error_) try {
      const DeviceGuard guard(parts_.features.device);
      place = results_->take();
      if (logits_ >= 0)
        sampler_.sample(reinterpret_cast<const float*>(values_[static_cast<std::size_t>(logits_)]),
                        state_.view(), step_.batch, step_.sampler, uploads_[step_.upload], late,
                        *place, stream_.get());
      else
        std::fill_n(place->memory.as<SampledSequence>(), sequences, SampledSequence{});
      watch("[sampler]");
      place->ready.record(stream_.get());
    } catch (...) {
      error_ = std::current_exception();
    }
  return std::make_shared<CudaStep>(std::move(place), sequences, cache_.faults(), error_);
}

Tensor CudaExecutable::read(std::string_view output) {
  if (error_) std::rethrow_exception(error_);
  const DeviceGuard guard(parts_.features.device);
  std::string known;
  for (const int value : parts_.program.outputs) {
    const ProgramValue& entry = parts_.program.values[static_cast<std::size_t>(value)];
    if (entry.name != output) {
      known += known.empty() ? entry.name : ", " + entry.name;
      continue;
    }
    const StepSizes sizes = sizes_of(step_.batch);
    Shape shape;
    for (const Dim& dim : entry.type.shape) shape.push_back(sizes.extent(dim));
    const TensorRef ref = at_step(value, sizes);
    Tensor raw(ref.dtype, shape);
    check(cudaMemcpyAsync(raw.mutable_data(), ref.data, raw.bytes(), cudaMemcpyDeviceToHost,
                          stream_.get()),
          "read an output");
    stream_.synchronize();
    cache_.faults()->raise();
    if (ref.dtype == DataType::kInt32 || ref.dtype == DataType::kFloat32) return raw;
    Tensor out(DataType::kFloat32, shape);
    convert_to_float(ref.dtype, raw.data(), out.mutable_as<float>(),
                     static_cast<std::size_t>(ref.elements()));
    return out;
  }
  fail(ErrorCode::kNotFound, "program {} has no output \"{}\"; it has {}", parts_.program.name,
       output, known);
}

}  // namespace tenon::cuda
