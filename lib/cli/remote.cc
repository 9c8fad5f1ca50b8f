#include "cli/remote.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/units.h"
#include "cli/exit_code.h"

namespace sp::cli {

namespace {

// A column made of one member of the API's objects.
struct Field {
  enum class Kind { text, number, size, boolean, numbers, time, tags };
  std::string key, title;
  Kind kind = Kind::text;
};

Field::Kind kind_of(std::string_view word) {
  constexpr std::pair<std::string_view, Field::Kind> kinds[] = {
      {"", Field::Kind::text},           {"number", Field::Kind::number},
      {"size", Field::Kind::size},       {"boolean", Field::Kind::boolean},
      {"numbers", Field::Kind::numbers}, {"time", Field::Kind::time},
      {"tags", Field::Kind::tags}};
  for (const auto& [name, kind] : kinds) {
    if (name == word) return kind;
  }
  SP_UNREACHABLE();
}

// "member TITLE kind, member TITLE": see columns.h.
std::vector<Field> fields_of(std::string_view text) {
  std::vector<Field> fields;
  while (!text.empty()) {
    const size_t end = std::min(text.find(", "), text.size());
    std::string_view entry = text.substr(0, end);
    text.remove_prefix(std::min(end + 2, text.size()));
    std::string_view words[3];
    for (auto& word : words) {
      const size_t space = std::min(entry.find(' '), entry.size());
      word = entry.substr(0, space);
      entry.remove_prefix(std::min(space + 1, entry.size()));
    }
    fields.push_back({std::string(words[0]), std::string(words[1]), kind_of(words[2])});
  }
  return fields;
}

std::string time_text(int64_t seconds) {
  std::tm parts{};
  const auto time = static_cast<std::time_t>(seconds);
  if (seconds == 0 || gmtime_r(&time, &parts) == nullptr) return "-";
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", parts);
}

Cell cell_of(const api::Value& value, Field::Kind kind) {
  std::string text;
  switch (kind) {
    case Field::Kind::text: return value.text_or_empty();
    case Field::Kind::number:
      return value.text() != nullptr ? Cell(*value.text()) : Cell(value.integer_or_zero());
    case Field::Kind::size:
      return value.text() != nullptr
                 ? Cell(*value.text())
                 : Cell(Bytes64{static_cast<uint64_t>(value.integer_or_zero())});
    case Field::Kind::boolean: return value.boolean_or_false();
    case Field::Kind::time: return time_text(value.integer_or_zero());
    case Field::Kind::numbers:
      for (const auto& element : value.elements())
        text += (text.empty() ? "" : ",") + element.text_or_empty();
      return text;
    case Field::Kind::tags:
      for (const auto& [name, content] : value.members())
        text += (text.empty() ? "" : ",") + name + "=" + content.text_or_empty();
      return text;
  }
  SP_UNREACHABLE();
}

// The objects in an answer, whichever way it holds them.
std::vector<const api::Value*> objects_in(const api::Value& data) {
  std::vector<const api::Value*> objects;
  for (const auto& element : data.elements()) objects.push_back(&element);
  bool nested = !data.members().empty();
  for (const auto& [name, member] : data.members()) nested = nested && member.object() != nullptr;
  for (const auto& [name, member] : data.members()) {
    if (nested) objects.push_back(&member);
  }
  if (!nested && !data.members().empty()) objects.push_back(&data);
  return objects;
}

void print_line(const std::string& text) { std::fputs((text + "\n").c_str(), stdout); }

}  // namespace

void Confirmation::add(Options& verb, const std::string& name) {
  verb.optional_argument("AGAIN", repeated, "The same again, as confirmation.");
  verb.flag("--yes", yes, "Do not ask for the name again.");
  verb.flag("--dry-run", dry_run, "Only say what would be done.");
  verb.check([this, &name]() -> Status {
    if (!repeated.empty() && repeated != name)
      return Error(Code::invalid,
                   fmt::format("'{}' and '{}' differ: nothing was done", name, repeated));
    if (repeated.empty() && !yes && !dry_run)
      return Error(Code::invalid, fmt::format("repeat '{}' as confirmation, or give --yes", name));
    return {};
  });
}

Remote::Remote(Options& options) : options_(options) {
  cluster_.add(options);
  options.duration("--timeout", timeout,
                   "How long to try, and to wait for the outcome (default 60s).");
  output.add(options);
}

int Remote::failed(const Error& error) const { return fail(options_.program(), error); }

Result<api::Client*> Remote::client() {
  if (!client_) {
    SP_TRY(const Config config, cluster_.load());
    SP_TRY(std::string token, load_token(config));
    client_.emplace(api::ClientOptions{mgmt_addresses(config), std::move(token), timeout});
  }
  return &*client_;
}

Result<api::Value> Remote::get(const std::string& call) {
  SP_TRY(api::Client * client, this->client());
  return client->get(call);
}

Result<api::Value> Remote::post(const std::string& call, const std::string& json) {
  SP_TRY(api::Client * client, this->client());
  return client->post(call, json);
}

int Remote::print(const api::Value& data, const char* columns_text, bool upright,
                  const std::function<bool(const api::Value&)>& chosen) {
  if (output.format == Format::json && !chosen) {
    print_line(api::to_json(data));
    return exit_done;
  }
  const auto objects = objects_in(data);
  const auto fields = fields_of(columns_text);
  if (output.format == Format::json) {
    api::Json json;
    json.begin_array();
    for (const auto* object : objects) {
      if (chosen(*object)) json.raw(api::to_json(*object));
    }
    print_line(json.end_array().take());
    return exit_done;
  }
  if (upright && output.format == Format::table && objects.size() == 1) {
    Table table({{"field", "FIELD"}, {"value", "VALUE"}});
    for (const auto& field : fields)
      table.add(
          {field.key, cell_text(cell_of((*objects.front())[field.key], field.kind), output.exact)});
    OutputOptions plain = output;
    plain.no_header = true;
    table.print(plain);
    return exit_done;
  }
  std::vector<Column> columns;
  for (const auto& field : fields) columns.push_back({field.key, field.title});
  Table table(std::move(columns));
  for (const auto* object : objects) {
    if (chosen && !chosen(*object)) continue;
    std::vector<Cell> row;
    for (const auto& field : fields) row.push_back(cell_of((*object)[field.key], field.kind));
    table.add(std::move(row));
  }
  table.print(output);
  return exit_done;
}

int Remote::list(const std::string& call, const char* columns_text,
                 const std::function<bool(const api::Value&)>& chosen) {
  const auto data = get(call);
  return data.ok() ? print(*data, columns_text, false, chosen) : failed(data.error());
}

int Remote::list_named(const std::string& call, const char* columns_text, const std::string& name) {
  if (name.empty()) return list(call, columns_text);
  const auto data = get(call);
  if (!data.ok()) return failed(data.error());
  const auto is_it = [&](const api::Value& row) {
    return row["name"].text_or_empty() == name || "~" + row["globalId"].text_or_empty() == name;
  };
  const auto objects = objects_in(*data);
  if (std::none_of(objects.begin(), objects.end(),
                   [&](const api::Value* row) { return is_it(*row); }))
    return failed(Error(Code::not_found, fmt::format("'{}' does not exist", name)));
  return print(*data, columns_text, false, is_it);
}

int Remote::list_inside(const std::string& call, const char* member, const char* columns_text) {
  const auto data = get(call);
  return data.ok() ? print((*data)[member], columns_text) : failed(data.error());
}

int Remote::print_pairs(const api::Value& object, const char* key, const char* value) {
  if (output.format == Format::json) return print(object, "");
  const auto title = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
  };
  Table table({{key, title(key)}, {value, title(value)}});
  for (const auto& [name, content] : object.members()) table.add({name, content.text_or_empty()});
  table.print(output);
  return exit_done;
}

