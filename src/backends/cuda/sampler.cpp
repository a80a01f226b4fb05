// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/sampler.h"

#include <algorithm>

#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kInt = sizeof(std::int32_t);

SlotSampling to_device(const SamplingParams& params, const SlotUpdate& update) {
  const auto unsupported = [](bool wanted, const char* what) {
    TENON_CHECK(!wanted, ErrorCode::kUnsupported,
                "the CUDA sampler does not serve {} yet; leave it out, or use --device cpu", what);
  };
  unsupported(params.top_p_decay != 1.F, "top_p_decay");
  unsupported(params.typical_p != 1.F, "typical_p");
  unsupported(!params.logit_bias.empty(), "logit_bias");
  unsupported(params.no_repeat_ngram_size != 0, "no_repeat_ngram_size");
  unsupported(!params.bad_words.empty() || !params.bad.empty(), "bad words");
  unsupported(params.beam_width > 1, "beam search");
  TENON_CHECK(update.end_ids.size() <= kMaxEndIds, ErrorCode::kUnsupported,
              "the CUDA sampler holds {} end ids at most, not {}", kMaxEndIds,
              update.end_ids.size());
  TENON_CHECK(params.logprobs.value_or(0) <= kMaxTopLogprobs, ErrorCode::kUnsupported,
              "the CUDA sampler gives {} top log-probabilities at most, not {}", kMaxTopLogprobs,
              params.logprobs.value_or(0));
  SlotSampling out;
  out.temperature = params.temperature;
  out.top_p = params.top_p;
  out.min_p = params.min_p;
  out.repetition_penalty = params.repetition_penalty;
  out.presence_penalty = params.presence_penalty;
  out.frequency_penalty = params.frequency_penalty;
  out.top_k = params.top_k;
  out.logprobs = params.logprobs.value_or(-1);
  out.min_tokens = params.min_tokens;
  out.sample_index = update.sample_index;
  out.seed = params.seed.value_or(0);
  out.end_count = static_cast<std::int32_t>(update.end_ids.size());
  std::copy(update.end_ids.begin(), update.end_ids.end(), out.end_ids);
  return out;
}

std::int64_t row_of(std::int64_t vocabulary, std::size_t element) {
  return vocabulary * static_cast<std::int64_t>(element);
}

}  // namespace

std::int64_t Sampler::bytes(std::int64_t slots, std::int64_t sequences, std::int64_t vocabulary) {
  if (vocabulary == 0) return 0;
  return aligned(slots * static_cast<std::int64_t>(sizeof(SlotSampling))) + aligned(slots * kInt) +
         aligned(slots * row_of(vocabulary, sizeof(TokenUse))) +
         aligned(sequences * row_of(vocabulary, sizeof(float))) +
         aligned(sequences * row_of(vocabulary, sizeof(std::uint64_t))) +
         aligned(2 * sequences * kInt) +
         aligned(sequences * static_cast<std::int64_t>(sizeof(SampledSequence)));
}

Sampler::Sampler(std::int64_t slots, std::int64_t sequences, std::int64_t vocabulary,
                 std::int32_t* last_tokens)
    : sequences_(sequences), memory_(bytes(slots, sequences, vocabulary), "the sampler") {
  if (vocabulary == 0) return;
  cuda::check(cudaMemset(memory_.data(), 0, static_cast<std::size_t>(memory_.bytes())),
              "clear slots");
  std::byte* next = memory_.data();
  const auto take = [&next](std::int64_t bytes) {
    std::byte* const at = next;
    next += aligned(bytes);
    return at;
  };
  slots_.sampling = reinterpret_cast<SlotSampling*>(
      take(slots * static_cast<std::int64_t>(sizeof(SlotSampling))));
  slots_.output_count = reinterpret_cast<std::int32_t*>(take(slots * kInt));
  slots_.used = reinterpret_cast<TokenUse*>(take(slots * row_of(vocabulary, sizeof(TokenUse))));
  slots_.last_token = last_tokens;
  slots_.vocabulary = static_cast<std::int32_t>(vocabulary);
  processed_ = reinterpret_cast<float*>(take(sequences * row_of(vocabulary, sizeof(float))));
  candidates_ =
      reinterpret_cast<std::uint64_t*>(take(sequences * row_of(vocabulary, sizeof(std::uint64_t))));
  parent_state_ = reinterpret_cast<std::int32_t*>(take(2 * sequences * kInt));
  results_ = reinterpret_cast<SampledSequence*>(
      take(sequences * static_cast<std::int64_t>(sizeof(SampledSequence))));
}

void Sampler::check(std::span<const SlotUpdate> updates) {
  for (const SlotUpdate& update : updates)
    if (update.sampling) to_device(*update.sampling, update);
}

