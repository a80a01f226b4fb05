// SPDX-License-Identifier: Apache-2.0
#include "cuda_bench_rig.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <random>

#include "backends/cuda/cuda_api.h"
#include "core/dtype.h"
#include "core/half.h"

namespace tenon::bench {

using namespace tenon::cuda;

namespace {

constexpr std::int64_t kRandom = std::int64_t{1} << 22;  // numbers made once
constexpr std::int64_t kBlock = 32;                      // tokens of a cache block

std::vector<std::byte> random_block(DataType type) {
  std::vector<float> numbers(kRandom);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float& x : numbers) x = normal(random);
  std::vector<std::byte> out(numbers.size() * size_of(type));
  if (type != DataType::kInt8) {
    convert_from_float(type, numbers.data(), out.data(), numbers.size());
    return out;
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(static_cast<int>(std::clamp(32 * numbers[i], -127.F, 127.F)));
  return out;
}

void fill_scales(float* to, const CacheGroupDescription& group) {
  const std::vector<float> scales(
      static_cast<std::size_t>(group.blocks * group.kv_heads * group.tokens_per_block), 1.F / 32);
  check(cudaMemcpy(to, scales.data(), scales.size() * sizeof(float), cudaMemcpyHostToDevice),
        "bench");
}

}  // namespace

void fill_randomly(std::byte* to, std::int64_t bytes, DataType type) {
  static std::map<DataType, std::vector<std::byte>> blocks;
  std::vector<std::byte>& block = blocks[type];
  if (block.empty()) block = random_block(type);
  const auto step = static_cast<std::int64_t>(4);
  const auto size = static_cast<std::int64_t>(block.size()) - step * 1021;
  for (std::int64_t at = 0; at < bytes; at += size)
    check(cudaMemcpy(to + at, block.data() + step * (at / size % 1021),
                     static_cast<std::size_t>(std::min(size, bytes - at)), cudaMemcpyHostToDevice),
          "bench");
  check(cudaDeviceSynchronize(), "bench");
}

Batch batch_of(const std::vector<std::int32_t>& cached, const std::vector<std::int32_t>& fresh) {
  Batch batch;
  batch.token_begin = {0};
  for (std::size_t s = 0; s < cached.size(); ++s) {
    batch.slots.push_back(static_cast<std::int32_t>(s));
    batch.cached_tokens.push_back(cached[s]);
    batch.sequence_length.push_back(cached[s] + fresh[s]);
    batch.sample_row.push_back(-1);
    for (std::int32_t i = 0; i < fresh[s]; ++i) {
      batch.token_ids.push_back(1);
      batch.positions.push_back(cached[s] + i);
    }
    batch.token_begin.push_back(batch.token_begin.back() + fresh[s]);
  }
  return batch;
}

StepRig::StepRig(const Batch& batch, CacheGroupDescription group, std::int64_t layers) {
  group.tokens_per_block = kBlock;
  std::vector<TableChange> changes;
  if (group.kv_heads > 0)
    for (std::size_t s = 0; s < batch.slots.size(); ++s) {
      changes.push_back({0, static_cast<std::int32_t>(s), 0, {}});
      for (std::int64_t i = 0; i * kBlock < batch.sequence_length[s]; ++i)
        changes.back().blocks.push_back(static_cast<std::int32_t>(group.blocks++));
    }
  for (std::int64_t i = 0; i < layers; ++i) group.layers.push_back(i);
  program_.limits = {.tokens = batch.tokens(),
                     .sequences = batch.sequences(),
                     .logit_rows = static_cast<std::int64_t>(batch.logit_rows.size())};
  program_.slots = batch.sequences();
  if (group.kv_heads > 0) program_.cache = {group};
  state_ = std::make_unique<StepState>(program_);
  if (group.kv_heads > 0) fill_cache();
  const StepPieces pieces = StepState::encode(batch, changes, program_.limits, upload_);
  upload_.send(stream());
  state_->apply_tables(pieces, upload_, stream());
  state_->fill(pieces, upload_, stream());
  stream_.synchronize();
  step_.stream = stream();
  step_.view = state_->view();
  step_.sizes = program_.limits;
  for (std::size_t s = 0; s < batch.slots.size(); ++s) {
    const std::int64_t fresh = batch.token_begin[s + 1] - batch.token_begin[s];
    if (fresh == 1) ++step_.decodes;
    step_.longest_chunk = std::max(step_.longest_chunk, fresh);
    step_.longest_context = std::max<std::int64_t>(step_.longest_context, batch.sequence_length[s]);
  }
  step_.cache = cache_.get();
  step_.features = &features_;
}

void StepRig::fill_cache() {
  const CacheGroupDescription& group = program_.cache[0];
  const std::vector<const std::int32_t*> places = {state_->tables(0)};
  cache_ = std::make_unique<PagedCache>(program_.cache, places, StepState::table_stride(program_));
  fill_randomly(static_cast<std::byte*>(cache_->layer(0).keys), PagedCache::bytes(program_.cache),
                group.dtype);
  if (group.dtype != DataType::kInt8) return;
  for (const std::int64_t layer : group.layers) {
    fill_scales(cache_->layer(layer).key_scales, group);
    fill_scales(cache_->layer(layer).value_scales, group);
  }
}

double graph_seconds(cudaStream_t stream, int launches, const std::function<void(int)>& launch,
                     int replays) {
  launch(0);
  check(cudaStreamSynchronize(stream), "bench");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recorded = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "record");
  for (int i = 0; i < launches; ++i) launch(i);
  check(cudaStreamEndCapture(stream, &graph), "record");
  check(cudaGraphInstantiate(&recorded, graph, 0), "record");
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin), "bench");
  check(cudaEventCreate(&end), "bench");
  std::vector<float> found;
  for (int i = 0; i <= replays; ++i) {
    check(cudaEventRecord(begin, stream), "bench");
    check(cudaGraphLaunch(recorded, stream), "bench");
    check(cudaEventRecord(end, stream), "bench");
    check(cudaEventSynchronize(end), "bench");
    float ms = 0.F;
    check(cudaEventElapsedTime(&ms, begin, end), "bench");
    if (i > 0) found.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(recorded);
  cudaGraphDestroy(graph);
  const auto middle = found.begin() + static_cast<std::ptrdiff_t>(found.size() / 2);
  std::nth_element(found.begin(), middle, found.end());
  return *middle * 1e-3;
}

}  // namespace tenon::bench
