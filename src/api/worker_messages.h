// What a program and its worker process say to each other. The program: load, then for each step
// run (prepare and forward) and sample, and read in between. The worker answers a load, each sample
// and each read, samples in their order; it says nothing unasked.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/field_codec.h"
#include "api/worker_channel.h"
#include "engine/session.h"
#include "tenon/error.h"
#include "tenon/llm.h"

namespace tenon {

enum class WorkerMessage : std::uint32_t {
  kLoad,    ///< WorkerLoad; answered by kLoaded or kFailed
  kRun,     ///< Batch
  kSample,  ///< LateInputs; answered by kResult or kFailed
  kRead,    ///< name of an output; answered by kOutput or kReadFailed
  kLoaded,  ///< WorkerDescription
  kResult,  ///< StepResult
  kOutput,  ///< Tensor
  kFailed,  ///< WorkerFailure: of the load, or of the step that was sampled
  kReadFailed,
};

/// What the worker has to know to load the same session again and again.
struct WorkerLoad {
  std::string path;      ///< engine directory, or model, that the worker opens
  std::string identity;  ///< source_identity() as the program found it
  LlmOptions options;    ///< what session_options() looks at
};

/// What a Session tells of itself.
struct WorkerDescription {
  SessionOptions options;
  EngineTraits traits;
  std::vector<Session::CacheGroup> groups;
  std::string ledger_device;
  std::int64_t ledger_limit = 0;
  std::vector<Ledger::Row> ledger_rows;
  std::string text;  ///< Session::describe()
  std::vector<std::pair<std::string, int>> kernels;
  bool keeps_last_tokens = true;
};

struct WorkerFailure {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  bool device_lost = false;  ///< Session::device_lost(): the worker is of no use any more
};

/// The bytes begin with the version: read_load() throws Error{kUnsupported} for another one's.
void write(FieldWriter& out, const WorkerLoad& load);
WorkerLoad read_load(const WorkerPacket& packet);

void write(FieldWriter& out, const WorkerDescription& description);
void write(FieldWriter& out, const WorkerFailure& failure);
void write(FieldWriter& out, const Batch& batch);
void write(FieldWriter& out, const LateInputs& late);
void write(FieldWriter& out, const StepResult& result);
void write(FieldWriter& out, const Tensor& tensor);

/// Throw Error{kCorrupt} for anything that the writer of that type did not write.
WorkerDescription read_description(const WorkerPacket& packet);
WorkerFailure read_failure(const WorkerPacket& packet);
Batch read_batch(const WorkerPacket& packet);
LateInputs read_late_inputs(const WorkerPacket& packet);
StepResult read_result(const WorkerPacket& packet);
Tensor read_tensor(const WorkerPacket& packet);

}  // namespace tenon