int Remote::show(const std::string& call, const char* columns_text) {
  const auto data = get(call);
  return data.ok() ? print(*data, columns_text, true, nullptr) : failed(data.error());
}

int Remote::change(const std::string& call, const std::string& json, const std::string& done) {
  const auto data = post(call, json);
  if (!data.ok()) return failed(data.error());
  if (output.format == Format::json)
    print_line(api::to_json(*data));
  else
    print_line(done);
  return exit_done;
}

int Remote::change_text(const std::string& call, const char* member, const std::string& value,
                        const std::string& done) {
  api::Json json;
  return change(call, json.begin_object().put(member, value).end_object().take(), done);
}

int Remote::destroy(const Confirmation& confirmation, const std::string& describe,
                    const std::string& call, const std::string& what) {
  if (!confirmation.dry_run) return change(call, "", what);
  const auto there = get(describe);
  if (!there.ok()) return failed(there.error());
  print_line("would do: " + what);
  return exit_done;
}

Result<SizeChange> parse_size_change(const std::string& text) {
  const bool relative = text.starts_with('+');
  SP_TRY(const uint64_t bytes, parse_size(std::string_view(text).substr(relative)));
  return SizeChange{relative, bytes};
}

void put_limit(api::Json& json, const char* key, const std::optional<uint64_t>& limit) {
  if (limit && *limit == 0)
    json.put(key, "-");
  else if (limit)
    json.put_number(key, *limit);
}

Status put_tags(api::Json& json, const std::vector<std::string>& tags) {
  json.begin_object();
  for (const auto& tag : tags) {
    const size_t equal = tag.find('=');
    if (equal == std::string::npos || equal == 0)
      return Error(Code::invalid, fmt::format("'{}' is not a tag: write NAME=VALUE", tag));
    json.put(tag.substr(0, equal), tag.substr(equal + 1));
  }
  json.end_object();
  return {};
}

Status check_tags(const std::vector<std::string>& tags) {
  api::Json json;
  return put_tags(json, tags);
}

}  // namespace sp::cli
