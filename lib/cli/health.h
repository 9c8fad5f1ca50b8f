// Health: the answer of SpStatus as one screen, and as an exit code.
#pragma once
#include <string>

#include "api/value.h"
#include "cli/output.h"

namespace sp::cli {

std::string health_text(const api::Value& status, const OutputOptions& output);
// 0 ok, 4 warning, 1 critical, 7 no quorum.
int health_exit_code(const api::Value& status);

}  // namespace sp::cli
