// A library that the CUDA driver loads into a program to write down when each kernel ran, as it
// runs: in recorded graphs, with what was launched early, without another program's clocks.
//
//   CUDA_INJECTION64_PATH=libkernel_trace.so TENON_KERNEL_TRACE=FILE.csv PROGRAM…
//
// Each line: kernel, begin and end in nanoseconds, the launch's stream. CUPTI is opened at run
// time (LD_LIBRARY_PATH); where it is missing the program runs on, and standard error says so.
// tools/kernel_profile.py adds the lines up.
// SPDX-License-Identifier: Apache-2.0
#include <cupti.h>
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

namespace {

constexpr std::size_t kBufferBytes = std::size_t{8} << 20;

struct Launch {
  const char* name;  // mangled; CUPTI's own, for as long as the program runs
  std::uint64_t begin;
  std::uint64_t end;
  std::uint32_t stream;
};

struct Cupti {
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks = nullptr;
  decltype(&cuptiActivityEnable) enable = nullptr;
  decltype(&cuptiActivityFlushAll) flush = nullptr;
  decltype(&cuptiActivityGetNextRecord) next = nullptr;
};

Cupti cupti;
std::mutex mutex;
std::vector<Launch>& launches() {  // never destroyed: exit handlers use it
  static auto* const all = new std::vector<Launch>;
  return *all;
}

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                          std::size_t valid) {
  const std::lock_guard lock(mutex);
  CUpti_Activity* record = nullptr;
  while (cupti.next(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
    // The fields of the first version stand in every later one.
    const auto* const kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
    launches().push_back({kernel->name, kernel->start, kernel->end, kernel->streamId});
  }
  std::free(buffer);
}

void write() {
  cupti.flush(1);
  const std::lock_guard lock(mutex);
  const char* const path = std::getenv("TENON_KERNEL_TRACE");
  if (path == nullptr) return;
  std::FILE* const file = std::fopen(path, "w");
  if (file == nullptr) {
    std::perror(path);
    return;
  }
  std::fputs("kernel,begin_ns,end_ns,stream\n", file);
  for (const Launch& launch : launches()) {
    char* const plain = abi::__cxa_demangle(launch.name, nullptr, nullptr, nullptr);
    std::fprintf(file, "\"%s\",%llu,%llu,%u\n", plain == nullptr ? launch.name : plain,
                 static_cast<unsigned long long>(launch.begin),
                 static_cast<unsigned long long>(launch.end), launch.stream);
    std::free(plain);
  }
  std::fclose(file);
}

template <class Function>
bool find(void* library, const char* name, Function& to) {
  to = reinterpret_cast<Function>(dlsym(library, name));
  return to != nullptr;
}

}  // namespace

/// What the driver calls when it has loaded this.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  void* library = dlopen("libcupti.so.13", RTLD_NOW);
  if (library == nullptr) library = dlopen("libcupti.so", RTLD_NOW);
  const bool ready = library != nullptr &&
                     find(library, "cuptiActivityRegisterCallbacks", cupti.register_callbacks) &&
                     find(library, "cuptiActivityEnable", cupti.enable) &&
                     find(library, "cuptiActivityFlushAll", cupti.flush) &&
                     find(library, "cuptiActivityGetNextRecord", cupti.next) &&
                     cupti.register_callbacks(give_buffer, take_buffer) == CUPTI_SUCCESS &&
                     cupti.enable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) == CUPTI_SUCCESS;
  if (!ready) {
    std::fprintf(stderr, "kernel_trace: nothing is traced: %s\n",
                 library == nullptr ? dlerror() : "CUPTI refuses");
    return 1;
  }
  std::atexit(write);
  return 1;
}
