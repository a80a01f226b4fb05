// SPDX-License-Identifier: Apache-2.0
#include "runtime/current_error.h"

#include <new>

namespace tenon {
namespace {

// Made while there is memory: copies of an Error share its message.
const Error kOutOfMemory(ErrorCode::kResourceExhausted,
                         "the host's memory ran out; try again with fewer or shorter requests at a "
                         "time, or a smaller cache");
const Error kUnknown(ErrorCode::kInternal, "something was thrown that is no std::exception");

Error internal(const char* doing, const char* message) noexcept {
  try {
    return Error(ErrorCode::kInternal, std::string(doing) + message);
  } catch (const std::exception&) {
    return kOutOfMemory;
  }
}

}  // namespace

Error current_error(const char* doing) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  } catch (const std::exception& error) {
    return internal(doing, error.what());
  } catch (...) {
    return kUnknown;
  }
}

}  // namespace tenon
