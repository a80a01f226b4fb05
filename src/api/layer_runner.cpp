// SPDX-License-Identifier: Apache-2.0
#include "api/layer_runner.h"

#include <numeric>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "distributed/in_process_communicator.h"
#include "engine/lowering.h"

namespace tenon {
namespace {

Batch batch_of(const LayerStep& step) {
  Batch batch;
  batch.token_ids = step.token_ids;
  batch.positions = step.positions;
  batch.token_begin.push_back(0);
  if (!step.encoder_lengths.empty()) batch.encoder_begin.push_back(0);
  for (std::size_t s = 0; s < step.lengths.size(); ++s) {
    const auto slot = static_cast<std::int32_t>(s);
    batch.updates.push_back({.slot = slot, .reset = true});
    batch.slots.push_back(slot);
    batch.token_begin.push_back(batch.token_begin.back() + step.lengths[s]);
    batch.cached_tokens.push_back(0);
    batch.sequence_length.push_back(step.lengths[s]);
    batch.sample_row.push_back(-1);
    if (!step.encoder_lengths.empty())
      batch.encoder_begin.push_back(batch.encoder_begin.back() + step.encoder_lengths[s]);
  }
  if (!step.encoder_lengths.empty()) {
    // The encoder's rows enter by way of the logit rows, the other input whose ids may count them.
    batch.logit_rows.resize(static_cast<std::size_t>(batch.encoder_begin.back()));
    std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
  }
  return batch;
}

/// Runs one rank to its end and gives what it has under "output".
Tensor run_rank(const Graph& graph, const HostWeights& weights, const Batch& batch,
                const Mapping& mapping, int rank, Communicator* communicator) {
  const auto backend = cpu::make_backend({.threads = mapping.world_size > 1 ? 1 : 0, .pin = false});
  const auto encoder = batch.encoder_begin.empty() ? 0 : batch.encoder_begin.back();
  const LoweringOptions options{
      .mapping = mapping,
      .rank = rank,
      .fusions = backend->fusions(),
      .limits = {.tokens = batch.tokens(),
                 .sequences = batch.sequences(),
                 .logit_rows = static_cast<std::int64_t>(batch.logit_rows.size()),
                 .encoder_tokens = encoder},
      .slots = batch.sequences()};
  const LoweredProgram lowered = lower(graph, EngineTraits{}, weights, options);
  std::map<std::string, Cut, std::less<>> cuts;
  for (std::size_t w = 0; w < lowered.cuts.size(); ++w)
    cuts.emplace(lowered.description.weights[w].name, lowered.cuts[w]);
  const WeightLoader loader = [&](const WeightUse& use) {
    return weights.load(use.name, cuts.at(use.name));
  };
  Ledger ledger("cpu");
  const auto executable = backend->load(lowered.description, loader, communicator, ledger, "layer");
  executable->prepare(batch);
  executable->forward();
  executable->sample({})->wait();
  return executable->read("output");
}

}  // namespace

Tensor run_layer(const Graph& graph, const HostWeights& weights, const LayerStep& step,
                 int tp_size) {
  const Batch batch = batch_of(step);
  const Mapping mapping{.world_size = tp_size, .tp_size = tp_size};
  if (tp_size == 1) return run_rank(graph, weights, batch, mapping, 0, nullptr);
  const auto communicators = make_in_process_communicators(mapping);
  std::vector<Tensor> outputs(static_cast<std::size_t>(tp_size));
  std::vector<std::exception_ptr> errors(outputs.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < tp_size; ++rank)
    threads.emplace_back([&, rank] {
      const auto at = static_cast<std::size_t>(rank);
      try {
        outputs[at] = run_rank(graph, weights, batch, mapping, rank, communicators[at].get());
      } catch (...) {
        errors[at] = std::current_exception();
        communicators[at]->abort();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return outputs.front();
}

}  // namespace tenon
