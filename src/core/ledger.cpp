// SPDX-License-Identifier: Apache-2.0
#include "core/ledger.h"

#include <array>

#include "core/check.h"

namespace tenon {

const char* to_string(MemoryKind kind) noexcept {
  switch (kind) {
    case MemoryKind::kWeights: return "weights";
    case MemoryKind::kWeightCopies: return "weight copies";
    case MemoryKind::kCache: return "cache";
    case MemoryKind::kWorkspace: return "workspace";
    case MemoryKind::kLogits: return "logits";
    case MemoryKind::kCommunication: return "communication";
    case MemoryKind::kHost: return "host";
    case MemoryKind::kForeign: return "foreign";
  }
  return "?";
}

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : 1, kUnits[unit]);
}

Ledger::Row& Ledger::row(MemoryKind kind, std::string_view name) {
  for (Row& row : rows_)
    if (row.kind == kind && row.name == name) return row;
  return rows_.emplace_back(Row{kind, std::string(name)});
}

void Ledger::plan(MemoryKind kind, std::string_view name, std::int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    row(kind, name).planned += bytes;
  }
  check();
}

void Ledger::check() const {
  TENON_CHECK(limit_ == 0 || planned() <= limit_, ErrorCode::kResourceExhausted,
              "out of memory on {}: the plan needs {}, the limit is {}; a smaller max_batch_size, "
              "max_seq_len, max_num_tokens or cache needs less\n{}",
              device_, format_bytes(planned()), format_bytes(limit_), print());
}

void Ledger::draw(MemoryKind kind, std::string_view name, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  row(kind, name).drawn += bytes;
}

std::int64_t Ledger::planned() const {
  const std::lock_guard lock(mutex_);
  std::int64_t sum = 0;
  for (const Row& row : rows_) sum += row.planned;
  return sum;
}

std::int64_t Ledger::drawn() const {
  const std::lock_guard lock(mutex_);
  std::int64_t sum = 0;
  for (const Row& row : rows_) sum += row.drawn;
  return sum;
}

std::vector<Ledger::Row> Ledger::rows() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

std::string Ledger::print() const {
  std::string text = fmt::format("memory plan of {}\n", device_);
  for (const Row& row : rows())
    text += fmt::format("  {:<14} {:<40} {:>12} planned {:>12} drawn\n", to_string(row.kind),
                        row.name, format_bytes(row.planned), format_bytes(row.drawn));
  text += fmt::format("  {:<14} {:<40} {:>12} planned {:>12} drawn\n", "sum", "",
                      format_bytes(planned()), format_bytes(drawn()));
  return text;
}

}  // namespace tenon
