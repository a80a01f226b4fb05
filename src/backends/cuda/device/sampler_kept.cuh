// The tokens of a row that may be drawn, in two forms with the same functions: of a row however it
// is (KeptOfRow), and of a list that holds all that may stay (KeptOfList).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cuda/device/sampler_candidates.cuh"
#include "backends/cuda/device/sampler_reach.cuh"

namespace tenon::cuda {

// None of NaN, which an infinite logit makes of itself.
__device__ inline Mass mass_of_weight(float weight) {
  return weight > 0.F ? __float2ull_rz(weight * kWeightOne) : 0;
}

/// What a token counts for. One lighter than 2^-40 of the likeliest never is drawn.
struct Weights {
  float largest;
  float inverse;        ///< of the temperature
  double wide_inverse;  ///< likewise
  float least = 0.F;

  __device__ Weights(float largest_logit, float temperature)
      : largest(largest_logit),
        inverse(1.F / temperature),
        wide_inverse(1.0 / static_cast<double>(temperature)) {}

  __device__ Mass mass_of(float x) const {
    const float weight = expf((x - largest) * inverse);
    return weight >= least ? mass_of_weight(weight) : 0;
  }
  __device__ double scaled(float x) const {
    return (static_cast<double>(x) - static_cast<double>(largest)) * wide_inverse;
  }
  /// Information is log Z minus the scaled logit and its mean the entropy: their difference.
  __device__ float distance(float x, double mean) const {
    return static_cast<float>(fabs(scaled(x) - mean));
  }
};

__device__ inline Mass share_of(double part, Mass all) {
  const auto wanted = static_cast<Mass>(ceil(part * static_cast<double>(all)));
  return wanted < 1 ? 1 : wanted;
}

/// Which part of the mass `u` in [0, 1) falls on; `all` > 0.
__device__ inline Mass target_of(double u, Mass all) {
  const auto target = static_cast<Mass>(u * static_cast<double>(all));
  return target >= all ? all - 1 : target;
}

class KeptOfRow {
 public:
  __device__ KeptOfRow(const LogitRow& row, const Weights& weights, SamplerShared& shared)
      : row_(row), weights_(weights), shared_(shared) {}

  __device__ Mass total() const {
    Mass mass = 0;
    visit_own<1>(row_, [&](std::int32_t id, float x) { mass += mass_at(id, x); });
    return block_total(mass, shared_);
  }
  /// The first of the order.
  __device__ void keep_count(std::int32_t count) {
    head_ = head_of_count(row_, weights_.largest, static_cast<Mass>(count), shared_);
  }
  /// The shortest run of the likeliest whose mass reaches `wanted`.
  __device__ void keep_mass(Mass wanted) {
    const Reached reached = reach(row_, wanted, ByValue{*this}, shared_);
    if (!reached.found) return;
    const Mass each = weights_.mass_of(value_of(reached.key));
    const Mass ties = (wanted - reached.above + each - 1) / each;
    if (reached.key != head_.key) head_.last_id = 0x7FFFFFFF;
    if (ties * each < reached.at) head_.last_id = tie_of_rank(reached.key, ties - 1);
    head_.key = reached.key;
  }
  /// Those of at least this weight.
  __device__ void keep_weight(float least) { weights_.least = least; }
  /// Those whose information is nearest to the entropy, up to this part of the mass.
  __device__ void keep_typical(double part) {
    const Mass all = total();
    if (all == 0) return;
    double mean = 0.0;
    visit_own<1>(row_, [&](std::int32_t id, float x) {
      if (const Mass mass = mass_at(id, x); mass > 0)
        mean += static_cast<double>(mass) * weights_.scaled(x);
    });
    mean_ = block_sum(mean, shared_) / static_cast<double>(all);
    const Reached reached = reach(row_, share_of(part, all), ByDistance{*this}, shared_);
    if (reached.found) furthest_ = __uint_as_float(~reached.key);
  }
  /// The token on which `u` falls where those kept lie end to end in their order; -1: none is left.
  __device__ std::int32_t pick_in_order(double u) const {
    const Mass all = total();
    if (all == 0) return -1;
    const Mass target = target_of(u, all);
    const Reached reached = reach(row_, target + 1, ByValue{*this}, shared_);
    const Mass each = weights_.mass_of(value_of(reached.key));
    return tie_of_rank(reached.key, (target - reached.above) / each);
  }
  /// Likewise where they lie by id.
  __device__ std::int32_t pick_by_id(double u) const {
    const auto masses = [&](std::int32_t id, float x) { return mass_at(id, x); };
    const Mass all = sum_runs(row_, masses, shared_);
    return all == 0 ? -1 : locate(row_, target_of(u, all), masses, shared_);
  }

