// SPDX-License-Identifier: Apache-2.0
#include "api/generation_config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/check.h"
#include "core/file.h"
#include "core/json.h"

namespace tenon {
namespace {

class Reader {
 public:
  Reader(const std::filesystem::path& path, std::int64_t vocab_size)
      : where_(path.string()),
        json_(Json::parse(read_file(path), where_)),
        vocab_size_(vocab_size) {
    json_.as_object(where_);
  }

  GenerationConfig read() const {
    GenerationConfig out = default_generation();
    SamplingParams& sampling = out.sampling;
    out.end_ids = ends();
    const bool sample = flag("do_sample");
    const std::int32_t beams = whole("num_beams", 1);
    if (sample) {
      sampling.temperature = number("temperature", 1.0);
      sampling.top_k = whole("top_k", 50);
      sampling.top_p = number("top_p", 1.0);
      sampling.min_p = number("min_p", 0.0);
      sampling.typical_p = number("typical_p", 1.0);
    } else {
      sampling.beam_width = beams;  // beams that draw their tokens have no counterpart
    }
    if (sample || beams > 1) sampling.n = whole("num_return_sequences", 1);
    sampling.repetition_penalty = number("repetition_penalty", 1.0);
    sampling.no_repeat_ngram_size = whole("no_repeat_ngram_size", 0);
    sampling.min_tokens = whole("min_new_tokens", 0);
    sampling.length_penalty = number("length_penalty", 1.0);
    sampling.early_stopping = early_stopping();
    sampling.bad_words = bad_words(out.end_ids);
    try {
      validate(sampling);
    } catch (const Error& error) {
      throw Error(ErrorCode::kCorrupt, where_ + ": " + error.what());
    }
    return out;
  }

 private:
  std::string name(const char* key) const { return where_ + ": " + key; }

  // Null where the key is missing or null.
  const Json* find(const char* key) const {
    const Json* value = json_.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  bool flag(const char* key) const {
    const Json* value = find(key);
    return value != nullptr && value->as_bool(name(key));
  }

  double checked(const char* key, double value) const {
    TENON_CHECK(std::fabs(value) <= 1e9, ErrorCode::kCorrupt, "{}: {} is {}, out of range", where_,
                key, value);
    return value;
  }

  float number(const char* key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return static_cast<float>(fallback);
    return static_cast<float>(checked(key, value->as_double(name(key))));
  }

  std::int32_t whole(const char* key, std::int32_t fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    return static_cast<std::int32_t>(checked(key, static_cast<double>(value->as_int(name(key)))));
  }

  bool is_token(std::int64_t id) const { return id >= 0 && id < vocab_size_; }

  // One id or a list.
  std::vector<std::int32_t> ends() const {
    std::vector<std::int32_t> out;
    const Json* eos = find("eos_token_id");
    if (eos == nullptr) return out;
    const std::string where = name("eos_token_id");
    const auto add = [&](const Json& id) {
      if (is_token(id.as_int(where))) out.push_back(static_cast<std::int32_t>(id.as_int(where)));
    };
    if (!eos->is_array()) {
      add(*eos);
      return out;
    }
    const Json::Array& ids = eos->as_array(where);
    for (const Json& id : ids) add(id);
    return out;
  }

  // false, true or "never"
  std::int32_t early_stopping() const {
    const Json* value = find("early_stopping");
    if (value == nullptr) return 0;
    const std::string where = name("early_stopping");
    if (!value->is_string()) return value->as_bool(where) ? 1 : 0;
    TENON_CHECK(value->as_string(where) == "never", ErrorCode::kCorrupt,
                "{}: expected true, false or \"never\", got \"{}\"", where,
                value->as_string(where));
    return -1;
  }

  // As in transformers, an end of sequence by itself is not ruled out. A run with a token that the
  // model does not have cannot come up.
  std::vector<std::vector<std::int32_t>> bad_words(const std::vector<std::int32_t>& ends) const {
    std::vector<std::vector<std::int32_t>> out;
    const Json* value = find("bad_words_ids");
    if (value == nullptr) return out;
    const std::string where = name("bad_words_ids");
    const Json::Array& words = value->as_array(where);
    for (const Json& ids : words) {
      std::vector<std::int32_t> word;
      const Json::Array& tokens = ids.as_array(where);
      bool possible = true;
      for (const Json& id : tokens) {
        possible = possible && is_token(id.as_int(where));
        word.push_back(possible ? static_cast<std::int32_t>(id.as_int(where)) : 0);
      }
      const bool end =
          word.size() == 1 && std::find(ends.begin(), ends.end(), word[0]) != ends.end();
      if (possible && !end) out.push_back(std::move(word));
    }
    return out;
  }

  std::string where_;
  Json json_;
  std::int64_t vocab_size_;
};

}  // namespace

GenerationConfig default_generation() {
  GenerationConfig out;
  out.sampling.temperature = 0.0F;
  out.sampling.length_penalty = 1.0F;
  out.sampling.early_stopping = 0;
  return out;
}

GenerationConfig read_generation_config(const std::filesystem::path& path,
                                        std::int64_t vocab_size) {
  return Reader(path, vocab_size).read();
}

}  // namespace tenon
