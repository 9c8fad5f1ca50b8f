#!/usr/bin/env bash
# Other people's NBD clients against our server: nbdinfo, nbdcopy (several connections), qemu-img, fio with verification.
#   attach_nbd_test.sh PATH_OF_ATTACH_TOOL
set -euo pipefail
tool=$(readlink -f "$1")
work=$(mktemp -d); server=
cleanup() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; cat "$work"/*.log >&2 || true; exit 1; }
trap 'fail "line $LINENO"' ERR
uri="nbd+unix:///vol?socket=$work/socket"
"$tool" nbd "$work/image" 64M "$work/socket" >"$work/out.log" 2>"$work/err.log" & server=$!
for _ in $(seq 300); do grep -q ^ready "$work/out.log" && break; sleep 0.1; done

[ "$(nbdinfo --size "$uri")" = $((64 << 20)) ]
nbdinfo --list "nbd+unix://?socket=$work/socket" | grep -q '^export="vol"'
nbdinfo --can multi-conn "$uri"
head -c $((64 << 20)) /dev/urandom >"$work/data"
nbdcopy --connections=4 "$work/data" "$uri"
cmp "$work/data" "$work/image" || fail "nbdcopy wrote something else"
nbdcopy --connections=4 "$uri" "$work/back"
cmp "$work/data" "$work/back" || fail "nbdcopy read something else"
qemu-img compare -f raw -F raw "$work/data" "$uri" >"$work/qemu.log"
qemu-io -f raw -c "write -P 7 1000 3000" -c "read -P 7 1000 3000" -c "write -z 8192 65536" -c "read -P 0 8192 65536" -c "discard 1M 1M" \
  -c "read -P 0 1M 1M" -c "flush" "$uri" >"$work/qemu.log"
! grep -q "verification failed" "$work/qemu.log" || fail "qemu-io read something else"
for depth in 1 16; do
  timeout 60 fio --name=nbd --ioengine=nbd --uri="$uri" --rw=randwrite --bsrange=512-16k --bs_unaligned=1 --iodepth=$depth --size=8M --verify=crc32c \
    --do_verify=1 --serialize_overlap=1 >"$work/fio.log" 2>&1 || fail "fio found errors at depth $depth"
done
[ ! -s "$work/err.log" ] || fail "the server complained about well-behaved clients"
kill "$server"; wait "$server"; server=
echo "attach_nbd_test: ok"
