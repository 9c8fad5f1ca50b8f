#!/usr/bin/env bash
# Run inside a virtual machine that has the modules ublk_drv and nbd, as root: devices by ublk and by the kernel's NBD client, kill -9 of
# the daemon under verified load, take-over, refusal while in use, clean detach. The tool is at $TOOL.
set -euo pipefail
tool=${TOOL:?}
work=$(mktemp -d); daemon=
fail() { echo "FAILED: $*"; cat "$work"/*.log || true; exit 1; }
trap 'fail "line $LINENO"' ERR
wait_for() { for _ in $(seq 600); do if eval "$1"; then return 0; fi; sleep 0.1; done; fail "never true: $1"; }
start() {
  "$tool" serve "$work/image" 64M "$way" "$work/run" >"$work/out.log" 2>"$work/err.log" & daemon=$!
  wait_for 'grep -q ^ready "$work/out.log" || ! kill -0 $daemon'
  grep -q ^ready "$work/out.log" || fail "$way: the daemon did not become ready"
  node=$(awk '/^ready/{print $3}' "$work/out.log")
}
"$tool" probe
for way in ${WAYS:-ublk nbd}; do
  start
  [ "$(blockdev --getsize64 "$node")" = $((64 << 20)) ] && [ "$(blockdev --getss "$node")" = 4096 ]
  rm -f "$work/sums"; timeout 60 mkfs.ext4 -F -q "$node"; mkdir -p "$work/mnt"; mount "$node" "$work/mnt"
  kill -TERM $daemon; wait_for 'grep -q "^detached.*in use: mounted" "$work/out.log"'
  (for i in $(seq 40); do head -c 500000 /dev/urandom >"$work/mnt/$i"; md5sum "$work/mnt/$i"; sync "$work/mnt/$i"; done >"$work/sums") & load=$!
  wait_for '[ "$(wc -l <"$work/sums")" -ge 3 ]'
  kill -9 $daemon; wait $daemon 2>/dev/null || true
  kill -0 $load || fail "$way: the load ended before the daemon was killed"
  old=$node; start; [ "$node" = "$old" ] || fail "$way: the device was made anew instead of taken over"
  wait $load || fail "$way: the load met errors"
  echo 3 >/proc/sys/vm/drop_caches; md5sum -c --quiet "$work/sums" || fail "$way: data differ"
  umount "$work/mnt"; e2fsck -fn "$node" >"$work/fsck.log" || fail "$way: the file system is damaged"
  kill -TERM $daemon; wait_for 'grep -q "^detached ok" "$work/out.log"'; wait $daemon; daemon=
  [ -z "$(ls "$work/run/by-name")" ] || fail "$way: a link is left"
  echo "guest_attach: $way ok"
done
