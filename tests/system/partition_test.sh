#!/usr/bin/env bash
# partition_test.sh [FAULTS [SEED]]: a cluster of real processes, each node in a network namespace of its own: three nodes with two disks each, and a fourth with a
# beacon that only votes and the client. fio writes at random and verifies through NBD all the time while FAULTS faults happen, drawn from SEED: processes and
# nodes killed with -9, processes that stand still for longer than a lease, nodes and pairs of nodes cut off, in both directions or in one; one of them, in
# every run, is everything of the cluster at once killed with -9 and started again, while fio and the NBD server that it works with stay. Then
# a volume is taken by force from a client that is cut off with writes open; every process of every node is killed at once, clients as well. At the end
# all copies are compared by the servers, and, with everything stopped, from the disks alone by sp-disk-check. Needs root; leaves nothing behind.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
faults=${1:-6} seed=${2:-$(($(od -An -N3 -tu4 /dev/urandom)))}
[ "$(id -u)" -eq 0 ] || { echo "partition_test: skipped: network namespaces need root"; exit 77; }
echo "partition_test: replay with $0 $faults $seed"
RANDOM=$((seed % 32768))

dir=$(mktemp -d "${TMPDIR:-/tmp}/sp-partition.XXXXXX")
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=4
. "$root/tests/system/network.sh"
clients=()
fail() { echo "partition_test: $*" >&2; exit 1; }
wait_for() { for _ in $(seq 1200); do if eval "$1"; then return 0; fi; sleep 0.1; done; fail "never true: $1"; }

