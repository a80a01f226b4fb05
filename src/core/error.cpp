// SPDX-License-Identifier: Apache-2.0
#include "tenon/error.h"

#include "core/check.h"

namespace tenon {

Error::~Error() = default;

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kResourceExhausted: return "resource_exhausted";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

void fail_assert(const char* condition, const char* file, int line) {
  fail(ErrorCode::kInternal, "bug in Tenon: {}:{}: expected {}; please report it", file, line,
       condition);
}

}  // namespace tenon
