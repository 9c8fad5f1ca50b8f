#include <doctest/doctest.h>

#include "crash/store/crash_model.h"

namespace sp::test {

// All in one round; refused when all are.
Status Runner::prepare(const std::vector<Write>& writes) {
  std::vector<Buffer> data;
  auto outcomes = std::make_shared<std::vector<std::optional<Status>>>(writes.size());
  for (size_t i = 0; i < writes.size(); i++) {
    const auto& [set, version, what] = writes[i];
    const bool discard = what.stamp == 0;
    data.push_back(discard ? Buffer{} : block_of(what.stamp, what.count));
    const auto crcs = discard ? std::vector<uint64_t>{} : crcs_of(data.back());
    rig_.store->prepare(
        StoreRig::record(discard ? store::WriteKind::discard : store::WriteKind::data, what.object,
                         what.first, what.count, version, set),
        crcs, data.back(), 0, [outcomes, i](Status status) { (*outcomes)[i] = std::move(status); });
    after_.sets[set_index(set)].prepare(version, what);
  }
  world_.after = after_;
  if (world_.full && writes.size() == 2)
    for (const auto& [set, version, what] : writes)
      world_.partly.emplace_back(world_.now()).sets[set_index(set)].prepare(version, what);
  if (!rig_.machine().reactor.run_until([&] { return outcomes->back().has_value(); }))
    return Error(Code::interrupted, "the device has stopped");
  // On a full disk some may be refused.
  Model taken = world_.now();
  for (size_t i = 0; i < writes.size(); i++) {
    REQUIRE((*outcomes)[i].has_value());
    if ((*outcomes)[i]->ok())
      taken.sets[set_index(writes[i].set)].prepare(writes[i].version, writes[i].what);
    else
      CHECK((world_.full && (*outcomes)[i]->error().code() == Code::no_space));
  }
  after_ = taken;
  for (const auto& outcome : *outcomes)
    if (outcome->ok()) return Status{};
  return *outcomes->back();
}

Status Runner::recover(uint16_t block, Version changed, uint64_t stamp) {
  store::ObjectState source;
  source.object = the_object;
  source.set = the_set;
  source.changed = changed;
  const Buffer data = block_of(stamp);
  source.blocks.push_back({block, changed, crc64(data.bytes())});
  after_.sets[0].recover(the_object, block, changed, stamp);
  world_.after = after_;
  return rig_.apply(source, {block}, data);
}

Status Runner::repair() {
  world_.after = after_;
  const auto known = after_.sets[0].blocks.find({the_object, 1});
  const ModelBlock block = known == after_.sets[0].blocks.end() ? ModelBlock{} : known->second;
  if (block.stamp == 0) return rig_.checkpoint();  // nothing to repair
  const Buffer all = block_of(block.stamp, block.part + 1u);
  return rig_.repair(the_object, 1, block.version,
                     Buffer::copy_of(all.bytes().subspan(block.part * 4096u, 4096)));
}

bool Runner::lazily(Verb verb) {
  if (verb == Verb::forget) {
    const Version passed = after_.sets[0].decided;
    rig_.store->forget_tombstones(the_set, passed);
    after_.sets[0].forget(passed);
  } else {
    for (size_t index = 0; index < (verb == Verb::decide ? 1u : 2u); index++) {
      rig_.store->decide(set_id(index), version_of(n_));
      after_.sets[index].decide(version_of(n_));
      world_.lazily(after_);
    }
  }
  world_.lazily(after_);
  return true;
}

bool Runner::run(Verb verb) {
  after_ = world_.now();
  n_ = world_.next++;
  const Version version = version_of(n_);
  const auto write = [&](uint16_t first, uint16_t count, uint64_t stamp) {
    return Write{the_set, version, {the_object, first, count, stamp}};
  };
  Status status;
  switch (verb) {
    case Verb::write: status = prepare({write(1, 1, n_)}); break;
    case Verb::overwrite: status = prepare({write(0, 1, n_)}); break;
    case Verb::write_many: status = prepare({write(0, 3, n_)}); break;
    case Verb::write_two:
      status = prepare({write(2, 1, n_), {other_set, version, {other_object, 0, 1, n_}}});
      break;
    case Verb::burst: {
      std::vector<Write> writes;
      for (size_t i = 0; i < burst_discards; i++)
        writes.push_back({other_set, version_of(n_, i), {other_object, 3, 1, 0}});
      status = prepare(writes);
      break;
    }
    case Verb::discard: status = prepare({write(0, 2, 0)}); break;
    case Verb::decide:
    case Verb::decide_both:
    case Verb::forget: return lazily(verb);
    case Verb::drop:
      after_.sets[0].drop();
      world_.after = after_;
      status = rig_.drop();
      break;
    case Verb::put_set:
      after_.sets[0].epoch = static_cast<uint32_t>(n_);
      world_.after = after_;
      status = rig_.put_set({the_set, static_cast<uint32_t>(n_), false, Version{}});
      break;
    case Verb::checkpoint:
      world_.after = after_;
      status = rig_.checkpoint();
      break;
    case Verb::save_index:
      world_.after = after_;
      status = rig_.save_index();
      break;
    case Verb::recover: status = recover(2, version, n_); break;
    case Verb::recover_old:
      // An older source with the block that `recover` has too. One with a block that `recover`
      // removed is not tried: the store remembers a removal only for blocks that it held, or while
      // the object has undecided writes, and would take it.
      status = recover(2, version_of(1), 1);
      break;
    case Verb::repair: status = repair(); break;
    case Verb::remove_volume:
      for (ModelSet& set : after_.sets) set.remove_volume(the_object.volume);
      world_.after = after_;
      status = rig_.remove_volume(the_object.volume);
      break;
    case Verb::remove_set:
      after_.sets[0] = ModelSet{};
      world_.after = after_;
      status = rig_.remove_set(the_set);
      break;
    case Verb::count: break;
  }
  world_.refused = !status.ok() && status.error().code() == Code::no_space;
  if (status.ok()) world_.acknowledged(after_);
  if (status.ok() || world_.refused) {
    world_.nothing_under_way();
    CHECK((status.ok() || world_.full));
    return true;
  }
  CHECK(status.error().code() == Code::interrupted);
  return false;
}

}  // namespace sp::test
