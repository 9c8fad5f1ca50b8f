// What is said of links in the simulated network.
#include <doctest/doctest.h>

#include "io/sim_world.h"

namespace sp::io {
namespace {

using namespace std::chrono_literals;

// all_flows is what whole clusters are judged by: it missed links that are only slow.
TEST_CASE("links flow only while none is cut, slow or clogged") {
  SimWorld world(13);
  world.add_host("a", "10.0.0.1");
  world.add_host("b", "10.0.0.2");
  SimNet& net = world.net();
  const auto flows = [&net] {
    CHECK_EQ(net.all_flows(), net.flows("10.0.0.1", "10.0.0.2"));
    CHECK(net.flows("10.0.0.2", "10.0.0.1"));
    return net.all_flows();
  };
  CHECK(flows());
  net.set_link("10.0.0.1", "10.0.0.2", false);
  CHECK_FALSE(flows());
  CHECK_FALSE(net.is_up("10.0.0.1", "10.0.0.2"));
  net.set_link("10.0.0.1", "10.0.0.2", true);
  CHECK(flows());
  net.set_extra_delay("10.0.0.1", "10.0.0.2", 0ms, 3ms);
  CHECK_FALSE(flows());
  CHECK(net.is_up("10.0.0.1", "10.0.0.2"));
  net.set_extra_delay("10.0.0.1", "10.0.0.2", 0ms, 0ms);
  CHECK(flows());
  net.clog("10.0.0.1", "10.0.0.2", 10ms);
  CHECK_FALSE(flows());
  world.run_for(10ms);
  CHECK(flows());
}

}  // namespace
}  // namespace sp::io
