// Remote: what commands that front the control API have in common: finding and asking the
// management service, printing its answers, confirming what destroys.
//
//   cli::Options options("sp-volume", "...");
//   cli::Remote remote(options);                       // adds --config, --timeout, --json and the
//   like options.verb("list", "...").run([&] { return remote.list("VolumesList",
//   cli::columns::volumes); }); return options.execute(argc, argv);
//
// All methods return the exit code, after printing the answer to stdout or the error to stderr.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/client.h"
#include "cli/columns.h"
#include "cli/options.h"
#include "cli/output.h"

namespace sp::cli {

// Repeating the name, --yes, --dry-run: for verbs that destroy.
struct Confirmation {
  std::string repeated;
  bool yes = false, dry_run = false;
  // `name` is what the verb destroys.
  void add(Options& verb, const std::string& name);
};

class Remote {
 public:
  explicit Remote(Options& options);

  // Prints the objects of an answer: an array, an object of objects, or one object. `chosen`: those
  // to print.
  int list(const std::string& call, const char* columns,
           const std::function<bool(const api::Value&)>& chosen = nullptr);
  // Of a list, only the object of that name (all when it is empty); Code::not_found.
  int list_named(const std::string& call, const char* columns, const std::string& name);
  // The list that is a member of the answer.
  int list_inside(const std::string& call, const char* member, const char* columns);
  // What was asked for already.
  int print(const api::Value& data, const char* columns, bool upright = false,
            const std::function<bool(const api::Value&)>& chosen = nullptr);
  // The members of an object, one a line.
  int print_pairs(const api::Value& object, const char* key, const char* value);
  // One object, its fields below each other.
  int show(const std::string& call, const char* columns);
  // Proposes a change and prints `done` when it is confirmed (with --json: the answer).
  int change(const std::string& call, const std::string& json, const std::string& done);
  // A change of one member, a text.
  int change_text(const std::string& call, const char* member, const std::string& value,
                  const std::string& done);
  // Asks `describe` (a GET) first; prints what would be done with --dry-run and stops there.
  int destroy(const Confirmation& confirmation, const std::string& describe,
              const std::string& call, const std::string& what);

  Result<api::Value> get(const std::string& call);
  Result<api::Value> post(const std::string& call, const std::string& json);
  int failed(const Error& error) const;
  Result<Config> config() const { return cluster_.load(); }
  Result<NodeConfig> own(const Config& config) const { return cluster_.own(config); }

  OutputOptions output;
  std::chrono::milliseconds timeout{60'000};

 private:
  Result<api::Client*> client();

  Options& options_;
  ClusterOptions cluster_;
  std::optional<api::Client> client_;
};

// A new size, or "+SIZE" to grow by.
struct SizeChange {
  bool relative = false;
  uint64_t bytes = 0;
};
Result<SizeChange> parse_size_change(const std::string& text);
template <class T>
Status checked(Result<T> result) {
  return result.ok() ? Status() : Status(std::move(result).error());
}
// A limit of the API: a number, "-" for 0 (none); nothing when not given.
void put_limit(api::Json& json, const char* key, const std::optional<uint64_t>& limit);
// {"a":"1"} of {"a=1"}; Code::invalid for a text without '='.
Status put_tags(api::Json& json, const std::vector<std::string>& tags);
Status check_tags(const std::vector<std::string>& tags);

}  // namespace sp::cli
