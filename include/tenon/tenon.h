// Everything of Tenon's public interface.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tenon/chat.h"
#include "tenon/config.h"
#include "tenon/engine.h"
#include "tenon/error.h"
#include "tenon/executor.h"
#include "tenon/executor_config.h"
#include "tenon/kv_cache.h"
#include "tenon/layers.h"
#include "tenon/llm.h"
#include "tenon/model.h"
#include "tenon/request.h"
#include "tenon/sampling.h"
#include "tenon/scheduling.h"
#include "tenon/statistics.h"
#include "tenon/types.h"
#include "tenon/version.h"
