#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <deque>

#include "base/limits.h"
#include "base/units.h"
#include "cli/exit_code.h"

namespace sp::cli {

struct Options::Level {
  CLI::App* app = nullptr;
  CLI::Option* last = nullptr;
  std::deque<std::string> texts;                // what CLI11 fills; stable addresses
  std::vector<std::function<Status()>> checks;  // conversions, then checks
  std::function<int()> run;
  std::unique_ptr<Options> options;  // the handle given out for a verb
};

struct Options::Tree {
  CLI::App app;
  std::string program, chosen;
  bool verb_optional = false;
  std::deque<Level> levels;  // [0]: the program
  std::vector<std::function<std::optional<int>()>> actions;

  Tree(const std::string& summary, const std::string& name) : app(summary, name), program(name) {}
};

Options::Options(std::string program, const std::string& summary)
    : tree_(std::make_shared<Tree>(summary, program)) {
  tree_->app.set_help_flag("-h,--help", "Print this help and exit.");
  tree_->app.set_version_flag("--version", fmt::format("{} {}", tree_->program, SP_VERSION),
                              "Print the version and exit.");
  tree_->app.fallthrough();
  tree_->app.get_formatter()->column_width(34);
  tree_->levels.emplace_back().app = &tree_->app;
  level_ = &tree_->levels.front();
}

Options::Options(std::shared_ptr<Tree> tree, Level* level)
    : tree_(std::move(tree)), level_(level) {}

Options::~Options() {
  // Handles of verbs share the tree: the program's own handle breaks the circle.
  if (level_ == &tree_->levels.front()) {
    for (Level& level : tree_->levels) level.options.reset();
  }
}

Options& Options::flag(const std::string& names, bool& into, const std::string& help) {
  level_->last = level_->app->add_flag(names, into, help);
  return *this;
}

Options& Options::text(const std::string& names, const std::string& value, std::string& into,
                       const std::string& help) {
  level_->last = level_->app->add_option(names, into, help)->type_name(value);
  level_->checks.push_back([option = level_->last, &into]() -> Status {
    if (option->count() > 0 && into.empty())
      return Error(Code::invalid, fmt::format("{} must not be empty", option->get_name()));
    return {};
  });
  return *this;
}

Options& Options::number(const std::string& names, uint64_t min, uint64_t max,
                         std::optional<uint64_t>& into, const std::string& help) {
  std::string& text = level_->texts.emplace_back();
  level_->last = level_->app->add_option(names, text, help)->type_name("N");
  level_->checks.push_back([option = level_->last, &text, &into, min, max]() -> Status {
    if (option->count() == 0) return {};
    auto value = parse_number(text, max);
    if (!value.ok()) return std::move(value).error().with(option->get_name());
    if (*value < min)
      return Error(Code::invalid, fmt::format("{}: {} is too small: at least {}",
                                              option->get_name(), *value, min));
    into = *value;
    return {};
  });
  return *this;
}

Options& Options::size(const std::string& names, std::optional<uint64_t>& into,
                       const std::string& help) {
  std::string& text = level_->texts.emplace_back();
  level_->last = level_->app->add_option(names, text, help)->type_name("SIZE");
  level_->checks.push_back([option = level_->last, &text, &into]() -> Status {
    if (option->count() == 0) return {};
    auto value = parse_size(text);
    if (!value.ok()) return std::move(value).error().with(option->get_name());
    into = *value;
    return {};
  });
  return *this;
}

Options& Options::duration(const std::string& names, std::chrono::microseconds& into,
                           const std::string& help) {
  return any_duration(names, help, [&into](std::chrono::microseconds value) -> Status {
    into = value;
    return {};
  });
}

Options& Options::duration(const std::string& names, std::chrono::milliseconds& into,
                           const std::string& help) {
  return any_duration(names, help, [&into](std::chrono::microseconds value) -> Status {
    into = std::chrono::floor<std::chrono::milliseconds>(value);
    if (into != value) return Error(Code::invalid, "whole milliseconds are wanted");
    return {};
  });
}

Options& Options::any_duration(const std::string& names, const std::string& help,
                               std::function<Status(std::chrono::microseconds)> take) {
  std::string& text = level_->texts.emplace_back();
  level_->last = level_->app->add_option(names, text, help)->type_name("DURATION");
  level_->checks.push_back([option = level_->last, &text, take = std::move(take)]() -> Status {
    if (option->count() == 0) return {};
    const auto value = parse_duration(text);
    Status taken = value.ok() ? take(*value) : Status(value.error());
    if (!taken.ok()) return std::move(taken).error().with(option->get_name());
    return {};
  });
  return *this;
}

Options& Options::choice(const std::string& names, const std::vector<std::string>& words,
                         std::string& into, const std::string& help) {
  level_->last = level_->app->add_option(names, into, help)
                     ->type_name(fmt::format("{}", fmt::join(words, "|")));
  level_->checks.push_back([option = level_->last, words, &into]() -> Status {
    if (option->count() == 0 || std::find(words.begin(), words.end(), into) != words.end())
      return {};
    return Error(Code::invalid, fmt::format("{}: '{}' is not one of {}", option->get_name(), into,
                                            fmt::join(words, ", ")));
  });
  return *this;
}

Options& Options::list(const std::string& names, const std::string& value,
                       std::vector<std::string>& into, const std::string& help) {
  level_->last = level_->app->add_option(names, into, help)
                     ->type_name(value)
                     ->expected(1)
                     ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Options& Options::argument(const std::string& value, std::string& into, const std::string& help) {
  optional_argument(value, into, help);
  level_->last->required();
  return *this;
}

Options& Options::optional_argument(const std::string& value, std::string& into,
                                    const std::string& help) {
  return text(value, "", into, help);
}

Options& Options::arguments(const std::string& value, std::vector<std::string>& into,
                            const std::string& help) {
  optional_arguments(value, into, help);
  level_->last->required();
  return *this;
}

Options& Options::optional_arguments(const std::string& value, std::vector<std::string>& into,
                                     const std::string& help) {
  level_->last = level_->app->add_option(value, into, help)->type_name("");
  return *this;
}

Options& Options::required() {
  SP_ASSERT(level_->last != nullptr);
  level_->last->required();
  return *this;
}

Options& Options::verb(const std::string& name, const std::string& summary) {
  Level& level = tree_->levels.emplace_back();
  level.app = level_->app->add_subcommand(name, summary);
  level.options.reset(new Options(tree_, &level));
  return *level.options;
}

Options& Options::verb_optional() {
  tree_->verb_optional = true;
  return *this;
}

const std::string& Options::chosen() const { return tree_->chosen; }
const std::string& Options::program() const { return tree_->program; }
std::string Options::help() const { return level_->app->help(); }

Options& Options::check(std::function<Status()> check) {
  level_->checks.push_back(std::move(check));
  return *this;
}

Options& Options::action(std::function<std::optional<int>()> action) {
  tree_->actions.push_back(std::move(action));
  return *this;
}

Options& Options::run(std::function<int()> run) {
  level_->run = std::move(run);
  return *this;
}

int Options::execute(int argc, const char* const* argv) {
  if (const auto code = parse(argc, argv)) return *code;
  for (Level& level : tree_->levels) {
    const bool chosen =
        &level == &tree_->levels.front() ? tree_->chosen.empty() : level.app->parsed();
    if (chosen) return level.run();
  }
  SP_UNREACHABLE();
}

std::optional<int> Options::parse(int argc, const char* const* argv) {
  Tree& tree = *tree_;
  std::string faults;
  Level* verb = nullptr;
  try {
    if (tree.levels.size() > 1) tree.app.require_subcommand(0, 1);
    tree.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = tree.app.get_subcommands();
    std::fputs((chosen.empty() ? tree.app.help() : chosen.front()->help(tree.program)).c_str(),
               stdout);
    return exit_done;
  } catch (const CLI::CallForVersion& version) {
    std::fputs((std::string(version.what()) + "\n").c_str(), stdout);
    return exit_done;
  } catch (const CLI::ParseError& error) {
    faults = fmt::format("{}: {}\n", tree.program, error.what());
  }
  for (Level& level : tree.levels) {
    if (&level != &tree.levels.front() && level.app->parsed()) verb = &level;
  }
  if (verb != nullptr) tree.chosen = verb->app->get_name();
  if (faults.empty()) {
    if (tree.levels.size() > 1 && verb == nullptr && !tree.verb_optional) {
      faults = fmt::format("{}: say what to do:", tree.program);
      for (size_t i = 1; i < tree.levels.size(); ++i)
        faults += (i == 1 ? " " : ", ") + tree.levels[i].app->get_name();
      faults += '\n';
    }
    for (Level* level : {&tree.levels.front(), verb}) {
      if (level == nullptr) continue;
      for (auto& check : level->checks) {
        if (const Status status = check(); !status.ok())
          faults += fmt::format("{}: {}\n", tree.program, status.error().message());
      }
    }
  }
  if (!faults.empty()) {
    faults += fmt::format("Try: {}{}{} --help\n", tree.program, verb ? " " : "", tree.chosen);
    std::fputs(faults.c_str(), stderr);
    return exit_usage;
  }
  for (auto& action : tree.actions) {
    if (const auto code = action()) return code;
  }
  return std::nullopt;
}

void ClusterOptions::add(Options& options) {
  options.text("--config", "PATH", config,
               "The cluster's configuration (else $SP_CONFIG, else /etc/sp/sp.toml).");
  options.number("--node", 1, limits::nodes_max, node,
                 "Act as this node (else $SP_NODE, else the node named as this host).");
  options.flag("--show-config", show_config, "Print the effective configuration and exit.");
  options.action([this, &options]() -> std::optional<int> {
    if (!show_config) return std::nullopt;
    const auto loaded = load();
    if (!loaded.ok()) return fail(options.program(), loaded.error());
    std::fputs(cli::show_config(*loaded).c_str(), stdout);
    return exit_done;
  });
}

Result<Config> ClusterOptions::load() const { return load_config(config_path(config)); }
Result<NodeConfig> ClusterOptions::own(const Config& loaded) const {
  return own_node(loaded, static_cast<uint16_t>(node.value_or(0)));
}

}  // namespace sp::cli