SamplerPieces Sampler::encode(std::span<const SlotUpdate> updates, Upload& upload) const {
  SamplerPieces out;
  std::vector<SlotChange> changes;
  std::vector<SlotSampling> sampling;
  std::vector<std::int32_t> tokens;
  const auto append = [&tokens](const std::vector<std::int32_t>& more) {
    const auto at = static_cast<std::int32_t>(tokens.size());
    tokens.insert(tokens.end(), more.begin(), more.end());
    return at;
  };
  for (const SlotUpdate& update : updates) {
    SlotChange change;
    change.slot = update.slot;
    change.reset = update.reset ? 1 : 0;
    if (update.parent >= 0) {
      TENON_CHECK(out.parents < sequences_, ErrorCode::kInternal,
                  "[slots] more than {} slots take over from others in one step", sequences_);
      change.parent = update.parent;
      change.copy = out.parents++;
    }
    if (update.sampling) {
      change.sampling = static_cast<std::int32_t>(sampling.size());
      sampling.push_back(to_device(*update.sampling, update));
      change.history_ignored = update.sampling->prompt_ignore_length;
    }
    change.history = append(update.history);
    change.history_count = static_cast<std::int32_t>(update.history.size());
    change.outputs = append(update.outputs);
    change.output_count = static_cast<std::int32_t>(update.outputs.size());
    changes.push_back(change);
  }
  out.count = static_cast<std::int32_t>(changes.size());
  out.changes = upload.add(changes);
  out.sampling = upload.add(sampling);
  out.tokens = upload.add(tokens);
  return out;
}

void Sampler::apply(const SamplerPieces& pieces, const Upload& upload, cudaStream_t stream) const {
  SlotChanges changes;
  changes.changes = upload.device<SlotChange>(pieces.changes);
  changes.sampling = upload.device<SlotSampling>(pieces.sampling);
  changes.tokens = upload.device<std::int32_t>(pieces.tokens);
  changes.parent_copies = reinterpret_cast<TokenUse*>(processed_);
  changes.parent_state = parent_state_;
  changes.count = pieces.count;
  changes.parents = pieces.parents;
  launch_slot_changes(slots_, changes, stream);
}

void Sampler::sample(const float* logits, const StepView& view, const Batch& batch,
                     const LateInputs& late, SampledSequence* host, cudaStream_t stream) {
  const auto sequences = batch.slots.size();
  TENON_ASSERT(late.allowed_tokens.empty() || late.allowed_tokens.size() == sequences);
  TENON_ASSERT(late.logits.empty() || late.logits.size() == sequences);
  SampleArguments a;
  a.logits = logits;
  a.view = view;
  a.slots = slots_;
  a.processed = processed_;
  a.candidates = candidates_;
  a.results = results_;
  a.sequences = static_cast<std::int32_t>(sequences);

  Upload& upload = late_[next_];
  next_ = 1 - next_;
  upload.clear();
  std::vector<std::int32_t> mask_offsets(sequences, -1);
  std::vector<std::int32_t> mask_words(sequences, 0);
  std::vector<std::uint32_t> masks;
  for (std::size_t s = 0; s < late.allowed_tokens.size(); ++s) {
    const auto& mask = late.allowed_tokens[s];
    if (mask.empty()) continue;
    mask_offsets[s] = static_cast<std::int32_t>(masks.size());
    mask_words[s] = static_cast<std::int32_t>(mask.size());
    masks.insert(masks.end(), mask.begin(), mask.end());
  }
  std::vector<std::int64_t> logit_offsets(sequences, -1);
  std::vector<float> own;
  for (std::size_t s = 0; s < late.logits.size(); ++s) {
    if (late.logits[s].empty()) continue;
    TENON_CHECK(static_cast<std::int32_t>(late.logits[s].size()) == slots_.vocabulary,
                ErrorCode::kInternal, "[sample] {} logits for a vocabulary of {}",
                late.logits[s].size(), slots_.vocabulary);
    logit_offsets[s] = static_cast<std::int64_t>(own.size());
    own.insert(own.end(), late.logits[s].begin(), late.logits[s].end());
  }
  if (!masks.empty() || !own.empty()) {
    const std::int64_t at_masks = upload.add(masks);
    const std::int64_t at_offsets = upload.add(mask_offsets);
    const std::int64_t at_words = upload.add(mask_words);
    const std::int64_t at_own = upload.add(own);
    const std::int64_t at_logits = upload.add(logit_offsets);
    upload.send(stream);
    if (!masks.empty()) {
      a.masks = upload.device<std::uint32_t>(at_masks);
      a.mask_offsets = upload.device<std::int32_t>(at_offsets);
      a.mask_words = upload.device<std::int32_t>(at_words);
    }
    if (!own.empty()) {
      a.own_logits = upload.device<float>(at_own);
      a.logit_offsets = upload.device<std::int64_t>(at_logits);
    }
  }
  launch_sampler(a, stream);
  if (sequences > 0)
    cuda::check(cudaMemcpyAsync(host, results_, sequences * sizeof(SampledSequence),
                                cudaMemcpyDeviceToHost, stream),
                "fetch tokens");
}

SequenceResult to_result(const SampledSequence& sampled) {
  SequenceResult out;
  if (sampled.token < 0) return out;
  out.tokens = {sampled.token};
  if (sampled.top_count < 0) return out;
  out.logprobs = {sampled.logprob};
  out.top_logprobs.emplace_back();
  for (std::int32_t i = 0; i < sampled.top_count; ++i)
    out.top_logprobs[0].push_back({sampled.top_tokens[i], sampled.top_logprobs[i]});
  return out;
}

}  // namespace tenon::cuda
