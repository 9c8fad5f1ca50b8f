#include "cli/health.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/units.h"
#include "cli/exit_code.h"

namespace sp::cli {

namespace {

std::string counts(const api::Value& value) {
  return fmt::format("{} of {}", value["up"].integer_or_zero(), value["all"].integer_or_zero());
}

std::string bytes(const api::Value& value, const OutputOptions& output) {
  const auto number = static_cast<uint64_t>(value.integer_or_zero());
  return output.exact ? std::to_string(number) : format_size(number);
}

// "degraded", "recovering", ...: only what there is.
std::string sets_text(const api::Value& sets) {
  std::string text = fmt::format("{}", sets["all"].integer_or_zero());
  for (const char* state : {"waiting", "readOnly", "degraded", "recovering", "migrating"}) {
    if (const int64_t count = sets[state].integer_or_zero(); count > 0)
      text += fmt::format(", {} {}", count, state);
  }
  return text;
}

std::string volumes_text(const api::Value& volumes, const OutputOptions& output) {
  std::string text =
      fmt::format("{}, {} attachments, {}", volumes["all"].integer_or_zero(),
                  volumes["attached"].integer_or_zero(), bytes(volumes["size"], output));
  if (const int64_t count = volumes["snapshots"].integer_or_zero(); count > 0)
    text += fmt::format(", {} snapshots", count);
  return text;
}

std::string tasks_text(const api::Value& tasks) {
  if (tasks.elements().empty()) return "none";
  int64_t all = 0, done = 0;
  for (const auto& task : tasks.elements()) {
    all += task["objectsAll"].integer_or_zero();
    done += task["objectsCompleted"].integer_or_zero();
  }
  return fmt::format("{} recoveries, {} of {} objects done", tasks.elements().size(), done, all);
}

std::string as_tsv(const api::Value& status) {
  Table table({{"severity", ""}, {"text", ""}});
  table.add({std::string("overall"), status["severity"].text_or_empty()});
  for (const auto& warning : status["warnings"].elements())
    table.add({warning["severity"].text_or_empty(), warning["text"].text_or_empty()});
  OutputOptions output;
  output.format = Format::tsv;
  output.no_header = true;
  return table.format(output);
}

}  // namespace

int health_exit_code(const api::Value& status) {
  if (!status["cluster"]["quorum"].boolean_or_false()) return exit_unreachable;
  const std::string severity = status["severity"].text_or_empty();
  return severity == "ok" ? exit_done : severity == "warning" ? exit_transient : exit_failed;
}

Result<api::Value> await_health(Remote& remote) {
  const auto deadline = std::chrono::steady_clock::now() + remote.timeout;
  while (true) {
    auto status = remote.get("SpStatus");
    const bool healthy = status.ok() && health_exit_code(*status) == exit_done;
    if (healthy || std::chrono::steady_clock::now() >= deadline) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

std::string health_text(const api::Value& status, const OutputOptions& output) {
  if (output.format == Format::json) return api::to_json(status) + "\n";
  if (output.format == Format::tsv) return as_tsv(status);
  const auto& cluster = status["cluster"];
  const std::pair<const char*, std::string> lines[] = {
      {"cluster", fmt::format("{} ({}), {}, feature level {}", cluster["name"].text_or_empty(),
                              cluster["id"].text_or_empty(),
                              cluster["quorum"].boolean_or_false() ? "quorum" : "NO QUORUM",
                              cluster["featureLevel"].integer_or_zero())},
      {"health", status["severity"].text_or_empty()},
      {"nodes", counts(status["nodes"]) + " up, voting " + counts(status["voters"])},
      {"servers", counts(status["servers"]) + " up"},
      {"clients", counts(status["clients"]) + " up"},
      {"management", fmt::format("{} up, active on node {}", counts(status["mgmt"]),
                                 cluster["activeMgmt"].integer_or_zero())},
      {"disks", fmt::format("{} up, {} of {} used", counts(status["disks"]),
                            bytes(status["space"]["used"], output),
                            bytes(status["space"]["capacity"], output))},
      {"disk sets", sets_text(status["sets"])},
      {"volumes", volumes_text(status["volumes"], output)},
      {"tasks", tasks_text(status["tasks"])},
  };
  std::string text;
  for (const auto& [name, value] : lines) text += fmt::format("{:<12}{}\n", name, value);
  for (const auto& warning : status["warnings"].elements())
    text += fmt::format("{:<12}{}\n", warning["severity"].text_or_empty(),
                        warning["text"].text_or_empty());
  return text;
}

}  // namespace sp::cli
