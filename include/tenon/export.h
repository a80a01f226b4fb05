// Symbol visibility of the shared library: everything is hidden but what says TENON_API.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(TENON_STATIC)
#define TENON_API
#else
#define TENON_API __attribute__((visibility("default")))
#endif
