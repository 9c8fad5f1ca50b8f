// sp-node: the nodes of the cluster, and the level of features that all of them support.
//   sp-node list | add NODE NAME ADDRESS | remove NODE NODE | voting NODE yes|no | raise-level
//   LEVEL
// Exit codes: sp(7).
#include <fmt/format.h>

#include "base/limits.h"
#include "base/units.h"
#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::string node, name, address, fault_set, voting, level;
  bool no_vote = false;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(node);
  }
};

int add_node(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().put_number("id", *parse_number(v.node, limits::nodes_max));
  json.put("name", v.name).put("address", v.address).put("faultSet", v.fault_set);
  json.put_boolean("voting", !v.no_vote).end_object();
  return remote.change("SpNodeAdd", json.take(), fmt::format("node {} added", v.node));
}

int set_voting(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().put_boolean("voting", v.voting == "yes").end_object();
  return remote.change(
      v.call("SpNodeSetVoting"), json.take(),
      fmt::format("node {} {}", v.node, v.voting == "yes" ? "will vote" : "will not vote"));
}

int raise_level(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().put_number("level", *parse_number(v.level, UINT32_MAX)).end_object();
  return remote.change("SpFeatureLevelRaise", json.take(),
                       fmt::format("the feature level is {}", v.level));
}

Status is_number(const char* what, const std::string& text, uint64_t most) {
  auto number = parse_number(text, most);
  return number.ok() ? Status() : std::move(number).error().with(what);
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-node", "The nodes of the cluster.");
  cli::Remote remote(options);
  options.verb("list", "All nodes, those that were removed too.").run([&] {
    return remote.list("SpNodesList", cli::columns::nodes);
  });
  auto& adding = options.verb("add", "Take a node into the cluster, or take it in again.");
  adding.argument("NODE", v.node, "Number of the node.")
      .argument("NAME", v.name, "Name of the node.")
      .argument("ADDRESS", v.address, "Where its beacon listens: ADDRESS:PORT.")
      .text("--fault-set", "NAME", v.fault_set, "Nodes of one fault set may fail together.")
      .flag("--no-vote", v.no_vote, "Its beacon does not vote.");
  adding.check([&] { return is_number("NODE", v.node, limits::nodes_max); });
  adding.run([&] { return add_node(remote, v); });
  auto& removing = options.verb("remove", "Take a node out of the cluster for good.");
  removing.argument("NODE", v.node, "Number or name of the node.");
  v.confirmation.add(removing, v.node);
  removing.run([&] {
    return remote.destroy(v.confirmation, "SpNodesList", v.call("SpNodeRemove"),
                          fmt::format("node {} removed", v.node));
  });
  auto& voting = options.verb("voting", "Whether the beacon of a node votes.");
  voting.argument("NODE", v.node, "Number or name of the node.")
      .argument("VOTING", v.voting, "yes or no.");
  voting.check([&]() -> Status {
    if (v.voting == "yes" || v.voting == "no") return {};
    return Error(Code::invalid, "VOTING: '" + v.voting + "' is neither yes nor no");
  });
  voting.run([&] { return set_voting(remote, v); });
  auto& raising = options.verb("raise-level", "Let the cluster use what its upgraded nodes know.");
  raising.argument("LEVEL", v.level, "The new feature level; it is never lowered.");
  raising.check([&] { return is_number("LEVEL", v.level, UINT32_MAX); });
  raising.run([&] { return raise_level(remote, v); });
  return options.execute(argc, argv);
}
