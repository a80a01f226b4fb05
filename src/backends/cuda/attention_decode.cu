// Attention of decodes over the paged cache. The query heads that share a key-value head are the
// rows of one warp-level product. Each warp streams keys and values of 16 tokens at a time through
// stages of its own, ahead of its products and across units; a block's four warps are added up at
// the end of a unit. Pairs that several blocks computed are added up by the block that ends last.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cuda/attention_launch.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/attention_decode.cuh"
#include "backends/cuda/device/attention_decode_codes.cuh"
#include "backends/cuda/device/launch_early.cuh"
#include "core/dtype.h"

namespace tenon::cuda {
namespace {

using namespace attention_decode;

// Rows of the products: the heads of a key-value head, in parts of as many.
constexpr int decode_rows(std::int64_t heads, std::int64_t kv_heads) {
  return heads / kv_heads <= 8 ? 8 : kRows;
}

template <class D>
__global__ void __launch_bounds__(kThreads, blocks_of_one_multiprocessor<D::kWidth>())
    decode_kernel(const __grid_constant__ AttentionLaunch l) {
  using Stage = typename D::Stage;
  using Element = typename Stage::Element;
  constexpr int kHeadDim = D::kWidth;
  constexpr int kMostRows = D::kUnitRows;
  extern __shared__ __align__(16) char memory[];
  let_next_start();
  Element* const stages = reinterpret_cast<Element*>(memory);
  Shared& shared = *reinterpret_cast<Shared*>(memory + kWarps * Stage::kCount * Stage::kBytes);
  auto* const known = reinterpret_cast<DecodeSequence*>(&shared + 1);
  auto* const before = reinterpret_cast<std::uint32_t*>(known + min(l.sequences, kKnownSequences));
  const int warp = threadIdx.x / 32;
  const std::int32_t group = l.arguments.heads / l.arguments.kv_heads;
  const D d{{l, l.arguments, stages + warp * Stage::kCount * Stage::kElements, warp,
             static_cast<int>(threadIdx.x) % 32, group, (group + kMostRows - 1) / kMostRows}};

  constexpr int kStages = Stage::kCount;
  const std::int32_t pairs = l.arguments.kv_heads * d.row_blocks;
  constexpr int kMostUnits = most_decode_units(kMostRows);
  static_assert(kMostUnits * kMostRows <= 512);
  const std::int32_t units = pair_units(pairs, kMostUnits);

  wait_for_inputs();
  const std::int32_t most = plan_step(l.arguments, l.view, l.sequences, known, before, shared);
  const DecodePlan plan{l.arguments, l.view, before, known,
                        l.sequences, pairs,  units,  unit_tiles(most, units)};
  const std::uint64_t share = plan.share();
  DecodeWalk at;
  at.start(plan, blockIdx.x * share, share);
  DecodeWalk ahead = at;
  int filling = 0;
  const auto load_next = [&] {
    if (ahead.valid) {
      d.load(ahead, filling);
      ahead.next(plan);
    }
    commit_copies();
    filling = filling + 1 == kStages ? 0 : filling + 1;
  };
  typename D::Queries q;
  float sums[D::kOutputs][4];
  typename D::Softmax softmax;
  typename D::Sums pair;
  pair.clear();
  bool fresh_unit = true;
  const std::int32_t kept_rows = min(kMostRows, group);  // of a unit in the workspace
  const std::int64_t floats = unit_floats(kept_rows, kHeadDim);
  std::uint32_t units_done = 0;  // of the pair, by this block
  std::int32_t first_owner = 0;  // blocks that compute the pair
  std::int32_t last_owner = 0;
  const auto find_owners = [&] {
    first_owner = last_owner = 0;
    if (at.is_one_unit()) return;  // nobody else has any
    first_owner = at.owner(0, share);
    last_owner = at.owner((at.units() - 1) * at.unit, share);
  };
  if (at.valid) {
    if constexpr (D::kQueriesAhead) d.start_pair(at, q);
    find_owners();
  }
  bool fresh_pair = true;
  int reading = 0;
  int to_fill = kStages;
  while (at.valid) {
#pragma unroll 1  // one copy of its code: all stages at first, then that which was read last
    for (; to_fill > 0; --to_fill) load_next();
    to_fill = 1;
    if constexpr (!D::kQueriesAhead)
      if (fresh_pair) d.start_pair(at, q);
    fresh_pair = false;
    if (fresh_unit) {
      D::clear(softmax);
#pragma unroll
      for (int n = 0; n < D::kOutputs; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[n][i] = 0.F;
    }
    wait_copies<kStages - 1>();
    __syncwarp();
    d.multiply_tile(at, reading, q, sums, softmax);
    __syncwarp();
    fresh_unit = at.ends_unit();
    const DecodeWalk done = at;
    at.next(plan);
    const int read = reading;
    reading = reading + 1 == kStages ? 0 : reading + 1;
    if (!fresh_unit) continue;

    fresh_pair = !at.valid || at.s != done.s || at.head != done.head;
    if constexpr (D::kQueriesAhead)
      if (fresh_pair && at.valid) d.start_pair(at, q);  // on its way while this one is written
    d.publish(reinterpret_cast<float*>(d.stages + read * Stage::kElements), shared, sums, softmax);
    __syncthreads();
    const std::int32_t live_rows = d.rows(done);
    float* const slots = reinterpret_cast<float*>(l.workspace) +
                         static_cast<std::int64_t>(first_owner) * kMostUnits * floats;
    float* const slot = slots + done.tile / done.unit * floats;
#pragma unroll
    for (int i = 0; i < D::Sums::kElements; ++i) {
      const int row = D::Sums::row(i);
      if (row >= live_rows) break;
      float largest = shared.largest[0][row];
      for (int other = 1; other < kWarps; ++other)
        largest = fmaxf(largest, shared.largest[other][row]);
      const float base = largest == -INFINITY ? 0.F : largest;
      float total = 0.F;
      float sum = 0.F;
#pragma unroll
      for (int other = 0; other < kWarps; ++other) {
        const float weight = power_of_two(shared.largest[other][row] - base);
        const float* const from =
            reinterpret_cast<const float*>(stages + (other * kStages + read) * Stage::kElements);
        total = __fmaf_rn(shared.total[other][row], weight, total);
        sum = __fmaf_rn(from[i * kThreads + threadIdx.x], weight, sum);
      }
      if (first_owner == last_owner) {
        pair.take(i, sum, largest, total);
      } else {
        slot[2 * kept_rows + i * kThreads + threadIdx.x] = sum;
        if ((i * kThreads + threadIdx.x) % kHeadDim == 0) {
          slot[row] = largest;
          slot[kept_rows + row] = total;
        }
      }
    }
    ++units_done;
    if (fresh_pair) {
      if (first_owner != last_owner) {
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) {
          const std::uint32_t before_us = atomicAdd(l.arrivals + first_owner, units_done);
          shared.is_last = before_us + units_done == static_cast<std::uint32_t>(done.units());
          if (shared.is_last) l.arrivals[first_owner] = 0;  // for the next launch
        }
        __syncthreads();
        if (shared.is_last) {
          __threadfence();
          d.template add_units<kMostUnits>(pair, slots, done.units(), kept_rows, live_rows, shared);
        }
      }
      if (first_owner == last_owner || shared.is_last) d.write(done, pair);
      pair.clear();
      units_done = 0;
      if (at.valid) find_owners();
    }
    __syncthreads();  // before the stage and the table are written again
  }
}

template <class D>
void run_kernel(const AttentionLaunch& l) {
  static_assert(blocks_of_one_multiprocessor<D::kWidth>() < 2 ||
                shared_bytes<typename D::Stage>(kSequencesOfTwoBlocks) <= kHalfOfShared);
  const std::size_t bytes = shared_bytes<typename D::Stage>(l.sequences);
  const auto kernel = decode_kernel<D>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "shared memory of attention");
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(
      kMostDecodeBlocks, l.multiprocessors * blocks_of_one_multiprocessor<D::kWidth>()));
  launch_early(kernel, "attention of decodes", dim3(blocks), kThreads, bytes, l.early, l.stream, l);
}

