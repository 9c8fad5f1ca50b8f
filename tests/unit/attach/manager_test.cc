#include <doctest/doctest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <set>

#include "attach/device.h"
#include "client/memory_device.h"
#include "io/sim_world.h"

using namespace sp;
using namespace sp::attach;
using namespace std::chrono_literals;

namespace {

// What the fake driver did, and what it shall do; outlives it, as a kernel would.
struct Kernel {
  std::set<uint64_t> devices;
  std::vector<std::string> calls;
  bool in_use = false;
  bool broken = false;
};

class FakeDriver final : public Driver {
 public:
  FakeDriver(io::Host& host, Way way, Kernel& kernel) : host_(host), way_(way), kernel_(kernel) {}
  Way way() const override { return way_; }
  void create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
              Created created) override {
    make("create", spec, std::move(device), std::move(created));
  }
  void take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                 Created created) override {
    make("take over", spec, std::move(device), std::move(created));
  }
  std::vector<uint64_t> left_behind() override {
    return {kernel_.devices.begin(), kernel_.devices.end()};
  }
  void destroy(uint64_t id, bool force, Done done) override {
    kernel_.calls.push_back((force ? "force " : "destroy ") + std::to_string(id));
    const bool refused = kernel_.in_use && !force;
    if (!refused) kernel_.devices.erase(id);
    answer(refused ? Status(Error(Code::refused, "in use")) : ok_status(), std::move(done));
  }
  void resized(uint64_t id, Done done) override {
    kernel_.calls.push_back("resized " + std::to_string(id));
    answer(ok_status(), std::move(done));
  }

 private:
  void make(const std::string& verb, const DeviceSpec& spec,
            std::unique_ptr<client::BlockDevice> device, Created created) {
    kernel_.calls.push_back(verb + " " + std::to_string(spec.id) + (spec.read_only ? " ro" : ""));
    if (!kernel_.broken) {
      kernel_.devices.insert(spec.id);
      devices_.push_back(std::move(device));
    }
    host_.reactor.post([this, id = spec.id, kept = std::make_unique<Created>(std::move(created))] {
      if (kernel_.broken)
        kept->call_once(Error(Code::io, "broken"));
      else
        kept->call_once("/dev/fake" + std::to_string(id));
    });
  }
  void answer(Status status, Done done) {
    host_.reactor.post(
        [status = std::make_unique<Status>(std::move(status)),
         kept = std::make_unique<Done>(std::move(done))] { kept->call_once(std::move(*status)); });
  }
  io::Host& host_;
  Way way_;
  Kernel& kernel_;
  std::vector<std::unique_ptr<client::BlockDevice>> devices_;
};

struct ManagerStage {
  ManagerStage() : world(1, quiet()), host(world.add_host("client", "10.0.0.1")) {
    char name[] = "/tmp/manager-test.XXXXXX";
    folder = ::mkdtemp(name);
    restart();
  }
  ~ManagerStage() { std::filesystem::remove_all(folder); }
  static io::SimOptions quiet() {
    io::SimOptions options;
    options.log_sink = [](LogLevel, std::string_view) {};
    return options;
  }
  void restart() {
    std::vector<std::unique_ptr<Driver>> drivers;
    drivers.push_back(std::make_unique<FakeDriver>(host.host(), Way::ublk, first));
    drivers.push_back(std::make_unique<FakeDriver>(host.host(), Way::fuse, second));
    manager = std::make_unique<AttachManager>(host.host(), std::move(drivers),
                                              AttachOptions{folder + "/name", folder + "/id"});
  }
  Result<std::string> attach(AttachRequest request) {
    std::optional<Result<std::string>> result;
    manager->attach(std::move(request), client::make_memory_device(host.host(), 4096),
                    [&](Result<std::string> path) { result = std::move(path); });
    CHECK_FALSE(result.has_value());
    REQUIRE(world.run_until([&] { return result.has_value(); }, 1s));
    return std::move(*result);
  }
  template <class F>
  std::optional<Code> outcome(F&& start) {
    std::optional<Status> result;
    start([&](Status status) { result = std::move(status); });
    CHECK_FALSE(result.has_value());
    REQUIRE(world.run_until([&] { return result.has_value(); }, 1s));
    return result->ok() ? std::nullopt : std::optional(result->error().code());
  }
  std::optional<Code> detach(const std::string& name, bool force = false) {
    return outcome([&](auto done) { manager->detach(name, force, done); });
  }
  std::string target(const std::string& link) {
    std::error_code error;
    return std::filesystem::read_symlink(folder + link, error).string();
  }

