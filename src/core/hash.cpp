// SPDX-License-Identifier: Apache-2.0
#include "core/hash.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "core/check.h"
#include "core/thread_pool.h"

namespace tenon {
namespace {

/// Part of the hash's definition.
constexpr std::uint64_t kPiece = std::uint64_t{16} << 20;
/// Read at once: within the second-level cache.
constexpr std::size_t kBuffer = std::size_t{256} << 10;
/// More readers than that no disk serves faster.
constexpr int kMaxThreads = 16;

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0)
      fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be opened: {}",
           path.string(), std::strerror(errno));
  }
  ~OpenFile() { ::close(file_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::uint64_t size() const {
    struct stat status {};
    TENON_CHECK(::fstat(file_, &status) == 0, ErrorCode::kIo, "{}: {}", path_.string(),
                std::strerror(errno));
    TENON_CHECK(S_ISREG(status.st_mode), ErrorCode::kInvalidArgument,
                "{}: expected a file, got something else (a directory?)", path_.string());
    return static_cast<std::uint64_t>(status.st_size);
  }

  std::string hash(std::uint64_t begin, std::uint64_t end) const {
    std::vector<std::byte> buffer(kBuffer);
    Hasher hasher;
    while (begin < end) {
      const std::size_t wanted = std::min<std::uint64_t>(kBuffer, end - begin);
      const ssize_t count = ::pread(file_, buffer.data(), wanted, static_cast<off_t>(begin));
      if (count < 0 && errno == EINTR) continue;
      TENON_CHECK(count > 0, ErrorCode::kIo, "{}: cannot be read at byte {}: {}", path_.string(),
                  begin, count == 0 ? "it was cut meanwhile" : std::strerror(errno));
      hasher.add(std::span(buffer).first(static_cast<std::size_t>(count)));
      begin += static_cast<std::uint64_t>(count);
    }
    return hasher.hex();
  }

 private:
  std::filesystem::path path_;
  int file_;
};

}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh); }
Hasher::~Hasher() = default;

Hasher& Hasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::add(std::string_view text) {
  add(static_cast<std::uint64_t>(text.size()));
  return add(std::as_bytes(std::span(text.data(), text.size())));
}

Hasher& Hasher::add(std::uint64_t value) { return add(std::as_bytes(std::span(&value, 1))); }

std::string Hasher::hex() const {
  const XXH128_hash_t digest = XXH3_128bits_digest(state_->xxh);
  return fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

std::string hash_file(const std::filesystem::path& path, int threads) {
  const OpenFile file(path);
  const std::uint64_t size = file.size();
  std::vector<std::string> hashes((size + kPiece - 1) / kPiece);
  std::atomic<std::size_t> next{0};
  std::atomic_flag failed;
  std::exception_ptr failure;
  const auto work = [&] {
    for (std::size_t piece = next++; piece < hashes.size(); piece = next++) {
      try {
        hashes[piece] = file.hash(piece * kPiece, std::min((piece + 1) * kPiece, size));
      } catch (...) {
        if (!failed.test_and_set()) failure = std::current_exception();
        next = hashes.size();
      }
    }
  };
  const int wanted = std::min(threads > 0 ? threads : available_cores(), kMaxThreads);
  const std::size_t count = std::min(static_cast<std::size_t>(wanted), hashes.size());
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < count; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
  Hasher whole;
  whole.add(size);
  for (const std::string& hash : hashes) whole.add(std::string_view(hash));
  return whole.hex();
}

}  // namespace tenon
