// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/doctor_facts.h"
#include "core/json.h"
#include "core/ledger.h"
#include "tenon/version.h"

namespace tenon::cli {
namespace {

constexpr const char* kVariables[] = {"TENON_CACHE_DIR", "TENON_CACHE_MAX_GIB",
                                      "TENON_LOG",       "XDG_CACHE_HOME",
                                      "HF_HOME",         "HF_HUB_CACHE"};

Json strings(const std::vector<std::string>& values) {
  Json list = Json::array();
  for (const std::string& value : values) list.push_back(value);
  return list;
}

Json processor_as_json(const ProcessorFacts& cpu) {
  Json json = Json::object();
  json.set("name", cpu.name);
  json.set("isa", cpu.isa);
  json.set("logical_processors", cpu.logical);
  json.set("allowed_processors", cpu.allowed);
  json.set("physical_cores_allowed", cpu.physical);
  json.set("cgroup_cores", cpu.quota > 0 ? Json(cpu.quota) : Json());
  return json;
}

Json memory_as_json(const MemoryFacts& memory) {
  Json json = Json::object();
  json.set("total_bytes", memory.total);
  json.set("available_bytes", memory.available);
  json.set("limit_bytes", memory.limit);
  json.set("free_within_limit_bytes", memory.free_within_limit);
  json.set("transparent_huge_pages", memory.transparent_huge_pages);
  json.set("reserved_huge_pages", memory.reserved_huge_pages);
  return json;
}

Json gpus_as_json(const GpuFacts& gpu) {
  Json json = Json::object();
  json.set("driver", gpu.driver);
  json.set("models", strings(gpu.models));
  json.set("devices", strings(gpu.devices));
  json.set("libcuda", gpu.library);
  json.set("cuda_version", gpu.cuda_version);
  json.set("usable", strings(gpu.usable));
  json.set("unusable", gpu.unusable);
  return json;
}

Json cache_as_json(const CacheFacts& cache) {
  Json json = Json::object();
  json.set("folder", cache.folder);
  json.set("writable", cache.writable);
  json.set("engines", cache.engines);
  json.set("bytes", cache.bytes);
  json.set("disk_free_bytes", cache.disk_free);
  return json;
}

Json as_json(const MachineFacts& facts, const std::vector<Finding>& findings) {
  Json uses = Json::object();
  uses.set("backend", facts.gpu.usable.empty() ? "cpu" : "cuda");
  uses.set("threads", facts.threads);
  uses.set("isa", facts.processor.isa);
  Json list = Json::array();
  for (const Finding& finding : findings) {
    Json row = Json::object();
    row.set("level", finding.warning ? "warning" : "note");
    row.set("what", finding.what);
    row.set("remedy", finding.remedy);
    list.push_back(std::move(row));
  }
  Json json = Json::object();
  json.set("version", kVersion);
  json.set("processor", processor_as_json(facts.processor));
  json.set("memory", memory_as_json(facts.memory));
  json.set("gpus", gpus_as_json(facts.gpu));
  json.set("cache", cache_as_json(facts.cache));
  json.set("uses", std::move(uses));
  json.set("findings", std::move(list));
  return json;
}

std::string gpu_lines(const GpuFacts& gpu) {
  if (gpu.driver.empty() && gpu.devices.empty() && !gpu.library) return "  none\n";
  std::string text;
  for (const std::string& model : gpu.models) text += fmt::format("  {}\n", model);
  for (const std::string& device : gpu.devices) text += fmt::format("  {}\n", device);
  text += fmt::format("  driver         {}\n", gpu.driver.empty() ? "none" : gpu.driver);
  text += fmt::format("  libcuda.so.1   {}\n", gpu.library ? "loads" : "does not load");
  if (gpu.cuda_version > 0)
    text += fmt::format("  CUDA           {}.{}\n", gpu.cuda_version / 1000,
                        gpu.cuda_version % 1000 / 10);
  for (std::size_t i = 0; i < gpu.usable.size(); ++i)
    text += fmt::format("  cuda:{}         {}\n", i, gpu.usable[i]);
  if (gpu.usable.empty()) text += fmt::format("  not used: {}\n", gpu.unusable);
  return text;
}

std::string as_text(const MachineFacts& facts) {
  const ProcessorFacts& cpu = facts.processor;
  const MemoryFacts& memory = facts.memory;
  std::string text = fmt::format("tenon {}\n\nProcessor\n  {}\n", kVersion, cpu.name);
  text += fmt::format("  instructions   {}\n", cpu.isa);
  text += fmt::format("  processors     {}, {} of them allowed: {} physical cores\n", cpu.logical,
                      cpu.allowed, cpu.physical);
  text += cpu.quota > 0 ? fmt::format("  limit          {:.2f} cores (cgroup)\n", cpu.quota)
                        : "  limit          none\n";
  text += fmt::format("\nMemory\n  total          {}, {} available\n", format_bytes(memory.total),
                      format_bytes(memory.available));
  text += memory.limit < memory.total
              ? fmt::format("  limit          {} (cgroup), {} free\n", format_bytes(memory.limit),
                            format_bytes(memory.free_within_limit))
              : "  limit          none\n";
  text += fmt::format(
      "  huge pages     transparent: {}, reserved: {}\n",
      memory.transparent_huge_pages.empty() ? "not in this kernel" : memory.transparent_huge_pages,
      memory.reserved_huge_pages);
  text += "\nGPUs\n" + gpu_lines(facts.gpu);
  text += fmt::format("\nCache folder\n  {}\n  {}, {} engines of {}, {} free on the disk\n",
                      facts.cache.folder.empty() ? "no place for one" : facts.cache.folder,
                      facts.cache.writable ? "writable" : "NOT writable", facts.cache.engines,
                      format_bytes(facts.cache.bytes), format_bytes(facts.cache.disk_free));
  for (const char* variable : kVariables)
    if (const char* value = std::getenv(variable))
      text += fmt::format("  {}={}\n", variable, value);
  text += "\nTenon will use\n";
  if (!facts.gpu.usable.empty())
    text += fmt::format("  CUDA backend on {} (--device cpu for the other)\n", facts.gpu.usable[0]);
  text += fmt::format("  CPU backend, {} threads pinned to physical cores, {}\n", facts.threads,
                      cpu.isa);
  return text;
}

}  // namespace

int doctor_command(const Arguments& arguments) {
  bool json = false;
  CommandLine line("doctor",
                   "Says what this machine has, what Tenon will use of it, and what is wrong, with "
                   "a remedy each. Ends with 0 whatever it finds.");
  line.flag("--json", json, "print as JSON");
  if (!line.parse(arguments)) return 0;

  const MachineFacts facts = find_machine_facts();
  const std::vector<Finding> findings = judge(facts);
  if (json) {
    std::printf("%s\n", as_json(facts, findings).dump(2).c_str());
    return 0;
  }
  std::fputs(as_text(facts).c_str(), stdout);
  std::printf("\n%s\n", findings.empty() ? "Nothing is wrong." : "Findings");
  for (const Finding& finding : findings)
    std::printf("  %s: %s\n    %s\n", finding.warning ? "WARNING" : "note", finding.what.c_str(),
                finding.remedy.c_str());
  return 0;
}

}  // namespace tenon::cli
