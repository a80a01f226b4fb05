// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/sampler.h"

#include <algorithm>
#include <bit>

#include "core/check.h"

namespace tenon::cuda {
namespace {

template <class T>
std::int64_t bytes_of(std::int64_t count) {
  return aligned(count * static_cast<std::int64_t>(sizeof(T)));
}

// One more than a sequence has: the last token that is sampled is never fed back.
std::int64_t order_stride(const SamplerSizes& sizes) { return sizes.sequence_length + 1; }

/// Cuts typed pieces off a buffer.
class Carver {
 public:
  explicit Carver(std::byte* memory) : next_(memory) {}
  template <class T>
  T* take(std::int64_t count) {
    auto* const at = reinterpret_cast<T*>(next_);
    next_ += bytes_of<T>(count);
    return at;
  }

 private:
  std::byte* next_;
};

std::int32_t size_of_list(std::size_t count) { return static_cast<std::int32_t>(count); }

SlotSampling scalars_of(const SamplingParams& params, const SlotUpdate& update,
                        const HistoryChange& history, std::int64_t vocabulary) {
  SlotSampling out;
  out.temperature = params.temperature;
  out.top_p = params.top_p;
  out.top_p_decay = params.top_p_decay;
  out.top_p_min = params.top_p_min;
  out.min_p = params.min_p;
  out.typical_p = params.typical_p;
  out.repetition_penalty = params.repetition_penalty;
  out.presence_penalty = params.presence_penalty;
  out.frequency_penalty = params.frequency_penalty;
  out.top_p_reset_id = params.top_p_reset_id.value_or(-1);
  out.top_k = params.top_k;
  out.min_tokens = params.min_tokens;
  out.no_repeat_ngram_size = params.no_repeat_ngram_size;
  out.sample_index = update.sample_index;
  out.seed = params.seed.value_or(0);
  out.logprobs = params.logprobs ? 1 : 0;
  out.beam = params.beam_width > 1 ? 1 : 0;
  out.top_count = listed_tokens(params, update.end_ids.size(), vocabulary);
  out.keeps_use = history.keeps_use ? 1 : 0;
  out.keeps_order = history.keeps_order ? 1 : 0;
  return out;
}

/// SlotSampling::lists, with their sizes.
std::vector<std::int32_t> lists_for(const SamplingParams& params, const SlotUpdate& update,
                                    std::int64_t vocabulary, SlotSampling& out) {
  std::vector<std::int32_t> ends;
  if (params.min_tokens > 0)
    for (const std::int32_t id : update.end_ids)
      if (id >= 0 && id < vocabulary) ends.push_back(id);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  std::vector<std::int32_t> lists = ends;
  lists.resize(2 * ends.size());  // room to put logits back from
  out.end_count = size_of_list(ends.size());
  out.bias_count = size_of_list(params.logit_bias.size());
  for (const auto& [token, bias] : params.logit_bias) lists.push_back(token);
  for (const auto& [token, bias] : params.logit_bias)
    lists.push_back(std::bit_cast<std::int32_t>(bias));
  out.word_count = size_of_list(params.bad_words.size());
  std::size_t end = 0;
  for (const auto& word : params.bad_words) lists.push_back(size_of_list(end += word.size()));
  for (const auto& word : params.bad_words) lists.insert(lists.end(), word.begin(), word.end());
  return lists;
}

}  // namespace

std::int64_t Sampler::bytes(const SamplerSizes& sizes) {
  if (sizes.vocabulary == 0) return 0;
  return bytes_of<SlotSampling>(sizes.slots) + bytes_of<SlotCounts>(sizes.slots) +
         bytes_of<TokenUse>(sizes.slots * sizes.vocabulary) +
         bytes_of<std::int32_t>(sizes.slots * order_stride(sizes)) +
         bytes_of<float>(sizes.sequences * sizes.vocabulary);
}

Sampler::Sampler(const SamplerSizes& sizes, std::int32_t* last_tokens)
    : sizes_(sizes),
      histories_(sizes.slots, sizes.vocabulary, order_stride(sizes)),
      memory_(bytes(sizes), "the sampler"),
      lists_(static_cast<std::size_t>(sizes.slots)) {
  if (sizes.vocabulary == 0) return;
  check(cudaMemset(memory_.data(), 0, static_cast<std::size_t>(memory_.bytes())), "clear slots");
  // Only queued by then, and the steps' streams do not wait for the default one.
  check(cudaStreamSynchronize(nullptr), "clear slots");
  Carver carver(memory_.data());
  slots_.sampling = carver.take<SlotSampling>(sizes.slots);
  slots_.counts = carver.take<SlotCounts>(sizes.slots);
  slots_.used = carver.take<TokenUse>(sizes.slots * sizes.vocabulary);
  slots_.order = carver.take<std::int32_t>(sizes.slots * order_stride(sizes));
  processed_ = carver.take<float>(sizes.sequences * sizes.vocabulary);
  slots_.last_token = last_tokens;
  slots_.vocabulary = static_cast<std::int32_t>(sizes.vocabulary);
  slots_.order_stride = static_cast<std::int32_t>(order_stride(sizes));
}

void Sampler::take(std::span<const SlotUpdate> updates) {
  if (updates.empty()) return;
  std::vector<HistoryChange> histories = histories_.apply(updates);
  unsent_.push_back({{updates.begin(), updates.end()}, std::move(histories)});
}

std::int32_t* Sampler::lists_of(std::int32_t slot, std::size_t integers) {
  DeviceBuffer& buffer = lists_[static_cast<std::size_t>(slot)];
  const std::int64_t bytes = bytes_of<std::int32_t>(static_cast<std::int64_t>(integers));
  // Freeing waits for the steps that read the one before.
  if (bytes > buffer.bytes())
    buffer = DeviceBuffer(std::max(bytes, 2 * buffer.bytes()), "a request's sampling lists");
  return buffer.as<std::int32_t>();
}

void Sampler::reserve_copies(std::int64_t parents) {
  if (parents <= copied_parents_) return;
  const std::int64_t room = std::max(parents, sizes_.sequences);
  copies_ = DeviceBuffer(bytes_of<TokenUse>(room * sizes_.vocabulary) +
                             bytes_of<std::int32_t>(room * order_stride(sizes_)) +
                             bytes_of<SlotCounts>(room) + bytes_of<std::int32_t>(room),
                         "beams' histories");
  copied_parents_ = room;
}

/// What encode() gathers before it goes into the upload.
struct Sampler::Encoder {
  Sampler& sampler;
  SamplerPieces pieces;
  std::vector<SlotChange> changes;
  std::vector<SlotSampling> sampling;
  std::vector<std::int32_t> integers;