// 16 bits: the type of cache and products, and whether scores are more than scaled products.
template <class T, bool kExtras>
struct Wide {
  template <int kHeadDim, int kMostRows>
  using Block = Decode<T, kHeadDim, kMostRows, kExtras>;
};
template <class Code>
struct Narrow {
  template <int kHeadDim, int kMostRows>
  using Block = DecodeCodes<Code, kHeadDim, kMostRows>;
};

template <class Kind, int kHeadDim>
void run_rows(const AttentionLaunch& l) {
  if (decode_rows(l.arguments.heads, l.arguments.kv_heads) == 8)
    run_kernel<typename Kind::template Block<kHeadDim, 8>>(l);
  else
    run_kernel<typename Kind::template Block<kHeadDim, kRows>>(l);
}

template <class Kind>
void run(const AttentionLaunch& l) {
  switch (l.arguments.head_dim) {
    case 64: return run_rows<Kind, 64>(l);
    case 80: return run_rows<Kind, 80>(l);
    case 96: return run_rows<Kind, 96>(l);
    case 128: return run_rows<Kind, 128>(l);
    default: return run_rows<Kind, 256>(l);
  }
}

template <int kHeadDim>
std::size_t most_shared_bytes(DataType cache, int rows) {
  if (size_of(cache) != 1) return shared_bytes<Stage<__half, kHeadDim, kRows>>(kSequences);
  return rows == 8 ? shared_bytes<CodeStage<kHeadDim, 8>>(kSequences)
                   : shared_bytes<CodeStage<kHeadDim, kRows>>(kSequences);
}

