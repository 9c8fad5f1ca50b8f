// Clients that attach for themselves (instances above 1): their attachments do not outlive them in
// the way of others.
#include "base/client_id.h"
#include "world.h"

using namespace sp;
using namespace sp::map;
using namespace sp::state::test;

TEST_CASE(
    "what a client of its own held is free to take once its process is gone, and not before") {
  World world;
  const ServiceId process{ServiceKind::client, 2, 9};
  const ClientId client = client_of(2, 9);
  CHECK(service_of_client(client) == process);
  world.done(create_volume("v"));
  world.done(service_up(process, 77));
  world.done(reassign(1, {client}));
  const uint32_t generation = world.map().attachment(1, client)->generation;
  world.refused(reassign(1, {3}), Code::refused, "attached read-write");
  world.refused(DeleteVolume{1}, Code::refused, "detach it first");

  world.done(ServiceDown{process, 77});
  CHECK(world.map().attachment(1, client) !=
        nullptr);  // it may only have lost its beacon for a moment
  world.done(service_up(process, 77));
  world.refused(reassign(1, {3}), Code::refused, "attached read-write");

  world.done(ServiceDown{process, 77});
  world.done(reassign(1, {3}));
  CHECK(world.map().attachment(1, client) == nullptr);
  CHECK(world.map().attachment(1, 3)->generation > generation);
  world.refused(AttachmentReady{1, client, generation, "d"}, Code::not_found, "not attached");

  world.done(
      service_up({ServiceKind::client, 2, 10}, 78));  // leaves no rows of dead processes behind
  CHECK(world.map().services.count(process) == 0);
}

TEST_CASE("a volume that only a dead client of its own held can be deleted") {
  World world;
  world.done(create_volume("v"));
  world.done(service_up({ServiceKind::client, 1, 2}, 5));
  world.done(reassign(1, {client_of(1, 2)}));
  world.done(ServiceDown{{ServiceKind::client, 1, 2}, 5});
  world.done(DeleteVolume{1});
  CHECK(world.map().attachments.empty());
}

TEST_CASE("instances of clients are bounded") {
  World world;
  world.refused(service_up({ServiceKind::client, 1, 64}, 5), Code::invalid,
                "instances are 1 to 63");
  world.refused(reassign(99, {1}), Code::not_found, "~99");
  world.done(create_volume("v"));
  world.refused(reassign(1, {client_of(60, 2)}), Code::not_found, "not on a node");
}
