#!/usr/bin/env bash
# release_test.sh: sp-block is gone for good while a volume's file system is in use. Its users wait; `sp-block --release` gives them errors and leaves
# nothing; it refuses while the service runs; the next start makes the device anew with all acknowledged data. Needs root and a FUSE device.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/sp-release.XXXXXX")
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=1
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster"; }
fail() { echo "release_test: $*" >&2; exit 1; }
wait_for() { for _ in $(seq 600); do if eval "$1"; then return 0; fi; sleep 0.05; done; fail "never true: $1"; }

cleanup() {
  status=$?
  set +e
  [ "$status" -eq 0 ] || tail -n 20 "$dir"/cluster/log/*.log "$dir"/*.log >&2
  timeout 10 umount -l "$dir/mnt" 2>/dev/null
  cluster down >/dev/null 2>&1
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT

cluster up --nodes 3 --disks 1 --size 256M --port-base $((20000 + RANDOM % 20000)) --devices "$dir/dev" >/dev/null
sp-status --wait healthy --timeout 60s >/dev/null
sp-volume create data --size 64M --template demo >/dev/null
sp-attach data >/dev/null
device=$dir/dev/data
[ -b "$device" ] || fail "there is no device for the volume"
mkfs.ext4 -q -F "$device"
mkdir "$dir/mnt"
mount "$device" "$dir/mnt"
echo kept >"$dir/mnt/file"
sync -f "$dir/mnt"

if sp-block --release >/dev/null 2>"$dir/refused.log"; then fail "released under a running service"; else code=$?; fi
[ "$code" -eq 5 ] || fail "a refusal has exit code $code, not 5"
grep -q "in use by process" "$dir/refused.log" || fail "the refusal does not say who has it"

kill -9 "$(cat "$dir/cluster/run/block1.pid")"
(dd if="$device" of=/dev/null bs=1M count=1 iflag=direct 2>/dev/null && echo read || echo error) >"$dir/reader.log" &
wait_for 'grep -q "^[DS]" <(ps -o stat= --ppid $! 2>/dev/null)'
[ ! -s "$dir/reader.log" ] || fail "the reader did not wait for a successor"
timeout 60 sp-block --release >/dev/null
wait_for '[ -s "$dir/reader.log" ]'
[ "$(cat "$dir/reader.log")" = error ] || fail "the reader got data from nobody"
timeout 20 umount -l "$dir/mnt"
! grep -q "$dir" /proc/self/mountinfo || fail "a mount is left"
! pgrep -f -- "--holder $dir" >/dev/null || fail "the holder is left"

cluster start 1 >/dev/null
wait_for '[ -b "$device" ]'
mount "$device" "$dir/mnt"
[ "$(cat "$dir/mnt/file")" = kept ] || fail "acknowledged data are gone"
umount "$dir/mnt"
echo "release_test: ok"
