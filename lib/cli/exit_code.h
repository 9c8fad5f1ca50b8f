// Exit codes: one table for all commands (sp(7), section EXIT STATUS). Scripts rely on it: a number
// never changes its meaning.
#pragma once
#include <string_view>

#include "base/result.h"

namespace sp::cli {

enum ExitCode : int {
  exit_done = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_not_found = 3,
  exit_transient = 4,    // waiting and trying again may help
  exit_refused = 5,      // refused for safety; a flag overrides
  exit_timed_out = 6,    // the outcome may be unknown
  exit_unreachable = 7,  // no quorum, or nobody answers
  exit_not_authorised = 8,
  exit_damaged = 9,
  exit_interrupted = 130,
};

int exit_code(Code code);

// Prints "PROGRAM: MESSAGE" to stderr, one line per line of the message, and returns the exit code
// of the error.
int fail(std::string_view program, const Error& error);

}  // namespace sp::cli
