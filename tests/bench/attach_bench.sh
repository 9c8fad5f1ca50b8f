#!/usr/bin/env bash
# attach_bench.sh: what a block device adds to the client library. The same volume by sp-bench without a device, through FUSE and a loop device of this
# kernel, and over NBD on a unix socket, by fio. CPU is that of the whole machine, load generator and kernel included, for each operation: fio's own part is
# in the row of /dev/null. Three servers on loopback, one disk in memory each, as in run.sh, of which this is a part. Needs root and fio. Prints Markdown.
# SECONDS_EACH=4: of each row. A kernel with ublk gets its rows by itself, as sp-block takes the best way that the kernel has.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH SP_NODE=1
seconds=${SECONDS_EACH:-4}
work=$(mktemp -d /dev/shm/sp-bench.XXXXXX)
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$work/cluster"; }
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  sp-attach --detach bench >/dev/null 2>&1 || true
  cluster down >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
command -v fio >/dev/null || { echo "fio is missing: apt-get install fio" >&2; exit 1; }

export SP_CONFIG=$work/cluster/sp.toml
cluster up --nodes 3 --disks 1 --size 1536M --memory --devices "$work/dev" >/dev/null
sp-status --wait healthy --timeout 60s >/dev/null
sp-volume create bench --size 768M --template demo >/dev/null
sp-bench bench --yes --reads 0 --pattern sequential --block 1M --depth 8 --ramp 0s --time 10m --operations 768 >/dev/null 2>&1
sp-bench bench --yes --reads 0 --block 64K --depth 16 --ramp 0s --time 10m --operations 16000 >/dev/null 2>&1

busy_us() { awk -v hz="$(getconf CLK_TCK)" '/^cpu / { printf "%.0f", ($2 + $3 + $4 + $7 + $8) * 1e6 / hz }' /proc/stat; }
print_row() { # name, operations, ops/s, median us, busy us
  awk -v name="$1" -v n="$2" -v rate="$3" -v median="$4" -v busy="$5" 'BEGIN { printf "| %s | %.0f | %.0f | %.1f |\n", name, rate, median, busy / n }'
}
library() { # name, percent of reads, depth, block, options...
  local name=$1 from out
  from=$(busy_us)
  out=$(sp-bench bench --yes --format=tsv --ramp 0s --time "${seconds}s" --reads "$2" --depth "$3" --block "$4" "${@:5}" 2>/dev/null)
  local spent=$(($(busy_us) - from))
  awk -F'\t' '$1 == "read" || $1 == "write" { print $2, $3, $6 }' <<<"$out" | { read -r n rate median && print_row "$name" "$n" "$rate" "$median" "$spent"; }
}
device() { # name, percent of reads, depth, block, options of fio...
  local name=$1 from out
  from=$(busy_us)
  out=$(fio --name=bench --rw="$([ "$2" = 0 ] && echo randwrite || echo randread)" --iodepth="$3" --bs="$4" --time_based --runtime="$seconds" --size=768M \
    --randrepeat=0 --norandommap --output-format=json "${@:5}" 2>/dev/null)
  local spent=$(($(busy_us) - from))
  awk -F'[:, ]+' '
    /"(read|write)" : \{/ { part = $0 } /"total_ios"/ && $3 > 0 { n = $3 } /"iops" :/ && $3 > 0 { rate = $3 }
    /"50.000000" :/ && $3 > 0 && !median { median = $3 / 1000 }
    END { print n, rate, median }' <<<"$out" | { read -r n rate median && print_row "$name" "$n" "$rate" "$median" "$spent"; }
}
rows() { # name, function, options
  "$2" "4 KiB read, depth 1, $1" 100 1 4k "${@:3}"
  "$2" "4 KiB read, depth 32, $1" 100 32 4k "${@:3}"
  "$2" "4 KiB write, depth 1, $1" 0 1 4k "${@:3}"
  "$2" "4 KiB write, depth 32, $1" 0 32 4k "${@:3}"
  "$2" "1 MiB read, depth 8, $1" 100 8 1m "${@:3}"
  "$2" "1 MiB write, depth 8, $1" 0 8 1m "${@:3}"
}

echo "| attached | ops/s | median us | CPU us of the whole machine |"
echo "|---|---|---|---|"
rows "client library" library
sp-attach --socket "$work/socket" bench >"$work/nbd.log" 2>&1 &
server=$!
for _ in $(seq 100); do [ -S "$work/socket" ] && break; sleep 0.1; done
rows "NBD on a unix socket" device --ioengine=nbd --uri="nbd+unix:///bench?socket=$work/socket"
kill "$server" && wait "$server" || true
server=
if sp-attach bench >"$work/attach.log" 2>&1; then
  node=$(readlink -f "$work/dev/bench")
  rows "block device ($(basename "$node" | tr -d 0-9))" device --ioengine=io_uring --direct=1 --filename="$node"
  sp-attach --detach bench >/dev/null
else
  echo
  echo "No block device: $(tail -1 "$work/attach.log")"
fi
device "fio by itself, 4 KiB, depth 32" 100 32 4k --ioengine=io_uring --filename=/dev/null --size=768M
