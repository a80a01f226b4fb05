// TensorSource: the tensors of a model's files by their own names, whatever the format:
// safetensors, PyTorch or GGUF, in one file or many. Headers are read and checked at open; data at
// load().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quant/quantized_tensor.h"

namespace tenon {

struct TensorInfo {
  std::string name;
  Shape shape;     ///< outermost first, also for GGUF
  QuantSpec spec;  ///< what load() gives
  std::filesystem::path file;
  std::uint64_t bytes = 0;  ///< in the file
  std::string stored_type;  ///< the file's word for it: "BF16", "Q4_K"
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual const std::vector<TensorInfo>& tensors() const = 0;

  /// A plain tensor views the mapped file and keeps the mapping alive; GGUF blocks (and the rare
  /// tensor that lies unaligned or strided) become owned memory. Data lie at a multiple of the
  /// element size. Throws Error{kNotFound} with the nearest name. Safe from several threads.
  virtual QuantizedTensor load(std::string_view name) const = 0;

  /// Says that the tensor's bytes in the file are not needed soon; keeps resident memory small.
  virtual void drop(std::string_view name) const = 0;

  /// Null where there is none.
  virtual const TensorInfo* find(std::string_view name) const;
};

/// A source that knows its tensors by index; formats derive from it.
class TensorTable : public TensorSource {
 public:
  const std::vector<TensorInfo>& tensors() const final { return infos_; }
  QuantizedTensor load(std::string_view name) const final { return load_at(index_of(name)); }
  void drop(std::string_view name) const final { drop_at(index_of(name)); }
  const TensorInfo* find(std::string_view name) const final;

 protected:
  /// Throws Error{kCorrupt} where the name is there already.
  void add(TensorInfo info);
  virtual QuantizedTensor load_at(std::size_t index) const = 0;
  virtual void drop_at(std::size_t index) const = 0;

 private:
  std::size_t index_of(std::string_view name) const;

  std::vector<TensorInfo> infos_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// Several files as one source. Throws Error{kCorrupt} where two hold a tensor of the same name.
std::unique_ptr<TensorSource> join_sources(std::vector<std::unique_ptr<TensorSource>> sources);

}  // namespace tenon
