// The main of all test programs. In a build of planted bugs SP_PLANT names the one that is there.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#ifdef SP_PLANTED
#include <cstdio>
#include <cstdlib>

#include "base/planted.h"
#endif

int main(int argc, char** argv) {
#ifdef SP_PLANTED
  if (const char* name = std::getenv("SP_PLANT")) {
    const auto bug = sp::planted_bug_of(name);
    if (!bug) {
      std::fprintf(stderr, "no planted bug is called %s\n", name);
      return 0;  // whoever waits for a failure must not take this for one
    }
    sp::planted_bug = *bug;
  }
#endif
  return doctest::Context(argc, argv).run();
}
