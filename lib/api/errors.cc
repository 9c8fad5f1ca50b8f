#include "api/errors.h"

#include "api/value.h"

namespace sp::api {

namespace {

// The first kind of a code is the one that an Error of that code is shown as.
constexpr ErrorKind kinds[] = {
    {names::invalid_param, Code::invalid, 400, false},
    {names::does_not_exist, Code::not_found, 404, false},
    {names::exists, Code::exists, 409, false},
    {names::try_again, Code::transient, 503, true},
    {names::refused, Code::refused, 409, false},
    {names::timeout, Code::timed_out, 504, false},
    {names::no_quorum, Code::unreachable, 503, true},
    {names::not_authorised, Code::not_authorised, 401, false},
    {"dataDamaged", Code::damaged, 500, false},
    {"ioError", Code::io, 500, false},
    {"noSpace", Code::no_space, 507, false},
    {"versionMismatch", Code::stale, 409, false},
    {"connectionClosed", Code::closed, 503, true},
    {"interrupted", Code::interrupted, 503, true},
    {"failed", Code::failed, 500, false},
    {names::not_active, Code::transient, 503, true},
    {names::busy, Code::transient, 503, true},
    {names::no_such_call, Code::invalid, 404, false},
    {names::wrong_method, Code::invalid, 405, false},
    {names::too_large, Code::invalid, 413, false},
    {names::not_supported, Code::refused, 501, false},
};

}  // namespace

const ErrorKind& error_kind(Code code) {
  for (const ErrorKind& kind : kinds) {
    if (kind.code == code) return kind;
  }
  SP_UNREACHABLE();
}

const ErrorKind* error_kind(std::string_view name) {
  for (const ErrorKind& kind : kinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::string error_body(const ErrorKind& kind, std::string_view description,
                       std::string_view active) {
  Json json;
  json.begin_object().key("error").begin_object();
  json.put("name", kind.name).put("descr", description).put_boolean("transient", kind.transient);
  if (!active.empty()) json.put("active", active);
  json.end_object().end_object();
  return json.take();
}

}  // namespace sp::api
