// Names to tensors, and several files as one.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/tensor_source.h"

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon {

const TensorInfo* TensorSource::find(std::string_view name) const {
  for (const TensorInfo& info : tensors())
    if (info.name == name) return &info;
  return nullptr;
}

const TensorInfo* TensorTable::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &infos_[found->second];
}

void TensorTable::add(TensorInfo info) {
  const auto [place, is_new] = index_.emplace(info.name, infos_.size());
  if (!is_new) {
    const std::filesystem::path& other = infos_[place->second].file;
    fail(ErrorCode::kCorrupt, "{}: holds a second tensor \"{}\"{}", info.file.string(), info.name,
         other == info.file ? "" : "; the first is in " + other.string());
  }
  infos_.push_back(std::move(info));
}

std::size_t TensorTable::index_of(std::string_view name) const {
  const auto found = index_.find(name);
  if (found != index_.end()) return found->second;
  std::vector<std::string> names;
  for (const TensorInfo& info : infos_) names.push_back(info.name);
  fail(ErrorCode::kNotFound, "no tensor \"{}\" in {}{}", name,
       infos_.empty() ? "an empty file" : infos_.front().file.string(), did_you_mean(name, names));
}

namespace {

class JoinedSource : public TensorTable {
 public:
  explicit JoinedSource(std::vector<std::unique_ptr<TensorSource>> sources)
      : sources_(std::move(sources)) {
    for (const auto& source : sources_)
      for (const TensorInfo& info : source->tensors()) {
        add(info);
        owner_.push_back(source.get());
      }
  }

 private:
  QuantizedTensor load_at(std::size_t index) const override {
    return owner_[index]->load(tensors()[index].name);
  }
  void drop_at(std::size_t index) const override { owner_[index]->drop(tensors()[index].name); }

  std::vector<std::unique_ptr<TensorSource>> sources_;
  std::vector<const TensorSource*> owner_;
};

}  // namespace

std::unique_ptr<TensorSource> join_sources(std::vector<std::unique_ptr<TensorSource>> sources) {
  if (sources.size() == 1) return std::move(sources.front());
  return std::make_unique<JoinedSource>(std::move(sources));
}

}  // namespace tenon