  io::SimWorld world;
  io::SimHost& host;
  std::string folder;
  Kernel first, second;
  std::unique_ptr<AttachManager> manager;
};

}  // namespace

TEST_CASE("an attached volume has its links, and a detached one has none") {
  ManagerStage stage;
  CHECK(*stage.attach({"vol", 7, "a.b.7"}) == stage.folder + "/name/vol");
  CHECK(stage.target("/name/vol") == "/dev/fake7");
  CHECK(stage.target("/id/a.b.7") == "/dev/fake7");
  REQUIRE(stage.manager->list().size() == 1);
  CHECK(stage.manager->list()[0].state == AttachedDevice::State::attached);
  CHECK_FALSE(stage.detach("vol").has_value());
  CHECK(stage.target("/name/vol").empty());
  CHECK(stage.target("/id/a.b.7").empty());
  CHECK(stage.detach("vol") == Code::not_found);
}

TEST_CASE("names that would lead elsewhere, or are taken, are refused") {
  ManagerStage stage;
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "../etc/passwd"})
    CHECK(stage.attach({name, 7}).error().code() == Code::invalid);
  CHECK(stage.attach({"vol", 7, "../x"}).error().code() == Code::invalid);
  CHECK(stage.attach({std::string(201, 'x'), 7}).error().code() == Code::invalid);
  CHECK(stage.attach({"vol", 7}).ok());
  CHECK(stage.attach({"vol", 8}).error().code() == Code::exists);
  CHECK(stage.attach({"other", 7}).error().code() == Code::exists);
  CHECK(stage.attach({"other", 8, "", false, Way::nbd}).error().code() == Code::not_found);
  CHECK(stage.attach({"other", 8, "", true, Way::fuse}).ok());
  CHECK(stage.second.calls == std::vector<std::string>{"create 8 ro"});
}

TEST_CASE("a device in use stays attached with its links, unless forced") {
  ManagerStage stage;
  REQUIRE(stage.attach({"vol", 7}).ok());
  stage.first.in_use = true;
  CHECK(stage.detach("vol") == Code::refused);
  CHECK(stage.target("/name/vol") == "/dev/fake7");
  CHECK_FALSE(stage.detach("vol", true).has_value());
  CHECK(stage.target("/name/vol").empty());
}

TEST_CASE("a device that could not be made leaves no trace") {
  ManagerStage stage;
  stage.first.broken = true;
  CHECK(stage.attach({"vol", 7}).error().code() == Code::io);
  CHECK(stage.manager->list().empty());
  CHECK(stage.target("/name/vol").empty());
}

TEST_CASE(
    "after a restart devices are taken over by the driver that has them, and the rest is taken "
    "down with its links") {
  ManagerStage stage;
  REQUIRE(stage.attach({"kept", 7, "", false, Way::fuse}).ok());
  REQUIRE(stage.attach({"gone", 8}).ok());
  stage.restart();
  CHECK(stage.manager->left_behind() == std::map<uint64_t, Way>{{7, Way::fuse}, {8, Way::ublk}});
  CHECK(stage.attach({"kept", 7}).ok());
  CHECK(stage.second.calls.back() == "take over 7");
  CHECK_FALSE(stage.outcome([&](auto done) { stage.manager->take_down_left_behind(false, done); })
                  .has_value());
  CHECK(stage.first.calls.back() == "destroy 8");
  CHECK(stage.target("/name/kept") == "/dev/fake7");
  CHECK(stage.target("/name/gone").empty());
  CHECK(stage.target("/id/8").empty());
  CHECK(stage.manager->left_behind().empty());
}

TEST_CASE("a renamed volume keeps its device") {
  ManagerStage stage;
  REQUIRE(stage.attach({"vol", 7}).ok());
  REQUIRE(stage.attach({"other", 8}).ok());
  CHECK(stage.outcome([&](auto done) { stage.manager->rename("vol", "other", done); }) ==
        Code::exists);
  CHECK_FALSE(
      stage.outcome([&](auto done) { stage.manager->rename("vol", "fresh", done); }).has_value());
  CHECK(stage.target("/name/fresh") == "/dev/fake7");
  CHECK(stage.target("/name/vol").empty());
  CHECK_FALSE(stage.outcome([&](auto done) { stage.manager->resized("fresh", done); }).has_value());
  CHECK(stage.first.calls.back() == "resized 7");
  CHECK_FALSE(stage.detach("fresh").has_value());
}
