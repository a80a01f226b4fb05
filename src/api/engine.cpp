// SPDX-License-Identifier: Apache-2.0
#include "tenon/engine.h"

#include "api/build_engine.h"
#include "api/engine_impl.h"
#include "checkpoint/engine_directory.h"
#include "core/check.h"

namespace tenon {

std::shared_ptr<Engine::Impl> open_engine_impl(const std::filesystem::path& directory) {
  EngineDirectory opened = open_engine(directory);
  auto impl = std::make_shared<Engine::Impl>();
  impl->source.name = directory.string();
  impl->source.config = std::move(opened.config);
  impl->source.weights = std::move(opened.weights);
  impl->source.text_directory = directory;
  impl->source.files = {directory / "manifest.json"};
  impl->build = std::move(opened.build);
  impl->graphs = std::move(opened.graphs);
  return impl;
}

Engine::Engine(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(const Engine&) = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(const Engine&) = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine Engine::load(const std::string& directory) { return Engine(open_engine_impl(directory)); }

void Engine::save(const std::string& directory) const {
  build_engine(impl_->source, impl_->build, directory);
}

const PretrainedConfig& Engine::config() const { return impl_->source.config; }
const BuildConfig& Engine::build_config() const { return impl_->build; }

Engine build(const PretrainedModel& model, const BuildConfig& config) {
  const ModelSource& given = model.impl()->source;
  TENON_CHECK(
      given.config.dtype == model.impl()->dtype, ErrorCode::kUnsupported,
      "{}: config().dtype was changed from {} to {}, but build() takes weights as they are; "
      "convert the model with --dtype {}",
      given.name, to_string(model.impl()->dtype), to_string(given.config.dtype),
      to_string(given.config.dtype));
  auto impl = std::make_shared<Engine::Impl>();
  impl->source = with_quantization(given);  // its config may have been changed
  impl->graphs = build_graphs(impl->source, config);
  impl->build = settle_build_config(config, impl->graphs.traits);
  rank_weights(impl->graphs, *impl->source.weights, impl->source.config.mapping);  // refuses early
  return Engine(std::move(impl));
}

}  // namespace tenon