  std::int32_t append(const std::vector<std::int32_t>& more) {
    const auto at = static_cast<std::int32_t>(integers.size());
    integers.insert(integers.end(), more.begin(), more.end());
    return at;
  }

  void add_parameters(const SlotUpdate& update, const HistoryChange& history, SlotChange& change) {
    const SamplingParams params = update.sampling.value_or(SamplingParams{});
    SlotSampling out = scalars_of(params, update, history, sampler.sizes_.vocabulary);
    const std::vector<std::int32_t> lists =
        lists_for(params, update, sampler.sizes_.vocabulary, out);
    out.lists = sampler.lists_of(update.slot, lists.size());
    change.lists = append(lists);
    change.lists_count = static_cast<std::int32_t>(lists.size());
    change.sampling = static_cast<std::int32_t>(sampling.size());
    sampling.push_back(out);
  }

  void add(const SlotUpdate& update, const HistoryChange& history, SamplerPieces::Group& group) {
    SlotChange change;
    change.slot = update.slot;
    change.reset = update.reset ? 1 : 0;
    if (update.parent >= 0) {
      change.parent = update.parent;
      change.copy = group.parents++;
    }
    change.clears_use = history.clears_use ? 1 : 0;
    change.takes_use = history.takes_use ? 1 : 0;
    change.takes_order = history.takes_order ? 1 : 0;
    if (update.sampling || update.reset) add_parameters(update, history, change);
    if (history.keeps_use || history.keeps_order) {
      change.history = append(update.history);
      change.history_count = static_cast<std::int32_t>(update.history.size());
      change.history_ignored = history.history_ignored;
    }
    change.outputs = append(update.outputs);
    change.output_count = static_cast<std::int32_t>(update.outputs.size());
    changes.push_back(change);
    ++group.count;
  }
};

SamplerPieces Sampler::encode(const Batch& batch, Upload& upload) {
  Encoder encoder{.sampler = *this, .pieces = {}, .changes = {}, .sampling = {}, .integers = {}};
  std::int64_t parents = 0;
  for (const Taken& taken : unsent_) {
    SamplerPieces::Group group{.first = static_cast<std::int32_t>(encoder.changes.size())};
    for (std::size_t i = 0; i < taken.updates.size(); ++i)
      encoder.add(taken.updates[i], taken.histories[i], group);
    parents = std::max<std::int64_t>(parents, group.parents);
    encoder.pieces.groups.push_back(group);
  }
  reserve_copies(parents);
  SamplerPieces out = std::move(encoder.pieces);
  out.changes = upload.add(encoder.changes);
  out.sampling = upload.add(encoder.sampling);
  out.integers = upload.add(encoder.integers);

  std::vector<std::int32_t> top_begin;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    top_begin.push_back(out.listed);
    if (batch.sample_row[s] >= 0) out.listed += histories_.listed(batch.slots[s]);
  }
  if (out.listed > 0) out.top_begin = upload.add(top_begin);
  histories_.mark_sampled(batch);
  return out;
}