void run_cache(const AttentionLaunch& l) {
  const bool extras = has_score_extras(l.arguments);
  switch (l.arguments.layer.dtype) {
    case DataType::kInt8: return run<Narrow<Int8Code>>(l);
    case DataType::kFloat8E4M3: return run<Narrow<Float8Code>>(l);
    case DataType::kFloat16:
      return extras ? run<Wide<__half, true>>(l) : run<Wide<__half, false>>(l);
    default: return extras ? run<Wide<__nv_bfloat16, true>>(l) : run<Wide<__nv_bfloat16, false>>(l);
  }
}

}  // namespace

std::int64_t decode_workspace(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
  const std::int64_t rows = std::min<std::int64_t>(heads / kv_heads, kRows);
  const int units = most_decode_units(decode_rows(heads, kv_heads));
  return kMostDecodeBlocks * units * unit_floats(rows, head_dim) *
         static_cast<std::int64_t>(sizeof(float));
}

std::int64_t decode_shared_bytes(DataType cache, std::int64_t heads, std::int64_t kv_heads,
                                 std::int64_t head_dim) {
  const int rows = decode_rows(heads, kv_heads);
  const std::size_t bytes = head_dim == 64    ? most_shared_bytes<64>(cache, rows)
                            : head_dim == 80  ? most_shared_bytes<80>(cache, rows)
                            : head_dim == 96  ? most_shared_bytes<96>(cache, rows)
                            : head_dim == 128 ? most_shared_bytes<128>(cache, rows)
                                              : most_shared_bytes<256>(cache, rows);
  return static_cast<std::int64_t>(bytes);
}

void launch_attention_decode(const AttentionLaunch& launch) {
  AttentionLaunch l = launch;
  for (std::int32_t first = 0; first < launch.sequences; first += kSequences) {
    l.sequences = std::min(kSequences, launch.sequences - first);
    run_cache(l);
    l.view.slots += kSequences;
    l.view.token_begin += kSequences;
    l.view.cached_tokens += kSequences;
  }
}

}  // namespace tenon::cuda
