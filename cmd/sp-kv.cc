// sp-kv: the cluster's key-value store, for small settings of scripts and tools.
//   sp-kv list [BUCKET] | get BUCKET KEY | set BUCKET KEY VALUE | unset BUCKET KEY | create BUCKET
//   | delete BUCKET BUCKET
// Exit codes: sp(7); 4 also when --if-version does not match.
#include <fmt/format.h>

#include <cstdio>

#include "cli/exit_code.h"
#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::string bucket, key, value;
  std::optional<uint64_t> if_version;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(bucket);
  }
};

int list_buckets(cli::Remote& remote) {
  const auto data = remote.get("KV");
  return data.ok() ? remote.print_pairs((*data)["buckets"], "name", "version")
                   : remote.failed(data.error());
}

int list_pairs(cli::Remote& remote, const Values& v) {
  const auto data = remote.get(v.call("KV/List"));
  return data.ok() ? remote.print_pairs((*data)["pairs"], "key", "value")
                   : remote.failed(data.error());
}

int get(cli::Remote& remote, const Values& v) {
  const auto data = remote.get(v.call("KV/Get") + "/" + api::path_part(v.key));
  if (!data.ok()) return remote.failed(data.error());
  if (remote.output.format == cli::Format::json) return remote.print(*data, "");
  std::fputs(((*data)["pairs"][v.key].text_or_empty() + "\n").c_str(), stdout);
  return cli::exit_done;
}

int set(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().key("set").begin_object().put(v.key, v.value).end_object();
  if (v.if_version) json.put_number("runIfVersionIs", *v.if_version);
  return remote.change(v.call("KV/Set"), json.end_object().take(),
                       fmt::format("{} {}", v.key, v.value.empty() ? "unset" : "set"));
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-kv", "The cluster's key-value store.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    return options.verb(name, help).argument("BUCKET", v.bucket, "Name of the bucket.");
  };
  auto& listing = options.verb("list", "All buckets, or all pairs of one.")
                      .optional_argument("BUCKET", v.bucket, "Name of the bucket.");
  listing.run([&] { return v.bucket.empty() ? list_buckets(remote) : list_pairs(remote, v); });
  verb("get", "One value.").argument("KEY", v.key, "Key.").run([&] { return get(remote, v); });
  auto& setting = verb("set", "Set a value.")
                      .argument("KEY", v.key, "Key.")
                      .argument("VALUE", v.value, "Value.");
  setting.number("--if-version", 0, INT64_MAX, v.if_version,
                 "Only if the bucket still has this version.");
  setting.run([&] { return set(remote, v); });
  auto& unsetting = verb("unset", "Remove a key.").argument("KEY", v.key, "Key.");
  unsetting.number("--if-version", 0, INT64_MAX, v.if_version,
                   "Only if the bucket still has this version.");
  unsetting.run([&] { return set(remote, v); });
  verb("create", "Make an empty bucket.").run([&] {
    return remote.change(v.call("KV/Create"), "", fmt::format("bucket {} created", v.bucket));
  });
  auto& deleting = verb("delete", "Delete a bucket and all that is in it.");
  v.confirmation.add(deleting, v.bucket);
  deleting.run([&] {
    return remote.destroy(v.confirmation, v.call("KV/List"), v.call("KV/Delete"),
                          fmt::format("bucket {} deleted", v.bucket));
  });
  return options.execute(argc, argv);
}
