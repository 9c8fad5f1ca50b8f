// What a leadership waits for, in words, and what it has open.
#include <algorithm>

#include "serve/joiner.h"
#include "serve/primary.h"

namespace sp::serve {

namespace {
constexpr auto told_after = std::chrono::seconds(1);  // younger requests are ordinary traffic
}

std::string Primary::waits_for() const {
  switch (phase_) {
    case Phase::collecting:
    case Phase::equalizing: {
      std::string text;
      for (const Copy& copy : copies_) {
        const bool done =
            phase_ == Phase::collecting ? copy.begin == Begin::agreed : copy.trouble.empty();
        if (copy.disk == 0 || done) continue;
        text += (text.empty() ? "activation: disk " : ", disk ") + std::to_string(copy.disk);
        text += copy.trouble.empty() ? " does not answer" : " (" + copy.trouble + ")";
      }
      return text.empty() ? "activation" : text;
    }
    case Phase::asking: return "activation: the beacons have not agreed to it";
    default: break;
  }
  if (superseded_) return "the map: a copy knows a newer epoch";
  if (parked_.empty() && undecided_.empty()) return "";
  if (!may_decide()) {
    std::string missing;
    for (const auto* list : {&row_.base, &row_.target}) {
      for (const DiskId id : *list) {
        const std::string name = std::to_string(id);
        if (std::find(row_.acting.begin(), row_.acting.end(), id) != row_.acting.end()) continue;
        if ((", " + missing + ",").find(", " + name + ",") != std::string::npos) continue;
        missing += (missing.empty() ? "" : ", ") + name;
      }
    }
    return "min_copies: disks " + missing + " are missing";
  }
  if (context_.now() >= context_.member.lease_until()) return "a lease";
  for (const Copy& copy : copies_) {
    if (copy.disk != 0 && copy.counted && !copy.trouble.empty())
      return "disk " + std::to_string(copy.disk) + ": " + copy.trouble;
  }
  return overdue();
}

// Where nothing is known to be wrong: who lets the oldest write, or the oldest request, wait.
std::string Primary::overdue() const {
  const io::Instant now = context_.now();
  if (!undecided_.empty() && now - undecided_.front()->since > told_after) {
    const Write& oldest = *undecided_.front();
    std::string text = "write " + std::to_string(oldest.prepare.record.version.sequence()) + ":";
    for (const Copy& copy : copies_) {
      if (copy.disk != 0 && copy.counted && (oldest.acked & bit(copy)) == 0)
        text += " disk " + std::to_string(copy.disk) + " has not acknowledged it,";
    }
    if (text.back() == ':') text += " all copies have it, and it is not decided,";
    text.pop_back();
    return text;
  }
  if (parked_.empty() || now - parked_.front().since <= told_after) return "";
  const ClientRequest& request = parked_.front();
  if (holds_reads()) return "the outcome of a command that may end this leadership";
  if (!leads()) return "the map: this disk has promised another epoch";
  if (!request.is_write) {
    return "a decision or a fence: the read of volume " +
           std::to_string(request.read.object.volume) + " has to wait";
  }
  return "room: the free space of a copy is not known, or " + std::to_string(undecided_.size()) +
         " writes are undecided";
}

std::string Primary::open_work() const {
  std::string text;
  const auto add = [&text](size_t count, const char* what) {
    if (count > 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(undecided_.size(), "undecided writes");
  add(parked_.size(), "requests that wait");
  add(joiners_.size(), "recoveries");
  add(open_commands_, "commands");
  add(writes_.in_use() - undecided_.size(), "records of writes that nobody gave back");
  return text;
}

}  // namespace sp::serve
