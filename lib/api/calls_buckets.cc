// Calls of the key-value store.
#include <fmt/format.h>

#include "api/calls.h"
#include "api/fields.h"

namespace sp::api {

namespace {

constexpr size_t key_bytes_max = 1023;

const map::KeyValueBucket* bucket_argument(Context& context) {
  const auto at = context.map().buckets.find(context.argument(0));
  if (at != context.map().buckets.end()) return &at->second;
  context.fail(names::does_not_exist,
               fmt::format("bucket '{}' does not exist", context.argument(0).substr(0, 200)));
  return nullptr;
}

}  // namespace

void buckets_list(const ContextPtr& context) {
  Json json;
  json.begin_object().key("buckets").begin_object();
  for (const auto& [name, bucket] : context->map().buckets) json.put_number(name, bucket.version);
  json.end_object().end_object();
  context->reply(json.take());
}

void bucket_list(const ContextPtr& context) {
  const auto* bucket = bucket_argument(*context);
  if (bucket == nullptr) return;
  Json json;
  json.begin_object()
      .put("name", bucket->name)
      .put_number("version", bucket->version)
      .key("pairs")
      .begin_object();
  for (const auto& [key, value] : bucket->pairs) json.put(key, value);
  json.end_object().end_object();
  context->reply(json.take());
}

void bucket_get(const ContextPtr& context) {
  const auto* bucket = bucket_argument(*context);
  if (bucket == nullptr) return;
  const std::string& key = context->argument(1);
  const auto pair = bucket->pairs.find(key);
  if (pair == bucket->pairs.end())
    return context->fail(names::does_not_exist, fmt::format("bucket '{}' has no key '{}'",
                                                            bucket->name, key.substr(0, 200)));
  Json json;
  json.begin_object().put("name", bucket->name).put_number("version", bucket->version);
  json.key("pairs").begin_object().put(key, pair->second).end_object().end_object();
  context->reply(json.take());
}

void bucket_create(const ContextPtr& context) {
  const std::string& name = context->argument(0);
  if (const std::string why = check_name(NameKind::bucket, name); !why.empty())
    return context->fail(names::invalid_param, why);
  context->command(map::CreateBucket{name}, [context](uint64_t) { context->reply_ok(); });
}

void bucket_delete(const ContextPtr& context) {
  const auto* bucket = bucket_argument(*context);
  if (bucket == nullptr) return;
  context->command(map::DeleteBucket{bucket->name}, [context](uint64_t) { context->reply_ok(); });
}

void bucket_set(const ContextPtr& context) {
  const auto* bucket = bucket_argument(*context);
  if (bucket == nullptr) return;
  map::SetBucket set;
  set.name = bucket->name;
  Fields fields(context->json());
  set.run_if_version_is = fields.number("runIfVersionIs", 0, INT64_MAX);
  fields.require("set");
  size_t bytes = 0;
  if (const Value* pairs = fields.find("set")) {
    if (pairs->object() == nullptr) fields.fault("set must be an object of texts");
    for (const auto& [key, value] : pairs->members()) {
      const std::string* text = value.text();
      if (key.empty() || key.size() > key_bytes_max)
        fields.fault(fmt::format("a key must have 1 to {} bytes", key_bytes_max));
      else if (text == nullptr)
        fields.fault(fmt::format("set.{} must be a text", key.substr(0, 64)));
      else
        set.set.emplace(key, *text), bytes += key.size() + text->size() + 16;
    }
  }
  // One change is one entry of the log.
  if (bytes + 1024 > limits::raft_command_bytes_max)
    fields.fault(fmt::format("set: {} bytes in one request, at most {}", bytes,
                             limits::raft_command_bytes_max - 1024));
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(set, [context](uint64_t) { context->reply_ok(); });
}

}  // namespace sp::api
