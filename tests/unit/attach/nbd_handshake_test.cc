#include <doctest/doctest.h>

#include "nbd_client.h"

using namespace sp;
using namespace sp::attach;
using namespace sp::attach::test;
using nbd::Option;
using nbd::OptionReply;

TEST_CASE("a client lists the exports and learns size, flags, block sizes and description of one") {
  NbdStage stage;
  client::MemoryDevice other(stage.host.host(), 4096);
  other.set_read_only(true);
  REQUIRE(stage.server->add_export({"second", "", false, &other}).ok());
  auto client = stage.connect();
  client->greet();
  client->option(Option::list);
  auto first = client->answer();
  CHECK(first.type == OptionReply::server);
  CHECK(as_text(first.data).substr(4) == "second");
  CHECK(as_text(client->answer().data).substr(4) == "vol");
  CHECK(client->answer().type == OptionReply::ack);

  client->option(Option::info, NbdClient::info_query("vol", {1, 2, 3}));
  auto info = client->answer();
  nbd::BigReader size(info.data);
  CHECK(size.number<uint16_t>() == 0);
  CHECK(size.number<uint64_t>() == 64u << 20);
  CHECK((size.number<uint16_t>() & (nbd::export_read_only | nbd::export_can_multi_conn)) ==
        nbd::export_can_multi_conn);
  CHECK(as_text(client->answer().data).substr(2) == "vol");
  CHECK(as_text(client->answer().data).substr(2) == "a volume");
  info = client->answer();
  nbd::BigReader blocks(info.data);
  CHECK(blocks.number<uint16_t>() == 3);
  CHECK(blocks.number<uint32_t>() == 1);
  CHECK(blocks.number<uint32_t>() == 4096);
  CHECK(blocks.number<uint32_t>() == 32u << 20);
  CHECK(client->answer().type == OptionReply::ack);

  client->option(Option::go, NbdClient::info_query("second"));
  info = client->answer();
  nbd::BigReader second(info.data);
  second.number<uint16_t>();
  CHECK(second.number<uint64_t>() == 4096);
  CHECK((second.number<uint16_t>() & nbd::export_read_only) != 0);
}

TEST_CASE("the old way of choosing an export works, with and without its padding") {
  for (const bool padded : {false, true}) {
    NbdStage stage;
    auto client = stage.connect();
    client->greet(padded ? nbd::flag_fixed_newstyle
                         : nbd::flag_fixed_newstyle | nbd::flag_no_zeroes);
    client->option(Option::export_name, as_bytes("vol"));
    CHECK(client->number<uint64_t>() == 64u << 20);
    CHECK((client->number<uint16_t>() & nbd::export_has_flags) != 0);
    if (padded) CHECK(client->take(124) == std::vector<std::byte>(124));
    client->request(nbd::Command::flush, 0, 0);
    CHECK(client->simple() == 0);
  }
}

TEST_CASE("an empty name is the only export, and none when there are two") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("");
  CHECK(client->size_bytes == 64u << 20);
  client::MemoryDevice other(stage.host.host(), 4096);
  REQUIRE(stage.server->add_export({"second", "", false, &other}).ok());
  auto lost = stage.connect();
  lost->greet();
  lost->option(Option::go, NbdClient::info_query(""));
  CHECK(lost->answer().type == OptionReply::error_unknown);
}

TEST_CASE("options that cannot be granted are refused, and the conversation goes on") {
  NbdStage stage;
  auto client = stage.connect();
  client->greet();
  const auto refused = [&](Option option, Bytes data = {}) {
    client->option(option, data);
    return client->answer().type;
  };
  CHECK(refused(Option::starttls) == OptionReply::error_unsupported);
  CHECK(refused(static_cast<Option>(4711)) == OptionReply::error_unsupported);
  CHECK(refused(Option::list, as_bytes("x")) == OptionReply::error_invalid);
  CHECK(refused(Option::structured_reply, as_bytes("x")) == OptionReply::error_invalid);
  CHECK(refused(Option::go, NbdClient::info_query("nothing")) == OptionReply::error_unknown);
  CHECK(refused(Option::go, as_bytes("abc")) == OptionReply::error_invalid);
  CHECK(refused(Option::set_meta_context, NbdClient::meta_query("vol", {"base:allocation"})) ==
        OptionReply::error_invalid);
  client->option(Option::structured_reply);
  CHECK(client->answer().type == OptionReply::ack);
  client->option(Option::list_meta_context, NbdClient::meta_query("vol", {}));
  CHECK(as_text(client->answer().data).substr(4) == "base:allocation");
  CHECK(client->answer().type == OptionReply::ack);
  client->option(Option::set_meta_context, NbdClient::meta_query("vol", {"qemu:dirty"}));
  CHECK(client->answer().type == OptionReply::ack);
  // A length inside the data that goes beyond it.
  nbd::BigWriter lying;
  lying.number(uint32_t{4000}).raw(as_bytes("vol"));
  CHECK(refused(Option::info, lying.view()) == OptionReply::error_invalid);
  client->option(Option::abort);
  CHECK(client->answer().type == OptionReply::ack);
  CHECK(client->wait_closed());
}

TEST_CASE("hostile handshakes are cut off with a line in the log") {
  const auto cut_off = [](std::string_view reason, auto&& speak) {
    NbdStage stage;
    auto client = stage.connect();
    speak(*client);
    CHECK(client->wait_closed());
    CHECK_MESSAGE(stage.logged(reason), reason);
    auto next = stage.connect();  // others are served
    next->go("vol");
  };
  cut_off("unknown handshake flags", [](NbdClient& client) { client.greet(0x80); });
  cut_off("without its magic number", [](NbdClient& client) {
    client.greet();
    client.send(as_bytes("GET / HTTP/1.1\r\n\r\n"));
  });
  cut_off("more than 16 KiB", [](NbdClient& client) {
    client.greet();
    nbd::BigWriter out;
    out.number(nbd::option_magic).number(uint32_t{7}).number(uint32_t{0xffffffff});
    client.send(out.view());
  });
  cut_off("does not exist", [](NbdClient& client) {
    client.greet();
    client.option(Option::export_name, as_bytes("nothing"));
  });
  cut_off("no export was chosen in time", [](NbdClient& client) { client.greet(); });
}

TEST_CASE("a client that sends options and reads no replies is not read for ever") {
  NbdStage stage;
  auto client = stage.connect();
  client->greet();
  client->stop_receiving();
  nbd::BigWriter out;
  for (int i = 0; i < 300'000; ++i)
    out.number(nbd::option_magic).number(uint32_t{3}).number(uint32_t{0});
  client->send_unwaited(out.view());
  stage.world.run_for(10s);
  CHECK_FALSE(client->all_taken());
  client->resume_receiving();
  CHECK(client->wait_closed());  // the time for the handshake is over
}

TEST_CASE("an export's name must be new and fit") {
  NbdStage stage;
  CHECK(stage.server->add_export({"vol", "", false, stage.device.get()}).error().code() ==
        Code::exists);
  CHECK(stage.server->add_export({"", "", false, stage.device.get()}).error().code() ==
        Code::invalid);
  CHECK(stage.server->listen({"10.0.0.1", 10809}).error().code() == Code::exists);
}
