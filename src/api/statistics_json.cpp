// Statistics as JSON, under TensorRT-LLM's names where it has them.
// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"
#include "tenon/executor.h"

namespace tenon {
namespace {

Json cache_json(const KvCacheStatistics& cache) {
  Json json = Json::object();
  json.set("maxNumBlocks", cache.total_blocks);
  json.set("usedNumBlocks", cache.used_blocks);
  json.set("freeNumBlocks", cache.free_blocks + cache.reusable_blocks);
  json.set("reusableNumBlocks", cache.reusable_blocks);
  json.set("swappedNumBlocks", cache.swapped_blocks);
  json.set("tokensPerBlock", cache.tokens_per_block);
  json.set("reusedTokens", static_cast<std::int64_t>(cache.reused_tokens));
  json.set("missedTokens", static_cast<std::int64_t>(cache.missed_tokens));
  json.set("evictedBlocks", static_cast<std::int64_t>(cache.evicted_blocks));
  json.set("cacheHitRate", cache.hit_rate());
  return json;
}

}  // namespace

std::string to_json(const IterationStatistics& it) {
  Json json = Json::object();
  json.set("iter", static_cast<std::int64_t>(it.iteration));
  json.set("timestampSeconds", it.timestamp);
  json.set("iterLatencyMS", it.latency_seconds * 1e3);
  json.set("hostMS", it.host_seconds * 1e3);
  json.set("numQueuedRequests", it.queued_requests);
  json.set("numActiveRequests", it.active_requests);
  json.set("numCompletedRequests", static_cast<std::int64_t>(it.completed_requests));
  Json batching = Json::object();
  batching.set("numScheduledRequests", it.context_requests + it.generation_requests);
  batching.set("numContextRequests", it.context_requests);
  batching.set("numGenRequests", it.generation_requests);
  batching.set("numPausedRequests", static_cast<std::int64_t>(it.paused_requests));
  batching.set("numCtxTokens", it.context_tokens);
  json.set("inflightBatchingStats", std::move(batching));
  json.set("kvCacheStats", cache_json(it.kv_cache));
  return json.dump();
}

std::string to_json(const ExecutorStatistics& all) {
  Json json = Json::object();
  const auto count = [&](const char* name, std::uint64_t value) {
    json.set(name, static_cast<std::int64_t>(value));
  };
  count("steps", all.steps);
  count("contextTokens", all.context_tokens);
  count("generatedTokens", all.generated_tokens);
  count("finishedRequests", all.finished_requests);
  count("failedRequests", all.failed_requests);
  count("cancelledRequests", all.cancelled_requests);
  count("timedOutRequests", all.timed_out_requests);
  count("refusedRequests", all.refused_requests);
  count("pausedSequences", all.paused_sequences);
  count("failedSteps", all.failed_steps);
  count("lostWorkers", all.lost_workers);
  json.set("stepSeconds", all.step_seconds);
  json.set("hostSeconds", all.host_seconds);
  json.set("numQueuedRequests", all.queued_requests);
  json.set("numActiveRequests", all.active_requests);
  json.set("runningSequences", all.running_sequences);
  json.set("waitingSequences", all.waiting_sequences);
  json.set("kvCacheStats", cache_json(all.kv_cache));
  return json.dump();
}

std::string to_json(const RequestTiming& timing) {
  Json json = Json::object();
  json.set("queuedSeconds", timing.queued_seconds);
  json.set("firstTokenSeconds", timing.first_token_seconds);
  json.set("totalSeconds", timing.total_seconds);
  json.set("reusedTokens", timing.reused_tokens);
  json.set("preemptions", static_cast<std::int64_t>(timing.preemptions));
  return json.dump();
}

}  // namespace tenon
