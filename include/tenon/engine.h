// Engines: plain graphs, weights and text files in a directory that runs on any device.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tenon/config.h"
#include "tenon/export.h"
#include "tenon/model.h"

namespace tenon {

class TENON_API Engine {
 public:
  /// Opens a directory that save() wrote. Throws Error{kCorrupt} where a file was cut short or
  /// changed, Error{kUnsupported} where a newer Tenon wrote it.
  static Engine load(const std::string& directory);

  Engine(const Engine&);
  Engine(Engine&&) noexcept;
  Engine& operator=(const Engine&);
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  /// Writes the directory: beside it first, renamed when whole. Takes about the time of copying the
  /// weights.
  void save(const std::string& directory) const;

  const PretrainedConfig& config() const;   ///< of the model
  const BuildConfig& build_config() const;  ///< its limits and options

  struct Impl;
  const std::shared_ptr<Impl>& impl() const { return impl_; }  ///< for Tenon itself
  explicit Engine(std::shared_ptr<Impl> impl);

 private:
  std::shared_ptr<Impl> impl_;
};

/// Builds an engine. Takes no device: what depends on one happens when the engine is loaded.
TENON_API Engine build(const PretrainedModel& model, const BuildConfig& config = {});

}  // namespace tenon
