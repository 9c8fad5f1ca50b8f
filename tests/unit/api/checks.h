// What several tests of the API look at.
#pragma once
#include <doctest/doctest.h>

#include <string_view>

#include "fake_member.h"

namespace sp::api::test {

inline bool mentions(const Response& response, std::string_view part) {
  return response.body.find(part) != std::string::npos;
}

// The newest command that was proposed, which is one of this kind.
template <class T>
const T& last_command(const Bench& bench) {
  REQUIRE_FALSE(bench.member.commands.empty());
  const T* command = std::get_if<T>(&bench.member.commands.back());
  REQUIRE(command != nullptr);
  return *command;
}

}  // namespace sp::api::test
