// Health: the answer of SpStatus as one screen, and as an exit code.
#pragma once
#include <string>

#include "api/value.h"
#include "cli/remote.h"

namespace sp::cli {

std::string health_text(const api::Value& status, const OutputOptions& output);
// Asks again until the health is "ok", or remote.timeout has passed: then the last answer. Pauses
// of half a second.
Result<api::Value> await_health(Remote& remote);
// 0 ok, 4 warning, 1 critical, 7 no quorum.
int health_exit_code(const api::Value& status);

}  // namespace sp::cli
