// SPDX-License-Identifier: Apache-2.0
#include "backends/tactics.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <mutex>
#include <system_error>

#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "tenon/version.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "tenon-tactics";
constexpr std::int64_t kFileVersion = 1;  // raised where work or a tactic means another thing
constexpr std::uint64_t kMaxBytes = std::uint64_t{4} << 20;
constexpr std::size_t kMaxName = 120;

std::string made_by() { return fmt::format("tenon {}", kVersion); }

void expect_same(std::string_view where, const char* field, const std::string& found,
                 const std::string& expected) {
  TENON_CHECK(found == expected, ErrorCode::kUnsupported, "{}: {} is \"{}\", here it is \"{}\"",
              where, field, found, expected);
}

double microseconds_of(const Json& entry, const char* field, std::string_view where) {
  const double value = entry.at(field, where).as_double(field);
  TENON_CHECK(std::isfinite(value) && value >= 0, ErrorCode::kCorrupt,
              "{}: {}: expected microseconds, got {}", where, field, value);
  return value;
}

TacticTable read_tactics(const fs::path& file, const TacticIdentity& identity) {
  return parse_tactics(read_file(file, kMaxBytes), file.string(), identity);
}

}  // namespace

std::string TacticIdentity::file_name() const {
  std::string name;
  for (const char c : device) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    const bool upper = c >= 'A' && c <= 'Z';
    if (plain || upper)
      name += upper ? static_cast<char>(c - 'A' + 'a') : c;
    else if (!name.empty() && name.back() != '_')
      name += '_';
  }
  return name.substr(0, kMaxName) + ".json";
}

std::string print_tactics(const TacticTable& table, const TacticIdentity& identity) {
  Json root = Json::object();
  root.set("format", kFormat);
  root.set("version", kFileVersion);
  root.set("made_by", made_by());
  root.set("device", identity.device);
  root.set("libraries", identity.libraries);
  Json entries = Json::array();
  for (const auto& [key, tactic] : table) {
    Json entry = Json::object();
    entry.set("work", key.first);
    entry.set("rows", key.second);
    entry.set("tactic", tactic.name);
    entry.set("us", tactic.microseconds);
    entry.set("default_us", tactic.default_microseconds);
    entries.push_back(std::move(entry));
  }
  root.set("tactics", std::move(entries));
  return root.dump(1) + "\n";
}

TacticTable parse_tactics(std::string_view text, std::string_view where,
                          const TacticIdentity& identity) {
  const Json root = Json::parse(text, where, {.max_depth = 8, .max_bytes = kMaxBytes});
  const auto string_of = [&](const char* field) { return root.at(field, where).as_string(field); };
  TENON_CHECK(string_of("format") == kFormat, ErrorCode::kCorrupt, "{}: it is no file of {}", where,
              kFormat);
  const std::int64_t version = root.at("version", where).as_int("version");
  TENON_CHECK(version == kFileVersion, ErrorCode::kUnsupported, "{}: version {}, expected {}",
              where, version, kFileVersion);
  expect_same(where, "made_by", string_of("made_by"), made_by());
  expect_same(where, "device", string_of("device"), identity.device);
  expect_same(where, "libraries", string_of("libraries"), identity.libraries);
  TacticTable table;
  const Json& entries = root.at("tactics", where);
  for (const Json& entry : entries.as_array("tactics")) {
    const std::int64_t rows = entry.at("rows", where).as_int("rows");
    TENON_CHECK(rows > 0, ErrorCode::kCorrupt, "{}: rows: {}, expected 1 or more", where, rows);
    table[{entry.at("work", where).as_string("work"), rows}] = {
        entry.at("tactic", where).as_string("tactic"), microseconds_of(entry, "us", where),
        microseconds_of(entry, "default_us", where)};
  }
  return table;
}

TacticTable load_tactics(const TacticOptions& options, const TacticIdentity& identity) {
  for (const std::string& folder : options.folders) try {
      return read_tactics(fs::path(folder) / identity.file_name(), identity);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound)
        log::note("load", "measured kernel choices are not used: {}", error.what());
    }
  return {};
}

void keep_tactics(const TacticOptions& options, const TacticIdentity& identity,
                  const TacticTable& table) {
  // Ranks of one process keep theirs in the same file. Of two processes the later wins: what it
  // did not know is measured again.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::string faults;
  for (const std::string& folder : options.folders) {
    const fs::path file = fs::path(folder) / identity.file_name();
    TacticTable all = table;
    try {
      all.merge(read_tactics(file, identity));
    } catch (const Error&) {
      // There is none, or load_tactics() said what is wrong with it: a new one takes its place.
    }
    try {
      std::error_code ignored;  // the write says what is wrong
      fs::create_directories(folder, ignored);
      write_file_atomically(file, print_tactics(all, identity));
      log::note("load", "measured kernel choices: {} kept in {}", all.size(), file.string());
      return;
    } catch (const Error& error) {
      faults += fmt::format("; {}", error.what());
    }
  }
  log::note("load", "measured kernel choices are not kept{}", faults);
}

TacticSearch choose_tactics(std::span<const TacticProblem> problems, const TacticTable& known,
                            TacticTimer& timer, double seconds) {
  TacticSearch out;
  const double begin = timer.now();
  for (const TacticProblem& problem : problems) {
    std::size_t& chosen = out.chosen.emplace_back(0);
    if (problem.candidates.size() < 2) continue;
    const auto found = known.find({problem.work, problem.rows});
    if (found != known.end()) {
      const auto name =
          std::find(problem.candidates.begin(), problem.candidates.end(), found->second.name);
      if (name != problem.candidates.end()) {
        chosen = static_cast<std::size_t>(name - problem.candidates.begin());
        ++out.known;
        continue;
      }
    }
    if (timer.now() - begin >= seconds) {
      ++out.left;
      continue;
    }
    double usual = 0;
    double best = 0;
    for (std::size_t i = 0; i < problem.candidates.size(); ++i) {
      double time = 0;
      try {
        time = timer.measure(problem, i);
      } catch (const std::exception& error) {
        log::note("dispatch", "{}, {} rows: {} is left out: {}", problem.work, problem.rows,
                  problem.candidates[i], error.what());
        if (i == 0) break;  // nothing to compare with
        continue;
      }
      if (i == 0) usual = best = time;
      if (time < best && time < usual * (1 - kTacticMargin)) {
        best = time;
        chosen = i;
      }
    }
    if (usual == 0) continue;
    out.measured[{problem.work, problem.rows}] = {problem.candidates[chosen], best, usual};
    log::note("dispatch", "{}, {} rows: {}, {:.1f} us ({} candidates; {} {:.1f} us)", problem.work,
              problem.rows, problem.candidates[chosen], best, problem.candidates.size(),
              problem.candidates[0], usual);
  }
  out.seconds = timer.now() - begin;
  return out;
}

}  // namespace tenon
