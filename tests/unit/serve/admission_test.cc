// Whose requests a server takes up while several clients ask.
#include "serve/admission.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "io/sim_world.h"

namespace sp::serve {
namespace {

struct Scene {
  io::SimWorld world{11};
  io::SimHost& host = world.add_host("server", "10.0.0.1");
  std::deque<ClientRequest> served;
  Admission admission;

  explicit Scene(uint32_t in_service_max = 16)
      : admission(host.host().reactor, in_service_max,
                  [this](ClientRequest request) { served.push_back(std::move(request)); }) {}
  void arrive(uint64_t link, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      ClientRequest request;
      request.link = link;
      request.request = i;
      admission.arrive(std::move(request));
    }
  }
  // Client 1, while client 2 has one request in service.
  void ask_beside_another(uint64_t count) {
    arrive(2, 1);
    arrive(1, count);
  }
  size_t in_service(uint64_t link) const {
    return static_cast<size_t>(std::count_if(served.begin(), served.end(),
                                             [link](const auto& r) { return r.link == link; }));
  }
  // The oldest one is answered.
  void answer() { served.pop_front(), world.run_for(std::chrono::milliseconds(1)); }
};

}  // namespace

TEST_CASE("a client that is alone waits for nothing") {
  Scene scene;
  scene.arrive(1, 200);
  CHECK_EQ(scene.in_service(1), 200);
  CHECK_EQ(scene.admission.waiting(), 0);
}

TEST_CASE("a client that asks much has its share in service, and another one is served at once") {
  Scene scene;
  scene.ask_beside_another(200);
  CHECK_EQ(scene.in_service(1), 8);
  scene.arrive(2, 7);
  CHECK_EQ(scene.in_service(2), 8);
  CHECK_EQ(scene.admission.waiting(), 192);
}

TEST_CASE("what waits is served in its order, as what was served ends, by turns") {
  Scene scene;
  scene.ask_beside_another(20);
  scene.arrive(2, 19);
  std::vector<uint64_t> links;
  std::vector<uint64_t> next(3);
  while (!scene.served.empty()) {
    const ClientRequest& request = scene.served.front();
    CHECK_EQ(request.request, request.link == 2 && next[2] > 0 ? next[2] - 1 : next[request.link]);
    ++next[request.link];
    links.push_back(request.link);
    scene.answer();
  }
  CHECK_EQ(links.size(), 40);
  CHECK_EQ(scene.admission.waiting(), 0);
  // Once both wait, neither is ahead of the other by more than its share.
  int ahead = 0;
  for (size_t i = 16; i < links.size(); ++i) {
    ahead += links[i] == 1 ? 1 : -1;
    CHECK_LE(std::abs(ahead), 8);
  }
}

TEST_CASE("a share is not below the least of one client, however many ask") {
  Scene scene;
  for (uint64_t link = 1; link <= 100; ++link) scene.arrive(link, 10);
  CHECK_GE(scene.in_service(100), limits::client_in_service_min);
}

TEST_CASE("a server of several disks has more in service, and large requests count for several") {
  Scene scene;
  scene.admission.tick(3);
  scene.ask_beside_another(200);
  CHECK_EQ(scene.in_service(1), 24);
  ClientRequest large;
  large.link = 2;
  large.is_write = true;
  large.write.block_count = 256;
  scene.admission.arrive(std::move(large));
  scene.arrive(2, 1);
  CHECK_EQ(scene.in_service(2), 2);
  CHECK_EQ(scene.admission.waiting(), 177);
}

TEST_CASE("a client that has gone quiet takes no part of the others' share for long") {
  Scene scene;
  scene.ask_beside_another(100);
  CHECK_EQ(scene.in_service(1), 8);
  scene.answer();  // that of client 2
  scene.admission.tick(1);
  scene.admission.tick(1);
  scene.world.run_for(std::chrono::milliseconds(1));
  CHECK_EQ(scene.in_service(1), 100);
}

TEST_CASE("a link that closes takes along what waits, and its tickets do no harm afterwards") {
  Scene scene;
  scene.ask_beside_another(100);
  scene.admission.link_closed(1);
  CHECK_EQ(scene.admission.waiting(), 0);
  scene.served.clear();
  scene.arrive(1, 3);
  CHECK_EQ(scene.in_service(1), 3);
}

TEST_CASE("a client that keeps to no window gets its refusals, and no memory") {
  Scene scene;
  scene.ask_beside_another(8 + limits::client_window_per_server + 5);
  CHECK_EQ(scene.admission.waiting(), limits::client_window_per_server);
  CHECK_EQ(scene.in_service(1), 13);
}

}  // namespace sp::serve
