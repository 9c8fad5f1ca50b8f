// Columns: which members of the API's objects the commands print, and how. One line a table:
// "member TITLE kind, ..."; kinds: text (the default), number, size, boolean, numbers, time, tags.
// The order of columns is promised to scripts: new ones are added at the end.
#pragma once

namespace sp::cli::columns {

inline constexpr char volumes[] =
    "name NAME, size SIZE size, templateName TEMPLATE, replication COPIES number, globalId ID, "
    "creationTimestamp CREATED time, tags TAGS tags";
inline constexpr char volume[] =
    "name NAME, globalId ID, size SIZE size, objectsCount OBJECTS number, templateName TEMPLATE, "
    "replication COPIES number, placeAll PLACE_ALL, placeTail PLACE_TAIL, placeHead PLACE_HEAD, "
    "iops IOPS number, bw BANDWIDTH size, creationTimestamp CREATED time, tags TAGS tags, "
    "parentName PARENT";
inline constexpr char snapshots[] =
    "name NAME, onVolume VOLUME, size SIZE size, creationTimestamp CREATED time, "
    "targetDeleteDate DELETED_AT time, globalId ID, templateName TEMPLATE, tags TAGS tags";
inline constexpr char snapshot[] =
    "name NAME, globalId ID, onVolume VOLUME, parentName PARENT, size SIZE size, "
    "objectsCount OBJECTS number, templateName TEMPLATE, replication COPIES number, "
    "creationTimestamp CREATED time, targetDeleteDate DELETED_AT time, tags TAGS tags";
inline constexpr char snapshots_taken[] = "snapshot SNAPSHOT, volume VOLUME, snapshotGlobalId ID";
inline constexpr char volume_status[] =
    "name NAME, status STATUS, decreasedRedundancy DEGRADED boolean, downBytes DOWN size, "
    "syncingMetaObjects SYNCING number, migrating MIGRATING boolean, downDrives DOWN_DISKS "
    "numbers, "
    "missingDrives MISSING_DISKS numbers";
inline constexpr char chains[] = "count OBJECTS number, disks DISKS numbers";
inline constexpr char templates[] =
    "name NAME, replication COPIES number, placeAll PLACE_ALL, placeTail PLACE_TAIL, "
    "placeHead PLACE_HEAD, size SIZE size, iops IOPS number, bw BANDWIDTH size";
inline constexpr char template_status[] =
    "name NAME, volumesCount VOLUMES number, volumesSize VOLUMES_SIZE size, "
    "capacityPlaceAll CAPACITY size, availablePlaceAll FREE size, replication COPIES number";
inline constexpr char placement_groups[] = "name NAME, disks DISKS numbers";
inline constexpr char nodes[] =
    "id NODE number, name NAME, address ADDRESS, faultSet FAULT_SET, voting VOTING boolean, "
    "status STATUS";
inline constexpr char disks[] =
    "id DISK number, serverId SERVER number, generationLeft UP, device DEVICE, objectsOnDiskSize "
    "USED size, "
    "entriesCount BLOCKS number, objectsAllocated OBJECTS number, model MODEL, serial SERIAL, "
    "description DESCRIPTION";
inline constexpr char attachments[] =
    "volume VOLUME, client CLIENT number, rights RIGHTS, state STATE, device DEVICE, "
    "generation GENERATION number";

}  // namespace sp::cli::columns
