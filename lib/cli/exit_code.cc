#include "cli/exit_code.h"

#include <cstdio>
#include <string>

namespace sp::cli {

int exit_code(Code code) {
  switch (code) {
    case Code::failed: return exit_failed;
    case Code::invalid: return exit_usage;
    case Code::not_found: return exit_not_found;
    case Code::exists: return exit_failed;
    case Code::transient: return exit_transient;
    case Code::refused: return exit_refused;
    case Code::timed_out: return exit_timed_out;
    case Code::unreachable: return exit_unreachable;
    case Code::not_authorised: return exit_not_authorised;
    case Code::damaged: return exit_damaged;
    case Code::io: return exit_failed;
    case Code::no_space: return exit_failed;
    case Code::stale: return exit_transient;
    case Code::closed: return exit_transient;
    case Code::interrupted: return exit_interrupted;
  }
  SP_UNREACHABLE();
}

int fail(std::string_view program, const Error& error) {
  std::string text;
  std::string_view rest = error.message();
  while (true) {
    const size_t end = rest.find('\n');
    text.append(program).append(": ").append(rest.substr(0, end)).append("\n");
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  std::fputs(text.c_str(), stderr);
  return exit_code(error.code());
}

}  // namespace sp::cli
