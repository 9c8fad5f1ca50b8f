#include "attach/nbd_protocol.h"

namespace sp::attach::nbd {

std::string BigReader::text(uint32_t size) {
  if (size > string_bytes_max) failed_ = true;
  return failed_ ? std::string() : std::string(as_text(reader_.raw(size)));
}

OptionHeader parse_option_header(Bytes bytes) {
  BigReader reader(bytes);
  OptionHeader header{};
  header.magic = reader.number<uint64_t>();
  header.option = static_cast<Option>(reader.number<uint32_t>());
  header.size = reader.number<uint32_t>();
  return header;
}

Request parse_request(Bytes bytes) {
  BigReader reader(bytes);
  Request request{};
  request.magic = reader.number<uint32_t>();
  request.flags = reader.number<uint16_t>();
  request.command = static_cast<Command>(reader.number<uint16_t>());
  request.cookie = reader.number<uint64_t>();
  request.offset = reader.number<uint64_t>();
  request.length = reader.number<uint32_t>();
  return request;
}

bool parse_info_query(Bytes data, InfoQuery& out) {
  BigReader reader(data);
  out.export_name = reader.text(reader.number<uint32_t>());
  const auto count = reader.number<uint16_t>();
  for (uint16_t i = 0; i < count && !reader.failed(); ++i)
    out.wanted.push_back(reader.number<uint16_t>());
  return reader.finished();
}

bool parse_meta_query(Bytes data, MetaQuery& out) {
  BigReader reader(data);
  out.export_name = reader.text(reader.number<uint32_t>());
  const auto count = reader.number<uint32_t>();
  for (uint32_t i = 0; i < count && !reader.failed(); ++i)
    out.queries.push_back(reader.text(reader.number<uint32_t>()));
  return reader.finished();
}

std::vector<std::byte> option_reply(Option option, OptionReply type, Bytes data) {
  BigWriter out;
  out.number(option_reply_magic)
      .number(static_cast<uint32_t>(option))
      .number(static_cast<uint32_t>(type));
  out.number(static_cast<uint32_t>(data.size())).raw(data);
  return std::move(out).take();
}

void chunk_header(BigWriter& out, bool last, Chunk type, uint64_t cookie, uint32_t length) {
  out.number(structured_reply_magic).number(static_cast<uint16_t>(last ? chunk_flag_done : 0));
  out.number(static_cast<uint16_t>(type)).number(cookie).number(length);
}

}  // namespace sp::attach::nbd
