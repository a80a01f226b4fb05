// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint_directory.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "checkpoint/config_json.h"
#include "checkpoint/rank_files.h"
#include "core/check.h"
#include "core/file.h"

namespace tenon {
namespace {

constexpr const char* kTextFiles[] = {
    "tokenizer.json",      "tokenizer.model",    "tokenizer_config.json",   "tokenizer_gguf.json",
    "vocab.json",          "merges.txt",         "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json", "generation_config.json"};

}  // namespace

std::span<const char* const> text_file_names() { return kTextFiles; }

CheckpointDirectory open_checkpoint(const std::filesystem::path& path) {
  CheckpointDirectory checkpoint;
  checkpoint.path = path;
  checkpoint.manifest = read_manifest(path, DirectoryKind::kCheckpoint);
  const std::string config = (path / "config.json").string();
  checkpoint.config = pretrained_config_from_json(Json::parse(read_file(config), config), config);
  checkpoint.weights = open_rank_files(path, checkpoint.manifest.files);
  return checkpoint;
}

void write_rank_files(const std::filesystem::path& directory, const RankWeights& ranks,
                      const WeightSource& source, std::optional<DataType> float_type, int workers,
                      Manifest& manifest) {
  std::vector<Json> checksums(ranks.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (std::size_t rank = next++; rank < ranks.size(); rank = next++) {
      try {
        checksums[rank] = write_rank_file(directory / rank_file_name(static_cast<int>(rank)),
                                          ranks[rank], source, float_type);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
        next = ranks.size();
      }
    }
  };
  std::vector<std::thread> threads;
  const auto extra = std::clamp<std::size_t>(static_cast<std::size_t>(std::max(workers, 1)), 1,
                                             std::max<std::size_t>(ranks.size(), 1)) -
                     1;
  for (std::size_t i = 0; i < extra; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    manifest.files.set(rank_file_name(static_cast<int>(rank)), std::move(checksums[rank]));
}

void copy_text_files(const std::filesystem::path& from, const std::filesystem::path& to,
                     Manifest& manifest) {
  for (const char* name : kTextFiles) {
    if (!std::filesystem::is_regular_file(from / name)) continue;
    write_file_atomically(to / name, read_file(from / name));
    add_file(manifest, to, name);
  }
}

}  // namespace tenon
