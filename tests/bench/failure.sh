#!/usr/bin/env bash
# failure.sh: how long reads and writes stand still when something fails under full load, and what coming back costs. Three nodes with a disk in memory
# each, and a fourth with a beacon that only votes and the client, each in a network namespace of its own. Prints a table in Markdown. Needs root; leaves
# nothing behind. SECONDS_EACH=8: of each row.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
[ "$(id -u)" -eq 0 ] || { echo "failure.sh: network namespaces need root" >&2; exit 77; }
seconds=${SECONDS_EACH:-8}
dir=$(mktemp -d /dev/shm/sp-failure.XXXXXX)
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=4
. "$root/tests/system/network.sh"
trap 'set +e; cluster down >/dev/null 2>&1; remove_network; wait; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Of the last run: the value of one column of the row for writes or reads.
column() { awk -F'\t' -v row="$1" -v at="$2" '$1 == row { print $at }' "$dir/bench.tsv"; }
healthy() { at 4 sp-status --wait healthy --timeout 120s >/dev/null; }

# Runs sp-bench with the given options, and the command of $event in the middle.
load() {
  at 4 sp-bench bench --format=tsv --yes --ramp 1s --time "${seconds}s" "$@" >"$dir/bench.tsv" 2>/dev/null &
  local bench=$!
  sleep "$((seconds / 2))"
  eval "$event"
  wait "$bench"
}

row() { # name, what puts it right again, of what (both)
  local name=$1 mend=$2 kind
  for kind in ${3:-write read}; do
    load --reads "$([ "$kind" = read ] && echo 100 || echo 0)"
    printf '| %s | %s | %.0f | %.1f | %.0f |\n' "$name" "$kind" "$(column "$kind" 3)" "$(column "$kind" 7 | awk '{ print $1 / 1000 }')" \
      "$(column "$kind" 9 | awk '{ print $1 / 1000 }')"
    eval "$mend"
    healthy
  done
}

# The node whose beacon began to lead in the newest term. When that is the client's, it is restarted until another one leads.
leader() {
  local node
  while :; do
    node=$(grep -H ': leading' "$dir"/cluster/log/beacon[1-4].log | sed -n 's/.*beacon\([1-4]\).log:.*term[^0-9]*\([0-9]*\).*/\2 \1/p' | sort -n | tail -1 | cut -d' ' -f2)
    [ "$node" = 4 ] || break
    cluster kill 4 --only beacon >/dev/null
    sleep 2
    cluster start 4 >/dev/null
    healthy
  done
  echo "$node"
}

received() { at "$1" ip -s link show port | awk '/RX:/ { getline; print $1 }'; } # bytes

make_network
cluster up --nodes 3 --disks 1 --size 1536M --memory --witness --port-base 20000 >/dev/null
at 4 sp-volume create bench --size 512M --template demo >/dev/null
at 4 sp-bench bench --yes --reads 0 --pattern sequential --block 1M --depth 8 --ramp 0s --time 10m --operations 512 >/dev/null 2>&1

echo "| under full load (4 KiB, depth 32) | | ops/s | p99 ms | longest ms |"
echo "|---|---|---|---|---|"
event=true
row "nothing fails" true
event='kill -9 "$(process serve2)"'
row "a server is killed" 'cluster start 2 >/dev/null'
event='isolate 2'
row "a node is cut off" 'join 2'
event='leads=$(leader); isolate "$leads"'
row "the node that leads is cut off" 'join "$leads"'

# What a node missed, and what comes to it when it is back.
write_some() { at 4 sp-bench bench --yes --reads 0 --pattern sequential --block 1M --depth 8 --ramp 0s --time 10m --operations "$1" >/dev/null 2>&1; }
cluster kill 2 >/dev/null
write_some 512
event='cluster start 2 >/dev/null'
row "a node comes back that missed 512 MiB" true write
cluster kill 2 >/dev/null
write_some 512
row "a node comes back that missed 512 MiB" true read
cluster kill 2 >/dev/null
write_some 256
before=$(received 2)
cluster start 2 >/dev/null
healthy
echo
awk -v got="$(($(received 2) - before))" 'BEGIN { printf "A node that missed 256 MiB is sent %.0f MiB until all is well: %.2f times what changed.\n", got / 1048576, got / 1048576 / 256 }'
