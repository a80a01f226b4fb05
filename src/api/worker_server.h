// The worker's side of a session in a process of its own: what `tenon worker` does.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "engine/session.h"

namespace tenon {

/// Serves a session to the program at the other end of `socket` until that program goes, then ends
/// the process. `wrap`, where it is set, gets the session once it is loaded and gives the one that
/// serves: tests inject faults there. Throws where the socket is none.
[[noreturn]] void serve_worker(
    int socket, const std::function<std::unique_ptr<Session>(std::unique_ptr<Session>)>& wrap = {});

}  // namespace tenon
