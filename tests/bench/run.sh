#!/usr/bin/env bash
# make bench: the floors of this machine, then the data path of a local cluster on memory disks beside them. Figures are of one run: compare within it only.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
dir=$(mktemp -d /dev/shm/sp-bench.XXXXXX)
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=1
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster"; }
trap 'cluster down >/dev/null 2>&1; rm -rf "$dir"' EXIT

ninja -C "$build" --quiet io_bench store_bench volume_bench sim_bench
echo "== floors: the io seam beside raw liburing"
[ -n "${SKIP_FLOORS:-}" ] || "$build/tests/bench/io_bench"
echo
echo "== simulator: simulated seconds per CPU second, faults on; short runs, and 10 minutes of 3 nodes"
"$build/tests/bench/sim_bench"
echo
echo "== one disk: the store on a memory disk"
"$build/tests/bench/store_bench" "$dir/store.disk"
echo
echo "== three servers, three copies, memory disks, client library (no device in between)"
cluster up --nodes 3 --disks 1 --size 2G --memory --port-base $((20000 + RANDOM % 20000)) --devices "$dir/dev" >/dev/null
sp-volume create bench --size 1G --template demo >/dev/null
servers=$(cat "$dir"/cluster/run/serve*.pid | paste -sd,)
load() { "$build/tests/bench/volume_bench" --volume bench --servers "$servers" "$@" 2>/dev/null; }
load --operation write --depth 8 --block 1M --seconds 3 >/dev/null # every block is written once first
printf 'operation\tdepth\tblock\tops/s\tmedian us\tp99 us\tclient CPU us/op\tservers CPU us/op\terrors\n'
for operation in read write; do
  for depth in 1 32; do load --operation "$operation" --depth "$depth" --seconds 4; done
  load --operation "$operation" --depth 8 --block 1M --seconds 4
done
echo
for pid in "$dir"/cluster/run/serve*.pid; do
  cat "/proc/$(cat "$pid")/status"
done | awk '/VmRSS/ { rss += $2 } END { printf "servers resident: %.0f MiB together\n", rss / 1024 }'
sp-status
