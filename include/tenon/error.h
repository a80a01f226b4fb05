// The one exception type that leaves Tenon.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include "tenon/export.h"

namespace tenon {

/// What kind of fault an Error reports. The command line maps each kind to its own exit code.
enum class ErrorCode {
  kInvalidArgument,    ///< an option, a field or a request has a value that cannot be used
  kNotFound,           ///< a file, a model, a tensor or a name that does not exist
  kIo,                 ///< the operating system refused to read, write, map or lock
  kCorrupt,            ///< a file's content breaks its format (cut short, changed, hostile)
  kUnsupported,        ///< well-formed, but this version or this machine cannot do it
  kResourceExhausted,  ///< memory, cache blocks, queue places or time ran out
  kCancelled,          ///< the caller, or a shutdown, ended the work
  kInternal,           ///< a bug in Tenon
};

/// Name of `code` in lower case with underscores, such as "invalid_argument".
TENON_API const char* to_string(ErrorCode code) noexcept;

/// Every failure of Tenon. what() says what went wrong, where (file, tensor, field), what was
/// expected, what was found, and the way out.
class TENON_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ~Error() override;

  ErrorCode code() const noexcept { return code_; }  ///< the kind of fault

 private:
  ErrorCode code_;
};

}  // namespace tenon