cleanup() {
  status=$?
  set +e
  trap '' INT TERM
  [ "$status" -eq 0 ] || { tail -n 12 "$dir"/cluster/log/*.log "$dir"/*.log; echo "partition_test: failed; replay with $0 $faults $seed"; } >&2
  remove_network
  wait
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

healthy() { at 4 sp-status --wait healthy --timeout 240s >/dev/null || { at 4 sp-status || true; fail "not healthy again after: $1"; }; }
# Longer than a lease, an election, and the second after which a silent node is down.
a_while() { sleep "$((2 + RANDOM % 3))"; }

one_fault() {
  local node=$((RANDOM % 3 + 1)) any=$((RANDOM % 4 + 1)) other what kind=$1
  other=$(((node + RANDOM % 2) % 3 + 1))
  case $kind in
    0) what="kill -9 server $node" ;&
    1) what=${what:-"kill -9 node $node"}
      if [ "$kind" = 0 ]; then cluster kill "$node" --only serve; else cluster kill "$node"; fi
      a_while
      cluster start "$node" ;;
    2) what="kill -9 beacon $any"; cluster kill "$any" --only beacon; a_while; cluster start "$any" ;;
    3) what="server $node stands still"; stand_still "serve$node" ;;
    4) what="beacon $any stands still"; stand_still "beacon$any" ;;
    5) what="node $any cut off"; isolate "$any"; a_while; join "$any" ;;
    6) what="no way between nodes $node and $other"
      close_way "$node" "$other"; close_way "$other" "$node"; a_while; open_way "$node" "$other"; open_way "$other" "$node" ;;
    7) what="no way from node $node to node $other"; close_way "$node" "$other"; a_while; open_way "$node" "$other" ;;
    8) what="nothing that node $any sends arrives"
      for other in 1 2 3 4; do [ "$other" = "$any" ] || close_way "$any" "$other"; done
      a_while
      for other in 1 2 3 4; do [ "$other" = "$any" ] || open_way "$any" "$other"; done ;;
    9) what="the leading beacon cut off"
      any=$(leader)
      [ -n "$any" ] || fail "no beacon has said that it leads"
      what="$what (node $any)"
      isolate "$any"; a_while; join "$any" ;;
    all) what="kill -9 everything at once"
      cluster kill all
      [ $((RANDOM % 2)) = 0 ] || a_while
      cluster start all ;;
  esac
  healthy "$what"
  # It goes on with the same attachment, not only with what was open.
  local before
  before=$(requests)
  wait_for "[ \"\$(requests)\" -gt $((before + 100)) ] || ! kill -0 $fio 2>/dev/null"
  kill -0 "$fio" 2>/dev/null || fail "fio has ended after: $what: $(tail -n 5 "$dir/fio-faults.log")"
  echo "  $what"
}
# Of fio, reads and writes, as it said last.
requests() { sed -nE 's/.*issued rwts: total=([0-9]+),([0-9]+),.*/\1 \2/p' "$dir/fio-faults.log" | tail -n 1 | { read -r reads writes; echo $((reads + writes)); }; }
stand_still() {
  local pid
  pid=$(process "$1")
  kill -STOP "$pid"
  a_while
  kill -CONT "$pid"
}
# The node whose beacon leads in the highest term.
leader() {
  grep -H ' leading' "$dir"/cluster/log/beacon?.log | grep -v 'no longer' |
    sed -nE 's/.*beacon(.)\.log:.*term[=:" ]+([0-9]+).*/\2 \1/p' | sort -n | tail -n 1 | cut -d' ' -f2
}

serve_volume() { # node, volume, options: an NBD socket at $dir/NODE-VOLUME.sock
  # Not by `at`: what is killed by $! has to be sp-attach, not a shell around it.
  # shellcheck disable=SC2154  # network.sh has it
  nsenter --net="/run/netns/$net$1" env SP_NODE="$1" sp-attach "$2" --socket "$dir/$1-$2.sock" "${@:3}" >"$dir/$1-$2.log" 2>&1 &
  clients+=($!)
  wait_for "[ -S '$dir/$1-$2.sock' ] || ! kill -0 ${clients[-1]}"
  [ -S "$dir/$1-$2.sock" ] || fail "sp-attach of $2 on node $1 did not start"
}
uri() { echo "nbd+unix:///$2?socket=$dir/$1-$2.sock"; }
load() { # job, then fio's options
  local code=0
  fio --name="$1" --ioengine=nbd --uri="$(uri 4 load)" --verify=crc32c --verify_fatal=1 --iodepth=16 "${@:2}" >"$dir/fio-$1.log" 2>&1 || code=$?
  # 128: ended by a signal, here.
  { [ "$code" -eq 0 ] || [ "$code" -eq 128 ]; } && grep -q 'err= 0' "$dir/fio-$1.log" && ! grep -q 'verify:' "$dir/fio-$1.log" ||
    { tail -n 30 "$dir/fio-$1.log" >&2; fail "fio found errors in the part '$1' (exit code $code)"; }
}
# Offline: the sets whose copies are not three equal ones, by their digests. Fails at damage.
differing() {
  local disk
  for disk in "$dir"/cluster/disks/*[0-9]; do
    sp-disk-check --digest --format=tsv --no-header "$disk" || fail "sp-disk-check finds disk $disk damaged"
  done >"$dir/digests"
  [ -s "$dir/digests" ] || fail "no digests"
  awk -F'\t' '{ n[$1]++; if (!($1 in first)) first[$1] = $4 " " $5; if (first[$1] != $4 " " $5 || $3 != "no") bad[$1] = 1 }
    END { for (set in n) if (n[set] != 3 || bad[set]) print set }' "$dir/digests"
}

make_network
cluster up --nodes 3 --disks 2 --size 1G --witness >/dev/null
for volume in load moved; do at 4 sp-volume create "$volume" --size 128M --template demo >/dev/null; done
serve_volume 4 load
serve_volume 4 moved
cd "$dir" # fio leaves files where it runs

load faults --size=128M --rw=randwrite --bsrange=4k-64k --verify_backlog=64 --time_based --runtime=3600 --rate_iops=300 --randrepeat=0 --status-interval=1 &
fio=$!
wait_for 'grep -q "write: IOPS" "$dir/fio-faults.log" 2>/dev/null'
kinds=(0 1 2 3 4 5 6 7 8 9) all_at=$((RANDOM % faults))
for ((i = 0; i < faults; ++i)); do
  if [ "$i" = "$all_at" ]; then one_fault all; continue; fi
  # Each kind once, in an order of its own, before any comes again.
  [ "${#kinds[@]}" -gt 0 ] || kinds=(0 1 2 3 4 5 6 7 8 9)
  pick=$((RANDOM % ${#kinds[@]})) kind=${kinds[$pick]}
  unset "kinds[$pick]"
  kinds=("${kinds[@]}")
  one_fault "$kind"
done
pkill -INT -P "$fio" fio
wait "$fio" || fail "fio found errors under faults"
echo "  fio: $(grep -oE 'issued rwts: total=[0-9]+,[0-9]+' "$dir/fio-faults.log" | tail -n 1) (reads, writes) under $faults faults, all verified"

# Taken by force while the old client is cut off with writes open: what it writes later does not show.
qemu-io -f raw -c "write -P 1 0 8M" "$(uri 4 moved)" >/dev/null
isolate 4
timeout 120 qemu-io -f raw -c "write -P 2 0 8M" "$(uri 4 moved)" >"$dir/late.log" 2>&1 &
late=$!
wait_for '! at 1 sp-status --node 1 --timeout 5s --format=tsv 2>/dev/null | grep -q "clients.*5 of 5"'
serve_volume 1 moved --force
qemu-io -f raw -c "write -P 3 4M 8M" "$(uri 1 moved)" >/dev/null
join 4
wait "$late" || true
healthy "the old client is back"
read_back=$(qemu-io -f raw -c "read -P 1 0 4M" -c "read -P 3 4M 8M" "$(uri 1 moved)" 2>&1)
! grep -qi "verification failed" <<<"$read_back" || fail "writes of the client that was fenced showed: $read_back"
grep -q "read 8388608/8388608" <<<"$read_back" || fail "the volume could not be read: $read_back"
echo "  volume taken by force from a client that was cut off; nothing of its later writes shows"

# Everything at once, right after the last acknowledgement: overwrites over overwrites, then only a check.
for pass in 1 2; do load "pass$pass" --size=64M --rw=randwrite --bs=16k --do_verify=0 --randrepeat=0 --randseed=$((seed + pass)); done
cluster kill all
for pid in "${clients[@]}"; do kill -9 "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
clients=()
! pgrep -f -- "--socket $dir/" >/dev/null || fail "a client has outlived the end of all"
rm -f "$dir"/*.sock
cluster start all
healthy "everything killed at once"
serve_volume 4 load --force
load pass2 --size=64M --rw=randwrite --bs=16k --verify_only --randrepeat=0 --randseed=$((seed + 2))
echo "  everything killed at once and started again: all that was acknowledged is there"

healthy "all of it"
at 4 sp-compare >/dev/null || fail "copies differ"
for pid in "${clients[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
clients=()
cluster stop all
different=$(differing)
[ -z "$different" ] || { cat "$dir/digests" >&2; fail "copies differ on the disks, of the sets: $different"; }
echo "  all copies equal, by the servers and offline: $(wc -l <"$dir/digests") copies, $(awk -F'\t' '{ n += $4 } END { print n }' "$dir/digests") blocks"
