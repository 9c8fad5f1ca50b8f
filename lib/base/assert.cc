#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace sp {

void assertion_failed(const char* file, int line, const char* expression, std::string_view values) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s%s%.*s\n", file, line, expression,
               values.empty() ? "" : ", with ", static_cast<int>(values.size()), values.data());
  std::abort();
}

}  // namespace sp
