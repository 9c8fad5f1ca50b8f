#!/usr/bin/env bash
# sp-bench on a local cluster: what it says is what happened; it destroys nothing unasked and leaves nothing behind.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH SP_NODE=1
work=$(mktemp -d /dev/shm/sp-bench-test.XXXXXX)
export SP_CONFIG=$work/cluster/sp.toml
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$work/cluster"; }
trap 'cluster down >/dev/null 2>&1; rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

cluster up --nodes 3 --disks 1 --size 512M --memory --port-base $((20000 + RANDOM % 20000)) --devices "$work/dev" >/dev/null
sp-volume create v --size 64M --template demo >/dev/null

code=0; sp-bench v --reads 50 2>"$work/error" || code=$?
[ $code = 2 ] || fail "writes without --yes: exit $code"
grep -q -- --yes "$work/error" || fail "it does not say how to allow writes"

# So many operations as were asked for, of which every server and disk had its part.
sp-bench v --yes --reads 0 --pattern sequential --block 1M --depth 4 --ramp 0s --operations 64 --json >"$work/json"
[ "$(jq .errors "$work/json")" = 0 ]
[ "$(jq '.load[] | select(.operation == "write") | .operations' "$work/json")" = 64 ]
[ "$(jq '[.processes[] | select(.process | startswith("server"))] | length' "$work/json")" = 3 ] || fail "servers are missing: $(cat "$work/json")"
[ "$(jq '[.processes[] | select(.process | startswith("beacon"))] | length' "$work/json")" = 3 ] || fail "beacons are missing"
jq -e '[.disks[].bytes_written] | length == 3 and min >= 64 * 1048576' "$work/json" >/dev/null || fail "disks wrote less than the load: $(cat "$work/json")"

# Reads find the stamps; with somebody else's content they say so.
sp-bench v --time 1s --ramp 0s --format=tsv >"$work/tsv"
grep -q "^read	" "$work/tsv"
head -c 1M /dev/urandom >"$work/strange"
sp-attach --socket "$work/nbd" v >"$work/attach.log" 2>&1 & attach=$!
for _ in $(seq 100); do [ -S "$work/nbd" ] && break; sleep 0.1; done
code=0; sp-bench v --reads 0 --yes --time 1s 2>"$work/error" || code=$?
[ $code = 5 ] || fail "a volume of somebody else's: exit $code"
nbdcopy "$work/strange" "nbd+unix:///v?socket=$work/nbd" || fail "nbdcopy: $(cat "$work/attach.log")"
kill $attach; wait $attach || true
code=0; sp-bench v --range 1M --time 1s --ramp 0s >/dev/null 2>"$work/error" || code=$?
[ $code = 1 ] || fail "strange content: exit $code"
grep -q "no load has written" "$work/error" || fail "$(cat "$work/error")"
sp-bench v --range 1M --time 1s --ramp 0s --no-verify >/dev/null

# A signal ends it, in order: the volume is free again.
sp-bench v --no-verify --time 1h --ramp 0s >"$work/out" 2>&1 & bench=$!
for _ in $(seq 100); do sp-attach --list --format=tsv --no-header | grep -q . && break; sleep 0.1; done
sleep 0.5; kill $bench; wait $bench || fail "after a signal: $(cat "$work/out")"
grep -q "^read " "$work/out" || fail "it does not print what it has"
[ -z "$(sp-attach --list --format=tsv --no-header)" ] || fail "something is still attached"
echo "bench_test: ok"