 private:
  struct ByValue {
    const KeptOfRow& kept;
    __device__ float behind(float x) const {
      return (kept.weights_.largest - x) * kept.weights_.inverse;
    }
    __device__ std::uint32_t key(float x) const { return key_of(x); }
    __device__ Mass mass(std::int32_t id, float x) const { return kept.mass_at(id, x); }
  };
  // Distances are not negative: their bits order them; the nearest has the greatest key.
  struct ByDistance {
    const KeptOfRow& kept;
    __device__ float behind(float x) const { return kept.weights_.distance(x, kept.mean_); }
    __device__ std::uint32_t key(float x) const { return ~__float_as_uint(behind(x)); }
    __device__ Mass mass(std::int32_t id, float x) const { return kept.mass_at(id, x); }
  };

  __device__ Mass mass_at(std::int32_t id, float x) const {
    if (!(x > never()) || !head_.holds(key_of(x), id)) return 0;
    const Mass mass = weights_.mass_of(x);
    if (mass > 0 && furthest_ < INFINITY && weights_.distance(x, mean_) > furthest_) return 0;
    return mass;
  }
  // Of those kept with this key, the one of rank `rank` by id.
  __device__ std::int32_t tie_of_rank(std::uint32_t key, Mass rank) const {
    return id_of_rank(
        row_, rank,
        [&](std::int32_t id, float x) { return key_of(x) == key && mass_at(id, x) > 0; }, shared_);
  }

  const LogitRow row_;
  Weights weights_;
  Head head_;
  double mean_ = 0.0;          ///< of the scaled logits
  float furthest_ = INFINITY;  ///< from the mean
  SamplerShared& shared_;
};

/// Each thread has one entry, sorted.
class KeptOfList {
 public:
  __device__ KeptOfList(Mass entry, std::int32_t count, const Weights& weights,
                        SamplerShared& shared)
      : entry_(entry), count_(count), weights_(weights), shared_(shared) {
    weigh();
  }

  __device__ Mass total() const { return block_total(mass_, shared_); }
  __device__ void keep_count(std::int32_t count) {
    if (static_cast<std::int32_t>(threadIdx.x) >= count) drop();
  }
  __device__ void keep_mass(Mass wanted) {
    if (block_scan(mass_, shared_) - mass_ >= wanted) drop();
  }
  __device__ void keep_weight(float least) {
    weights_.least = least;
    weigh();
  }
  __device__ void keep_typical(double part) {
    const Mass all = total();
    if (all == 0) return;
    const double own = mass_ == 0 ? 0.0 : static_cast<double>(mass_) * weights_.scaled(value());
    const double mean = block_sum(own, shared_) / static_cast<double>(all);
    // Sorted by distance, with the place of each mass.
    const std::uint32_t key = ~__float_as_uint(weights_.distance(value(), mean));
    __syncthreads();
    shared_.bins[threadIdx.x] = mass_;
    const Mass nearest =
        sort_falling(mass_ == 0 ? 0 : (Mass{key} << 32) | threadIdx.x, count_, shared_);
    __syncthreads();
    const Mass mass = nearest == 0 ? 0 : shared_.bins[static_cast<std::uint32_t>(nearest)];
    const std::int32_t last =
        pick(mass, share_of(part, all) - 1, static_cast<std::int32_t>(nearest >> 32), shared_);
    if (mass_ > 0 && key < static_cast<std::uint32_t>(last)) drop();
  }
  __device__ std::int32_t pick_in_order(double u) const {
    const Mass all = total();
    return all == 0 ? -1 : pick(mass_, target_of(u, all), id_of(entry_), shared_);
  }
  __device__ std::int32_t pick_by_id(double u) const {
    const Mass all = total();
    if (all == 0) return -1;
    const auto key = static_cast<std::uint32_t>(entry_ >> 32);
    const Mass mine =
        sort_falling(mass_ == 0 ? 0 : entry_of(~static_cast<std::uint32_t>(id_of(entry_)), key),
                     count_, shared_);
    const auto id = static_cast<std::int32_t>(~static_cast<std::uint32_t>(mine >> 32));
    const Mass mass =
        mine == 0 ? 0 : weights_.mass_of(value_of(static_cast<std::uint32_t>(id_of(mine))));
    return pick(mass, target_of(u, all), id, shared_);
  }

 private:
  __device__ float value() const { return value_of_entry(entry_); }
  __device__ void weigh() { mass_ = entry_ == 0 ? 0 : weights_.mass_of(value()); }
  __device__ void drop() {
    entry_ = 0;
    mass_ = 0;
  }

  Mass entry_;
  std::int32_t count_;
  Weights weights_;
  Mass mass_ = 0;
  SamplerShared& shared_;
};

}  // namespace tenon::cuda
