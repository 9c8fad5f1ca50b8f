#!/usr/bin/env bash
# A volume through FUSE and a loop device on this machine's kernel: a file system on it, growth, refusal while in use, kill -9 of the daemon under
# verified load with take-over of what was in flight, and nothing left behind. Needs root, /dev/fuse, fio, e2fsprogs.
#   attach_fuse_test.sh PATH_OF_ATTACH_TOOL
set -euo pipefail
tool=$(readlink -f "$1")
work=$(mktemp -d); export ATTACH_TEST=$work; image=$(mktemp /dev/shm/attach-test.XXXXXX); daemon=
fail() { echo "FAILED: $*" >&2; cat "$work"/*.log >&2 || true; exit 1; }
cleanup() {
  # Taking the mount away first lets everything that waits for it end.
  umount -f "$work/run/fuse/7" 2>/dev/null || true
  [ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || true
  umount -l "$work/mnt" "$work/run/fuse/7" 2>/dev/null || true
  [ -z "${node:-}" ] || ! grep -qs "^$work/" "/sys/block/${node#/dev/}/loop/backing_file" || timeout 10 losetup -d "$node" || true
  for holder in $(pgrep -f -- '--holder 3'); do
    if tr '\0' '\n' <"/proc/$holder/environ" 2>/dev/null | grep -qx "ATTACH_TEST=$work"; then kill -9 "$holder"; fi
  done
  rm -rf "$work" "$image"
}
trap cleanup EXIT
wait_for() { for _ in $(seq 300); do if eval "$1"; then return 0; fi; sleep 0.1; done; fail "never true: $1"; }
start() {
  "$tool" serve "$image" 512M fuse "$work/run" "${1:-512M}" >"$work/out.log" 2>"$work/err.log" & daemon=$!
  wait_for 'grep -q ^ready "$work/out.log" || ! kill -0 $daemon'
  grep -q ^ready "$work/out.log" || fail "the daemon did not become ready"
  node=$(awk '/^ready/{print $3}' "$work/out.log")
}
trap 'fail "line $LINENO"' ERR

start 256M
[ "$(blockdev --getsize64 "$node")" = $((256 << 20)) ] && [ "$(blockdev --getss "$node")" = 4096 ]
[ "$(cat "/sys/block/${node#/dev/}/loop/dio")" = 1 ]
[ "$(readlink "$work/run/by-name/vol")" = "$node" ] && [ "$(readlink "$work/run/by-id/7")" = "$node" ]
kill -USR1 $daemon; wait_for 'grep -q "^resized ok" "$work/out.log"'
[ "$(blockdev --getsize64 "$node")" = $((512 << 20)) ]

timeout 60 mkfs.ext4 -q "$node"; mkdir "$work/mnt"; mount "$node" "$work/mnt"
cp -r /etc "$work/mnt/copy"; sync -f "$work/mnt"; find /etc -type f -exec md5sum {} + | sort >"$work/sums"
kill -TERM $daemon; wait_for 'grep -q "^detached.*in use: mounted on $work/mnt" "$work/out.log"'

timeout 120 fio --name=load --directory="$work/mnt" --direct=1 --ioengine=io_uring --bs=4k --rw=randwrite --iodepth=16 --size=64M \
  --loops=8 --rate_iops=6000 --verify=crc32c --do_verify=1 --serialize_overlap=1 >"$work/fio.log" 2>&1 & load=$!
wait_for '[ "$(awk "{print \$7}" "/sys/block/${node#/dev/}/stat")" -gt 100000 ]'
old=$node
for _ in 1 2 3; do
  before=$(awk '{print $7}' "/sys/block/${node#/dev/}/stat")
  kill -9 $daemon; wait $daemon 2>/dev/null || true
  kill -0 $load || fail "the load ended before the daemon was killed: make it longer"
  start
  [ "$node" = "$old" ] || fail "the device was made anew instead of taken over"
  wait_for "[ \"\$(awk '{print \$7}' /sys/block/${node#/dev/}/stat)\" -gt $((before + 4000)) ]"
done
wait $load || fail "fio found errors"
(cd / && md5sum -c --quiet <(sed "s|  /etc|  $work/mnt/copy|" "$work/sums")) || fail "files differ"
umount "$work/mnt"; timeout 60 e2fsck -fn "$node" >"$work/fsck.log" || fail "the file system is damaged"

holder=$(pgrep -n -f -- "--holder 3")
kill -TERM $daemon; wait_for 'grep -q "^detached ok" "$work/out.log"'; wait $daemon; daemon=
wait_for "! kill -0 $holder 2>/dev/null"
[ ! -e "/sys/block/${node#/dev/}/loop/backing_file" ] || fail "the loop device is still set up"
! grep -q "$work" /proc/self/mountinfo || fail "a mount is left"
[ -z "$(find "$work/run/by-name" "$work/run/by-id" "$work/run/fuse" -mindepth 1)" ] || fail "links or folders are left"
[ ! -e "$work/run/holder.socket" ] || fail "the holder's socket is left"

# Forced: whoever has it open gets errors, and nothing is left after that.
start; exec 9<"$node"
kill -INT $daemon; wait_for 'grep -q "^detached ok" "$work/out.log"'; wait $daemon; daemon=
! dd if=/dev/fd/9 of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || fail "a detached device was read"
exec 9<&-
wait_for '[ ! -e "/sys/block/${node#/dev/}/loop/backing_file" ]'
! grep -q "$work" /proc/self/mountinfo || fail "a mount is left after a forced detach"
echo "attach_fuse_test: ok"