void Sampler::apply(const SamplerPieces& pieces, const Upload& upload, cudaStream_t stream) {
  SlotChanges changes;
  changes.sampling = upload.device<SlotSampling>(pieces.sampling);
  changes.integers = upload.device<std::int32_t>(pieces.integers);
  Carver carver(copies_.data());
  if (copied_parents_ > 0) {
    changes.use_copies = carver.take<TokenUse>(copied_parents_ * sizes_.vocabulary);
    changes.order_copies = carver.take<std::int32_t>(copied_parents_ * order_stride(sizes_));
    changes.count_copies = carver.take<SlotCounts>(copied_parents_);
    changes.token_copies = carver.take<std::int32_t>(copied_parents_);
  }
  for (const SamplerPieces::Group& group : pieces.groups) {
    changes.changes = upload.device<SlotChange>(pieces.changes) + group.first;
    changes.count = group.count;
    changes.parents = group.parents;
    launch_slot_changes(slots_, changes, stream);
  }
  unsent_.clear();
}

void Sampler::send_late(const LateInputs& late, SampleArguments& a, cudaStream_t stream) {
  const auto sequences = static_cast<std::size_t>(a.sequences);
  TENON_ASSERT(late.allowed_tokens.empty() || late.allowed_tokens.size() == sequences);
  TENON_ASSERT(late.logits.empty() || late.logits.size() == sequences);
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
    TENON_CHECK(static_cast<std::int64_t>(late.logits[s].size()) == sizes_.vocabulary,
                ErrorCode::kInternal,
                "[step] {} logits were given for sequence {}, the vocabulary has {}",
                late.logits[s].size(), s, sizes_.vocabulary);
    logit_offsets[s] = static_cast<std::int64_t>(own.size());
    own.insert(own.end(), late.logits[s].begin(), late.logits[s].end());
  }
  if (masks.empty() && own.empty()) return;
  Upload& upload = late_[next_];
  next_ = 1 - next_;
  upload.clear();
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

void Sampler::sample(const float* logits, const StepView& view, const Batch& batch,
                     const SamplerPieces& pieces, const Upload& upload, const LateInputs& late,
                     ResultPlace& place, cudaStream_t stream) {
  const std::size_t sequences = batch.slots.size();
  if (sequences == 0) return;
  SampleArguments a;
  a.logits = logits;
  a.view = view;
  a.slots = slots_;
  a.processed = processed_;
  a.results = place.memory.as<SampledSequence>();
  a.sequences = static_cast<std::int32_t>(sequences);
  if (pieces.listed > 0) {
    const std::int64_t listed_bytes = bytes_of<ListedToken>(pieces.listed);
    const std::int64_t unordered_bytes = bytes_of<std::uint64_t>(pieces.listed);
    if (unordered_bytes > unordered_.bytes())
      unordered_ = DeviceBuffer(std::max(unordered_bytes, 2 * unordered_.bytes()), "listed tokens");
    if (listed_bytes > place.listed.bytes())
      place.listed = PinnedBuffer(std::max(listed_bytes, 2 * place.listed.bytes()), "results");
    a.top_begin = upload.device<std::int32_t>(pieces.top_begin);
    a.listed = place.listed.as<ListedToken>();
    a.unordered = unordered_.as<std::uint64_t>();
  }
  send_late(late, a, stream);
  launch_sampler(a, stream);
}

SequenceResult to_result(const SampledSequence& sampled, const ListedToken* listed) {
  SequenceResult out;
  if (sampled.token >= 0) out.tokens = {sampled.token};
  if (sampled.top_count < 0) return out;
  if (sampled.token >= 0) out.logprobs = {sampled.logprob};
  out.top_logprobs.emplace_back();
  for (std::int32_t i = 0; i < sampled.top_count; ++i) {
    const ListedToken& token = listed[sampled.top_begin + i];
    out.top_logprobs[0].push_back({token.token, token.logprob});
  }
  return out;
}

}  // namespace tenon::cuda
