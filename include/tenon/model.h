// Models: a configuration and weights, from a Hugging Face directory, a GGUF file, a checkpoint, or
// made from a configuration alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/config.h"
#include "tenon/export.h"

namespace tenon {

/// A named input of a model's program, with the extents each dimension may take.
struct TENON_API ModelInput {
  struct Range {           ///< of one dimension
    std::string name;      ///< "tokens", "logit_rows"
    std::int64_t min = 0;  ///< least extent
    std::int64_t opt = 0;  ///< usual extent
    std::int64_t max = 0;  ///< largest extent
  };
  DataType dtype = DataType::kInt32;  ///< of the input's elements
  std::vector<Range> dims{};          ///< outermost first
};

/// Limits that prepare_inputs() turns into ranges.
struct TENON_API InputLimits {
  std::int64_t max_batch_size = 1;               ///< sequences of a step
  std::int64_t max_input_len = 1024;             ///< tokens of a prompt
  std::int64_t max_seq_len = 2048;               ///< tokens of a sequence
  bool use_cache = true;                         ///< false is not supported yet
  std::int64_t max_beam_width = 1;               ///< beams of a sequence
  std::int64_t max_num_tokens = 0;               ///< 0: max_batch_size * max_input_len
  std::int64_t prompt_embedding_table_size = 0;  ///< others are not supported yet
};

/// Changes a configuration that was read, before weights are held against it: single fields, or all
/// of it. What it throws goes to who called.
using ConfigOverrides = std::function<void(PretrainedConfig&)>;

/// Any architecture that this Tenon knows. Copies share their weights.
class TENON_API PretrainedModel {
 public:
  /// `path_or_id`: a Hugging Face directory or the id of one in the local cache, a .gguf file, or a
  /// checkpoint directory. Weights stay mapped; nothing is copied. Throws Error listing every
  /// missing, unused or wrongly shaped tensor, and Error{kInvalidArgument} naming a field that
  /// `overrides` made senseless.
  static PretrainedModel from_pretrained(std::string_view path_or_id,
                                         const ConfigOverrides& overrides = {});

  /// The graph of `config` with seeded random weights (normal, standard deviation 0.02; norms 1).
  static PretrainedModel from_config(const PretrainedConfig& config, std::uint64_t seed = 0);

  PretrainedModel(const PretrainedModel&);
  PretrainedModel(PretrainedModel&&) noexcept;
  PretrainedModel& operator=(const PretrainedModel&);
  PretrainedModel& operator=(PretrainedModel&&) noexcept;
  ~PretrainedModel();

  /// May be changed before build(): the mapping, the quantization, the limits.
  PretrainedConfig& config();
  const PretrainedConfig& config() const;  ///< the same, to be read

  /// The program's inputs by name: token_ids [tokens], positions [tokens], logit_rows [logit_rows].
  /// Packed: sequences stand one after another without padding.
  std::map<std::string, ModelInput> prepare_inputs(const InputLimits& limits) const;

  /// The network that forward builds, printed: one line a node.
  std::string forward() const;

  /// Names of the architectures that from_pretrained knows.
  static std::vector<std::string> architectures();

  struct Impl;
  const std::shared_ptr<Impl>& impl() const { return impl_; }  ///< for Tenon itself

 protected:
  explicit PretrainedModel(std::shared_ptr<Impl> impl);
  void require(std::string_view architecture) const;

 private:
  std::shared_ptr<Impl> impl_;
};

/// Llama 2, 3, 3.1, 3.2 and what shares their architecture.
class TENON_API LlamaForCausalLM : public PretrainedModel {
 public:
  /// As PretrainedModel's, for this architecture alone: Error{kInvalidArgument} for another.
  static LlamaForCausalLM from_pretrained(std::string_view path_or_id,
                                          const ConfigOverrides& overrides = {});

 private:
  explicit LlamaForCausalLM(PretrainedModel model);
};

/// Mistral 7B and its like, with sliding windows.
class TENON_API MistralForCausalLM : public PretrainedModel {
 public:
  /// As LlamaForCausalLM's.
  static MistralForCausalLM from_pretrained(std::string_view path_or_id,
                                            const ConfigOverrides& overrides = {});

 private:
  explicit MistralForCausalLM(PretrainedModel model);
};

/// Qwen 2 and 2.5 (and 1.5).
class TENON_API Qwen2ForCausalLM : public PretrainedModel {
 public:
  /// As LlamaForCausalLM's.
  static Qwen2ForCausalLM from_pretrained(std::string_view path_or_id,
                                          const ConfigOverrides& overrides = {});

 private:
  explicit Qwen2ForCausalLM(PretrainedModel model);
};

}  // namespace tenon
