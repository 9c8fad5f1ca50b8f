#include "raft/message.h"

namespace sp::raft {

namespace {

constexpr uint8_t message_version = 1;

bool has_entries(MessageType type) { return type == MessageType::append; }
bool has_snapshot(MessageType type) { return type == MessageType::snapshot_chunk; }

Error invalid(const char* what) {
  return Error(Code::invalid, std::string("a message of the agreement group ") + what +
                                  "; drop it and check the peer's version");
}

// Entries must follow `index` without a gap, with terms that never fall and never exceed the
// sender's.
Result<std::vector<LogEntry>> decode_entries(Reader& in, const Message& head) {
  std::vector<LogEntry> entries;
  const uint32_t count = in.count(limits::raft_append_entries_max);
  Term least = head.log_term;
  for (uint32_t i = 0; i < count && !in.failed(); ++i) {
    LogEntry entry;
    entry.index = head.index + 1 + i;
    entry.term = in.number<Term>();
    entry.kind = in.number<EntryKind>();
    const uint32_t size = in.count(limits::raft_command_bytes_max);
    const Bytes data = in.raw(size);
    entry.data.assign(data.begin(), data.end());
    if (in.failed()) break;
    if (entry.term < least || entry.term == 0 || entry.term > head.term)
      return invalid("has entries of impossible terms");
    if (entry.kind < EntryKind::command || entry.kind > EntryKind::noop)
      return invalid("has an entry of an unknown kind");
    if (entry.kind == EntryKind::configuration && !Config::decode_all(entry.data).ok())
      return invalid("has a configuration entry that cannot be read");
    least = entry.term;
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

std::vector<std::byte> Message::encode() const {
  Writer out;
  out.number(message_version)
      .number(type)
      .number(from)
      .number(to)
      .number(from_log)
      .number(to_log)
      .number(term);
  out.number(index).number(log_term).number(commit).number(round).number(nonce).number(offset);
  out.number(static_cast<uint8_t>((refused ? 1 : 0) | (transfer ? 2 : 0)));
  if (has_entries(type)) {
    out.number(static_cast<uint32_t>(entries.size()));
    for (const LogEntry& entry : entries) {
      out.number(entry.term).number(entry.kind).number(static_cast<uint32_t>(entry.data.size()));
      out.raw(entry.data);
    }
  }
  if (has_snapshot(type)) {
    out.number(total).number(checksum);
    config.encode(out);
    out.number(static_cast<uint32_t>(data.size())).raw(data);
  }
  return std::move(out).take();
}

Result<Message> Message::decode(Bytes bytes) {
  Reader in(bytes);
  Message message;
  if (in.number<uint8_t>() != message_version)
    return invalid("has a version that this program does not know");
  message.type = in.number<MessageType>();
  message.from = in.number<NodeId>();
  message.to = in.number<NodeId>();
  message.from_log = in.number<uint64_t>();
  message.to_log = in.number<uint64_t>();
  message.term = in.number<Term>();
  message.index = in.number<Index>();
  message.log_term = in.number<Term>();
  message.commit = in.number<Index>();
  message.round = in.number<uint64_t>();
  message.nonce = in.number<uint64_t>();
  message.offset = in.number<uint64_t>();
  const auto flags = in.number<uint8_t>();
  message.refused = (flags & 1) != 0;
  message.transfer = (flags & 2) != 0;
  if (in.failed()) return invalid("is cut short");
  if (message.type < MessageType::append || message.type > MessageType::wrong_log || flags > 3)
    return invalid("has a type or flags that this program does not know");
  if (message.from == 0 || message.from > limits::nodes_max)
    return invalid("comes from an impossible node");
  if (has_entries(message.type)) {
    SP_TRY(message.entries, decode_entries(in, message));
  }
  if (has_snapshot(message.type)) {
    message.total = in.number<uint64_t>();
    message.checksum = in.number<uint64_t>();
    auto config = Config::decode(in);
    if (!config.ok()) return invalid("has a configuration that cannot be read");
    message.config = std::move(config).value();
    const Bytes data = in.raw(in.count(limits::message_body_bytes_max));
    message.data.assign(data.begin(), data.end());
    if (message.total > limits::raft_snapshot_bytes_max || message.offset > message.total ||
        message.data.size() > message.total - message.offset)
      return invalid("has a snapshot chunk outside its snapshot");
  }
  if (!in.finished()) return invalid("is cut short, too long, or has bytes after its end");
  return message;
}

}  // namespace sp::raft
