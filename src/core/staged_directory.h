// A directory that appears whole or not at all. It is built in "NAME.partial-PID/new" beside its
// destination NAME; NAME.partial-PID also holds a locked file "owner", by which the next build of
// NAME knows what a killed one left.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace tenon {

/// Renamed to its destination by commit(); removed where it is destroyed before. An existing
/// destination is replaced only by commit(). Any number may be under way for one destination: the
/// last to commit stays.
class StagedDirectory {
 public:
  /// Also removes what killed processes of this host left beside `destination`. Throws Error{kIo}.
  explicit StagedDirectory(std::filesystem::path destination);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const std::filesystem::path& path() const { return staging_; }
  void commit();

 private:
  void claim();
  void release();

  std::filesystem::path destination_;
  std::filesystem::path outer_;    ///< NAME.partial-PID
  std::filesystem::path staging_;  ///< NAME.partial-PID/new
  int owner_ = -1;                 ///< NAME.partial-PID/owner, locked
};

/// Removes the directories that builds of `destination` left when they were killed: those of this
/// host that no process holds. An older directory that such a build had moved away is moved back
/// where nothing took its place. Anything not of our own making stays.
void remove_staging_leftovers(const std::filesystem::path& destination);

}  // namespace tenon
