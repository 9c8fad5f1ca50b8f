#!/usr/bin/env bash
# snapshot_bench.sh: what snapshots cost. How long one takes, alone and under a load of writes; what reads and writes cost before, between and after many
# of them; clones of one image. Three servers on loopback, one disk in memory each, as in run.sh, of which this is the last part. Prints Markdown.
# SNAPSHOTS=500: length of the chain. SECONDS_EACH=4: of each row.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH SP_NODE=1
seconds=${SECONDS_EACH:-4} chain=${SNAPSHOTS:-500}
work=$(mktemp -d /dev/shm/sp-bench.XXXXXX)
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$work/cluster"; }
trap 'cluster down >/dev/null 2>&1; rm -rf "$work"' EXIT

export SP_CONFIG=$work/cluster/sp.toml
cluster up --nodes 3 --disks 1 --size 2G --memory --devices "$work/dev" >/dev/null
sp-status --wait healthy --timeout 60s >/dev/null
sp-volume create image --size 512M --template demo >/dev/null

load() { sp-bench "$@" --yes --format=tsv 2>"$work/error" || { cat "$work/error" >&2; return 1; }; }
row() { # name, options of sp-bench...
  local name=$1
  shift
  load image --time "${seconds}s" "$@" | awk -F'\t' -v name="$name" '
    $1 == "read" || $1 == "write" { printf "| %s | %.0f | %.0f | %.0f |", name, $3, $6, $7 }
    $1 == "all servers" { servers = $2 } $1 == "client" { client = $2 }
    END { printf " %.1f | %s |\n", servers, client }'
}
now_us() { echo $(($(date +%s%N) / 1000)); }
# Snapshots NAME-1 to NAME-COUNT of the volume: mean milliseconds of each command.
take() { # name, count
  local from i
  from=$(now_us)
  for ((i = 1; i <= $2; ++i)); do sp-snap create "image@$1-$i" >/dev/null; done
  awk -v us="$(($(now_us) - from))" -v n="$2" 'BEGIN { printf "%.1f", us / n / 1000 }'
}
command_ms() { # a command that only asks
  local from i
  from=$(now_us)
  for ((i = 0; i < 20; ++i)); do sp-volume list >/dev/null; done
  awk -v us="$(($(now_us) - from))" 'BEGIN { printf "%.1f", us / 20 / 1000 }'
}

# Every place of the disks is written once before anything is counted: the memory behind it is made then.
sp-volume create filler --size 1280M --template demo >/dev/null
for volume in filler image; do load $volume --pattern sequential --reads 0 --block 1M --depth 8 --operations 1280 >/dev/null; done
sp-volume delete filler --yes >/dev/null
sleep 3
echo "| volume of 512 MiB, disks in memory | ops/s | median us | p99 us | servers CPU us | client CPU us |"
echo "|---|---|---|---|---|---|"
row "4 KiB write, depth 32, no snapshot" --reads 0 --depth 32
row "4 KiB read, depth 32, no snapshot" --reads 100 --depth 32
alone=$(take alone 10)
row "4 KiB write, depth 32, after 10 snapshots" --reads 0 --depth 32 --range 128M
sp-bench image --yes --reads 0 --depth 32 --range 32M --time 30s >/dev/null 2>&1 &
loader=$!
sleep 2
under=$(take under 10)
kill "$loader" 2>/dev/null || true
wait "$loader" 2>/dev/null || true
for ((i = 1; i <= chain; ++i)); do
  sp-snap create "image@chain-$i" >/dev/null
  [ $((i % 10)) -ne 0 ] || load image --reads 0 --depth 32 --operations 1000 --range 128M --ramp 0s >/dev/null
done
row "4 KiB read, depth 32, on $((chain + 20)) snapshots" --reads 100 --depth 32
row "4 KiB write, depth 32, on $((chain + 20)) snapshots" --reads 0 --depth 32 --range 128M
row "4 KiB read, depth 32, on $((chain + 20)) snapshots, again" --reads 100 --depth 32
from=$(now_us)
for i in $(seq 100); do sp-volume create --snapshot image@chain-1 "clone-$i" >/dev/null; done
clones=$(awk -v us="$(($(now_us) - from))" 'BEGIN { printf "%.1f", us / 100000 }')
echo
echo "A snapshot takes $alone ms as a command, $under ms under a load of writes of depth 32; a clone $clones ms. A command that only asks takes $(command_ms) ms."
