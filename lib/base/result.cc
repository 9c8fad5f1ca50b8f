#include "base/result.h"

namespace sp {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::failed: return "failed";
    case Code::invalid: return "invalid";
    case Code::not_found: return "not_found";
    case Code::exists: return "exists";
    case Code::transient: return "transient";
    case Code::refused: return "refused";
    case Code::timed_out: return "timed_out";
    case Code::unreachable: return "unreachable";
    case Code::not_authorised: return "not_authorised";
    case Code::damaged: return "damaged";
    case Code::io: return "io";
    case Code::no_space: return "no_space";
    case Code::stale: return "stale";
    case Code::closed: return "closed";
    case Code::interrupted: return "interrupted";
  }
  SP_UNREACHABLE();
}

}  // namespace sp
