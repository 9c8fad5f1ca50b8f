#!/usr/bin/env bash
# demo.sh: the main job in three minutes. A local cluster on loopback (three nodes with two disks each, and a fourth beacon that only votes), a volume, a real file
# system on it; then a server is killed under load, all processes are killed at once, and bytes are flipped on a disk. Every step prints what was shown and
# how long it took. Needs root for the block device. Leaves nothing behind; KEEP=1 leaves the cluster running.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/.." && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH

dir=${DEMO_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/sp-demo.XXXXXX")}
mnt=$dir/mnt
cluster() { "$here/local-cluster.sh" "$@" --dir "$dir/cluster"; }
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=1
step_started=$SECONDS
started=$SECONDS

say() { printf '%-86s %4s s\n' "$1" "$((SECONDS - step_started))"; step_started=$SECONDS; }
fail() { echo "demo: $1" >&2; exit 1; }

cleanup() {
  status=$?
  set +e
  if [ "$status" -ne 0 ]; then
    echo "demo: stopped with status $status; the last lines of the services:" >&2
    tail -n 5 "$dir"/cluster/log/*.log >&2 2>/dev/null
  fi
  if [ -n "${KEEP:-}" ] && [ "$status" -eq 0 ]; then
    echo "KEEP=1: the cluster runs on; export PATH=$build/bin:\$PATH SP_CONFIG=$SP_CONFIG SP_NODE=1"
    echo "stop it with: umount $mnt; $here/local-cluster.sh down --dir $dir/cluster"
    exit 0
  fi
  mountpoint -q "$mnt" && umount -l "$mnt"
  cluster down >/dev/null 2>&1
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT

[ "$(id -u)" -eq 0 ] || fail "needs root for the block device (the cluster itself does not: examples/local-cluster.sh up)"
mkdir -p "$mnt"

# A real tree of at least 200 MB, of whatever this machine has.
pick_tree() {
  local total=0 path size
  tree=()
  for path in /usr/share/doc /usr/share/locale /usr/include /usr/share/perl /usr/lib/python3 /usr/lib/gcc /usr/lib/llvm-14 "/usr/lib/$(uname -m)-linux-gnu"; do
    [ -d "$path" ] || continue
    size=$(du -sm --apparent-size "$path" 2>/dev/null | cut -f1)
    [ "$size" -gt 0 ] && [ "$size" -lt 700 ] || continue
    tree+=("$path")
    total=$((total + size))
    [ "$total" -lt 220 ] || break
  done
  [ "$total" -ge 200 ] || fail "found only $total MB of files to copy under /usr"
  tree_mb=$total
}
sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
healthy() { sp-status --wait healthy --timeout "${1:-60s}" >/dev/null || { sp-status; fail "the cluster did not become healthy"; }; }

pick_tree

cluster up --nodes 3 --disks 2 --size 2G --witness --port-base $((20000 + RANDOM % 20000)) >/dev/null
healthy
say "cluster: 3 nodes with 2 disks each and a voting-only beacon, all healthy"

sp-volume create demo --size 3G --template demo >/dev/null
sp-attach demo >/dev/null
device=/dev/storpool/demo
[ -b "$device" ] || fail "$device is not a block device"
say "volume demo (3 GiB, thin, three copies) attached as $device"

mkfs.ext4 -q -F "$device"
mount "$device" "$mnt"
say "ext4 made and mounted"

cp -a "${tree[@]}" "$mnt/" &
copy=$!
sleep 1
cluster kill 2
wait "$copy" || fail "copying failed while a server was dead"
sync -f "$mnt"
say "$tree_mb MB copied while the server of node 2 was killed with -9 under load"

for path in "${tree[@]}"; do (cd "$(dirname "$path")" && find "$(basename "$path")" -type f -print0 | sort -z | xargs -0 sha256sum); done >"$dir/before"
echo 3 >/proc/sys/vm/drop_caches
for path in "${tree[@]}"; do (cd "$mnt" && find "$(basename "$path")" -type f -print0 | sort -z | xargs -0 sha256sum); done >"$dir/after"
cmp -s "$dir/before" "$dir/after" || fail "files differ after the death of a server"
say "all $(wc -l <"$dir/before") files have the right checksum, read from two copies' servers"

cluster start 2
healthy 120s
say "node 2 is back; only what it missed was copied; three copies again"

cluster kill all
umount -l "$mnt" 2>/dev/null || true
say "every process of every node killed with -9 at once: power loss"

cluster start all
healthy 120s
sp-attach demo >/dev/null
say "started again from the disks; attached again"

e2fsck -f -p "$device" >"$dir/fsck" 2>&1 || [ $? -eq 1 ] || { cat "$dir/fsck"; fail "e2fsck found damage"; }
e2fsck -f -n "$device" >"$dir/fsck" 2>&1 || { cat "$dir/fsck"; fail "e2fsck is not clean"; }
mount "$device" "$mnt"
for path in "${tree[@]}"; do (cd "$mnt" && find "$(basename "$path")" -type f -print0 | sort -z | xargs -0 sha256sum); done >"$dir/after"
cmp -s "$dir/before" "$dir/after" || fail "files differ after the power loss"
say "e2fsck -f clean after journal replay; all files compare equal"

flipped=$(cluster flip demo)
echo 3 >/proc/sys/vm/drop_caches
for path in "${tree[@]}"; do (cd "$mnt" && find "$(basename "$path")" -type f -print0 | sort -z | xargs -0 sha256sum); done >"$dir/after"
cmp -s "$dir/before" "$dir/after" || fail "files differ after bytes were flipped on a disk"
grep -hq 'repaired' "$dir"/cluster/log/serve*.log || fail "flipped bytes were not noticed"
say "$flipped; noticed by checksum, answered from another copy, repaired"

echo "done in $((SECONDS - started)) s. Next: KEEP=1 make demo, then sp-status, sp-volume list, sp-disk list, man sp"
