// Options: the command line of one sp-* command, and the groups that all of them share. A thin
// front of CLI11, which stays in options.cc.
//
//   cli::Options options("sp-volume", "List, create, change and delete volumes.");
//   cli::ClusterOptions cluster;      cluster.add(options);
//   auto& create = options.verb("create", "Create a volume.");
//   create.argument("NAME", name, "Name of the volume.").size("--size", size, "Size, like 10G.");
//   if (auto code = options.parse(argc, argv)) return *code;          // --help, --version,
//   --show-config, or wrong usage (2)
//
// Values are converted and checked after the whole line was read, so that all faults are reported
// at once. What `into` refers to must outlive parse(). Options of the program are accepted in front
// of and behind the verb.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/config.h"

namespace sp::cli {

class Options {
 public:
  Options(std::string program, const std::string& summary);
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  // `names`: "--long" or "-s,--long"; `value`: how help calls the value ("NAME", "PATH").
  Options& flag(const std::string& names, bool& into, const std::string& help);
  Options& text(const std::string& names, const std::string& value, std::string& into,
                const std::string& help);
  Options& number(const std::string& names, uint64_t min, uint64_t max,
                  std::optional<uint64_t>& into, const std::string& help);
  Options& size(const std::string& names, std::optional<uint64_t>& into, const std::string& help);
  Options& duration(const std::string& names, std::chrono::microseconds& into,
                    const std::string& help);
  Options& duration(const std::string& names, std::chrono::milliseconds& into,
                    const std::string& help);  // whole ones; Code::invalid otherwise
  Options& choice(const std::string& names, const std::vector<std::string>& words,
                  std::string& into, const std::string& help);
  Options& list(const std::string& names, const std::string& value, std::vector<std::string>& into,
                const std::string& help);  // may be repeated
  // Positional ones, in order of the calls.
  Options& argument(const std::string& value, std::string& into, const std::string& help);
  Options& optional_argument(const std::string& value, std::string& into, const std::string& help);
  Options& arguments(const std::string& value, std::vector<std::string>& into,
                     const std::string& help);  // one or more
  Options& optional_arguments(const std::string& value, std::vector<std::string>& into,
                              const std::string& help);  // any number
  Options& required();                                   // the option named last must be given

  // A verb with options of its own. With verbs, exactly one has to be given, unless `verb_optional`
  // was called.
  Options& verb(const std::string& name, const std::string& summary);
  Options& verb_optional();
  const std::string& chosen() const;  // the verb given; empty: none

  // Called after all values are converted; every fault of every check (of the program and of the
  // verb chosen) is printed, then usage.
  Options& check(std::function<Status()> check);
  // Called when all is well; a value ends the program with that exit code (as --show-config does).
  Options& action(std::function<std::optional<int>()> action);

  // What the verb (or the program, when it has no verbs) does; its value is the exit code.
  Options& run(std::function<int()> run);
  // parse(), then run() of what was chosen.
  int execute(int argc, const char* const* argv);

  std::optional<int> parse(int argc, const char* const* argv);
  std::string help() const;
  const std::string& program() const;

 private:
  struct Tree;
  struct Level;
  Options(std::shared_ptr<Tree> tree, Level* level);
  Options& any_duration(const std::string& names, const std::string& help,
                        std::function<Status(std::chrono::microseconds)> take);
  std::shared_ptr<Tree> tree_;
  Level* level_;
};

// --config, --node, --show-config.
struct ClusterOptions {
  std::string config;
  std::optional<uint64_t> node;
  bool show_config = false;

  void add(Options& options);
  Result<Config> load() const;                         // the configuration that these options name
  Result<NodeConfig> own(const Config& loaded) const;  // the node that this host is
};

}  // namespace sp::cli
