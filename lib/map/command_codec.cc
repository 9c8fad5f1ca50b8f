// The codec of commands: a version byte, the command's number, its fields. Numbers and field orders
// are in logs: they are never changed or reused.
#include "map/command.h"

#include <type_traits>

#include "map/field_codec.h"

namespace sp::map {

#define SP_FIELDS(TYPE, ...)          \
  template <class V, SameRow<TYPE> R> \
  void fields(V& v, R& c) {           \
    __VA_ARGS__;                      \
    (void)v, (void)c;                 \
  }
#define F(MEMBER) v(#MEMBER, c.MEMBER)

SP_FIELDS(InitCluster, F(id), F(name))
SP_FIELDS(PutNode, F(node))
SP_FIELDS(NodeUp, F(node))
SP_FIELDS(NodeDown, F(node))
SP_FIELDS(AddNode, F(node))
SP_FIELDS(RemoveNode, F(node))
SP_FIELDS(SetNodeVoting, F(node), F(voting))
SP_FIELDS(RaiseFeatureLevel, F(level))
SP_FIELDS(ServiceUp, F(service), F(disks))
SP_FIELDS(ServiceDown, F(service), F(start_id))
SP_FIELDS(DiskFailed, F(disk), F(start_id), F(why))
SP_FIELDS(DiskReturned, F(disk), F(start_id))
SP_FIELDS(DescribeDisk, F(disk), F(description))
SP_FIELDS(ForgetDisk, F(disk))
SP_FIELDS(SetActivated, F(set), F(epoch))
SP_FIELDS(SetPromote, F(set), F(revision), F(disk))
SP_FIELDS(SetEvict, F(set), F(epoch), F(disk), F(lost))
SP_FIELDS(UpdatePlacementGroup, F(name), F(rename), F(add), F(remove))
SP_FIELDS(DeletePlacementGroup, F(name))
SP_FIELDS(PutTemplate, F(row), F(set_count), F(create), F(name_before))
SP_FIELDS(ChangeTemplate, F(read), F(row))
SP_FIELDS(DeleteTemplate, F(name))
SP_FIELDS(CreateVolume, F(name), F(size_bytes), F(template_name), F(limits), F(tags), F(created_ms))
SP_FIELDS(UpdateVolume, F(volume), F(rename), F(size_bytes), F(shrink_ok), F(limits), F(tags))
SP_FIELDS(DeleteVolume, F(volume))
SP_FIELDS(OpenCut::Item, F(volume), F(name), F(tags), F(delete_at_s))
SP_FIELDS(OpenCut, F(items), F(created_ms))
SP_FIELDS(CloseCut, F(cut), F(taken))
SP_FIELDS(CloneVolume, F(snapshot), F(name), F(size_bytes), F(limits), F(tags), F(created_ms))
SP_FIELDS(RevertVolume, F(volume), F(snapshot))
SP_FIELDS(UpdateSnapshot, F(snapshot), F(delete_at_s))
SP_FIELDS(Reassignment, F(volume), F(read_write), F(read_only), F(detach), F(detach_all))
SP_FIELDS(Reassign, F(volumes), F(force))
SP_FIELDS(AttachmentReady, F(volume), F(client), F(generation), F(device))
SP_FIELDS(AttachmentGone, F(volume), F(client), F(generation))
SP_FIELDS(CreateBucket, F(name))
SP_FIELDS(DeleteBucket, F(name))
SP_FIELDS(SetBucket, F(name), F(run_if_version_is), F(set))
#undef F
#undef SP_FIELDS

namespace {

constexpr uint8_t command_format = 1;

struct CommandKind {
  uint8_t number;
  std::string_view name;
};

template <class C>
constexpr CommandKind kind_of() {
  if constexpr (std::is_same_v<C, InitCluster>)
    return {1, "InitCluster"};
  else if constexpr (std::is_same_v<C, PutNode>)
    return {2, "PutNode"};
  else if constexpr (std::is_same_v<C, NodeUp>)
    return {3, "NodeUp"};
  else if constexpr (std::is_same_v<C, NodeDown>)
    return {4, "NodeDown"};
  else if constexpr (std::is_same_v<C, ServiceUp>)
    return {5, "ServiceUp"};
  else if constexpr (std::is_same_v<C, ServiceDown>)
    return {6, "ServiceDown"};
  else if constexpr (std::is_same_v<C, DiskFailed>)
    return {7, "DiskFailed"};
  else if constexpr (std::is_same_v<C, DiskReturned>)
    return {8, "DiskReturned"};
  else if constexpr (std::is_same_v<C, DescribeDisk>)
    return {9, "DescribeDisk"};
  else if constexpr (std::is_same_v<C, ForgetDisk>)
    return {10, "ForgetDisk"};
  else if constexpr (std::is_same_v<C, AddNode>)
    return {11, "AddNode"};
  else if constexpr (std::is_same_v<C, RemoveNode>)
    return {12, "RemoveNode"};
  else if constexpr (std::is_same_v<C, SetNodeVoting>)
    return {13, "SetNodeVoting"};
  else if constexpr (std::is_same_v<C, RaiseFeatureLevel>)
    return {14, "RaiseFeatureLevel"};
  else if constexpr (std::is_same_v<C, SetActivated>)
    return {20, "SetActivated"};
  else if constexpr (std::is_same_v<C, SetPromote>)
    return {21, "SetPromote"};
  else if constexpr (std::is_same_v<C, SetEvict>)
    return {22, "SetEvict"};
  else if constexpr (std::is_same_v<C, UpdatePlacementGroup>)
    return {30, "UpdatePlacementGroup"};
  else if constexpr (std::is_same_v<C, DeletePlacementGroup>)
    return {31, "DeletePlacementGroup"};
  else if constexpr (std::is_same_v<C, PutTemplate>)
    return {32, "PutTemplate"};
  else if constexpr (std::is_same_v<C, DeleteTemplate>)
    return {33, "DeleteTemplate"};
  else if constexpr (std::is_same_v<C, ChangeTemplate>)
    return {34, "ChangeTemplate"};
  else if constexpr (std::is_same_v<C, CreateVolume>)
    return {40, "CreateVolume"};
  else if constexpr (std::is_same_v<C, UpdateVolume>)
    return {41, "UpdateVolume"};
  else if constexpr (std::is_same_v<C, DeleteVolume>)
    return {42, "DeleteVolume"};
  else if constexpr (std::is_same_v<C, OpenCut>)
    return {43, "OpenCut"};
  else if constexpr (std::is_same_v<C, CloseCut>)
    return {44, "CloseCut"};
  else if constexpr (std::is_same_v<C, CloneVolume>)
    return {45, "CloneVolume"};
  else if constexpr (std::is_same_v<C, RevertVolume>)
    return {46, "RevertVolume"};
  else if constexpr (std::is_same_v<C, UpdateSnapshot>)
    return {47, "UpdateSnapshot"};
  else if constexpr (std::is_same_v<C, Reassign>)
    return {50, "Reassign"};
  else if constexpr (std::is_same_v<C, AttachmentReady>)
    return {51, "AttachmentReady"};
  else if constexpr (std::is_same_v<C, AttachmentGone>)
    return {52, "AttachmentGone"};
  else if constexpr (std::is_same_v<C, CreateBucket>)
    return {60, "CreateBucket"};
  else if constexpr (std::is_same_v<C, DeleteBucket>)
    return {61, "DeleteBucket"};
  else
    return {62, "SetBucket"};
}

template <size_t... I>
std::optional<Command> decode_numbered(uint8_t number, Bytes body, std::index_sequence<I...>) {
  std::optional<Command> command;
  const auto attempt = [&]<class C>(std::type_identity<C>) {
    if (kind_of<C>().number != number) return;
    if (auto value = decode_value<C>(body)) command.emplace(std::move(*value));
  };
  (attempt(std::type_identity<std::variant_alternative_t<I, Command>>{}), ...);
  return command;
}

}  // namespace

std::vector<std::byte> encode(const Command& command) {
  Writer out;
  Encoder encoder(out);
  std::visit(
      [&]<class C>(const C& c) {
        out.number(command_format).number(kind_of<C>().number);
        encoder.put(c);
      },
      command);
  return std::move(out).take();
}

std::optional<Command> decode(Bytes bytes) {
  if (bytes.size() < 2 || std::to_integer<uint8_t>(bytes[0]) != command_format) return std::nullopt;
  return decode_numbered(std::to_integer<uint8_t>(bytes[1]), bytes.subspan(2),
                         std::make_index_sequence<std::variant_size_v<Command>>{});
}

std::string_view name(const Command& command) {
  return std::visit([]<class C>(const C&) { return kind_of<C>().name; }, command);
}

uint32_t feature_level_of(const Command& command) {
  if (const auto* raise = std::get_if<RaiseFeatureLevel>(&command)) return raise->level;
  const bool third = std::holds_alternative<OpenCut>(command) ||
                     std::holds_alternative<CloseCut>(command) ||
                     std::holds_alternative<CloneVolume>(command) ||
                     std::holds_alternative<RevertVolume>(command) ||
                     std::holds_alternative<UpdateSnapshot>(command);
  if (third) return 3;
  const bool second = std::holds_alternative<AddNode>(command) ||
                      std::holds_alternative<RemoveNode>(command) ||
                      std::holds_alternative<SetNodeVoting>(command) ||
                      std::holds_alternative<ChangeTemplate>(command);
  return second ? 2 : 1;
}

}  // namespace sp::map
