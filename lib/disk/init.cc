#include "disk/init.h"

#include <algorithm>
#include <memory>

#include "base/limits.h"
#include "disk/discover.h"

namespace sp::disk {

namespace {

class Initialiser : public std::enable_shared_from_this<Initialiser> {
 public:
  Initialiser(io::Host& host, const InitRequest& request, Callback<void(Result<Superblock>)> done)
      : host_(host), request_(request), done_(std::move(done)) {}

  void run() {
    Status opened = take_device();
    if (!opened.ok()) {
      finish(std::move(opened).error());
      return;
    }
    probe(host_, *disk_, [self = shared_from_this()](Result<std::vector<Holding>> holds) {
      if (!holds.ok()) {
        self->finish(std::move(holds).error());
        return;
      }
      if (Status allowed = may_overwrite(self->request_.path, *holds, self->request_.overwrite);
          !allowed.ok()) {
        self->finish(std::move(allowed).error());
        return;
      }
      self->write();
    });
  }

 private:
  Status take_device() {
    if (const std::string user = device_user(request_.path); !user.empty())
      return Error(Code::refused, request_.path + " is in use (" + user + "): release it first");
    io::OpenOptions options;
    options.mode =
        request_.dry_run ? io::OpenOptions::Mode::read_only : io::OpenOptions::Mode::read_write;
    auto disk = host_.disks.open(request_.path, options);
    if (request_.create_bytes) {
      if (disk.ok())
        return Error(
            Code::exists,
            request_.path + " exists: remove it, or leave out --size to format it as it is");
      if (disk.error().code() != Code::not_found) return std::move(disk).error();
      SP_CHECK(plan_layout(*request_.create_bytes));
      if (request_.dry_run)
        return Error(Code::not_found, request_.path + " would be made with " +
                                          std::to_string(*request_.create_bytes) + " bytes");
      options.mode = io::OpenOptions::Mode::create;
      options.size_bytes = *request_.create_bytes;
      disk = host_.disks.open(request_.path, options);
    } else if (!disk.ok() && disk.error().code() == Code::not_found) {
      return std::move(disk).error().with("to make a file, give --size");
    }
    if (!disk.ok()) return std::move(disk).error();
    disk_ = std::move(disk).value();
    return {};
  }

  void write() {
    FormatOptions options;
    options.cluster = request_.cluster;
    options.disk = request_.disk;
    options.write_in_full = request_.write_in_full;
    options.progress = request_.progress;
    if (request_.dry_run) {
      auto layout = plan_layout(disk_->size_bytes());
      if (!layout.ok()) {
        finish(std::move(layout).error());
        return;
      }
      Superblock planned;
      planned.cluster = request_.cluster;
      planned.disk = request_.disk;
      planned.layout = *layout;
      finish(planned);
      return;
    }
    format(host_, *disk_, options,
           [self = shared_from_this()](Result<Superblock> made) { self->finish(std::move(made)); });
  }

  // In a turn of its own: the disk may be in the middle of a completion.
  void finish(Result<Superblock> result) {
    host_.reactor.post([self = shared_from_this(),
                        outcome = std::make_unique<Result<Superblock>>(std::move(result))] {
      self->disk_.reset();
      self->done_.call_once(std::move(*outcome));
    });
  }

  io::Host& host_;
  InitRequest request_;
  Callback<void(Result<Superblock>)> done_;
  std::unique_ptr<io::Disk> disk_;
};

}  // namespace

Status may_overwrite(const std::string& path, const std::vector<Holding>& holds,
                     const std::vector<std::string>& allowed) {
  std::string found;
  std::string words;
  for (const Holding& holding : holds) {
    if (std::find(allowed.begin(), allowed.end(), holding.name) != allowed.end()) continue;
    found += (found.empty() ? "" : " and ") + holding.description;
    words += " --force-overwrite " + holding.name;
  }
  if (found.empty()) return {};
  return Error(Code::refused, path + " holds " + found + ": to lose it, add" + words);
}

void initialise(io::Host& host, const InitRequest& request,
                Callback<void(Result<Superblock>)> done) {
  std::make_shared<Initialiser>(host, request, std::move(done))->run();
}

}  // namespace sp::disk
