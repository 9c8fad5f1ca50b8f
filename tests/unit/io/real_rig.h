// The Rig over a real host: in a directory of its own on a file system of choice.
#pragma once
#include <unistd.h>

#include <filesystem>

#include "conformance.h"
#include "io/real_host.h"

namespace sp::io::test {

// A directory of its own below `parent`, removed at the end.
class Directory {
 public:
  explicit Directory(const std::string& parent) {
    std::string name = parent + "/sp-io-test-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class RealRig : public Rig {
 public:
  explicit RealRig(const std::string& parent = "/dev/shm", RealHostOptions options = {})
      : directory_(parent) {
    options.log_least = LogLevel::error;
    auto made = RealHost::create(options);
    if (!made.ok()) FAIL(made.error().message());
    host_ = std::move(made).value();
  }
  Host& host(int) override { return host_->host(); }
  RealHost& real() { return *host_; }
  bool run_until(const std::function<bool()>& predicate) override {
    return host_->run_until(predicate, 60s);
  }
  std::string disk_path(const std::string& name) override { return directory_.path() + "/" + name; }
  std::string ip(int) override { return "127.0.0.1"; }
  std::string unix_path(const std::string& name) override { return directory_.path() + "/" + name; }

 private:
  Directory directory_;
  std::unique_ptr<RealHost> host_;
};

}  // namespace sp::io::test
