// Errors of the control API: the names that clients see, and their ties to Code and to HTTP (table
// in sp-api(7)). Both ends use this table: the service to answer, Client to turn an answer back
// into an Error.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace sp::api {

struct ErrorKind {
  std::string_view name;
  Code code;
  int http_status;
  bool transient;  // the same request may succeed later
};

const ErrorKind& error_kind(Code code);              // for an Error of the system
const ErrorKind* error_kind(std::string_view name);  // nullptr: unknown

namespace names {
inline constexpr std::string_view invalid_param = "invalidParam",
                                  does_not_exist = "objectDoesNotExist", exists = "objectExists",
                                  refused = "operationRefused", not_supported = "notSupported",
                                  not_active = "notActive", no_such_call = "noSuchCall",
                                  wrong_method = "wrongMethod", not_authorised = "notAuthorized",
                                  too_large = "requestTooLarge", busy = "tooManyRequests",
                                  no_quorum = "noQuorum", try_again = "tryAgain",
                                  timeout = "timeout";
}  // namespace names

// {"error":{"name","descr","transient"}}; with `active` (where the active management service
// listens) when not empty.
std::string error_body(const ErrorKind& kind, std::string_view description,
                       std::string_view active = {});

}  // namespace sp::api
