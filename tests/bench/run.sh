#!/usr/bin/env bash
# make bench: what the data path costs, beside the floors of the same run. Prints a page in Markdown, tests/bench/RESULTS.md when KEEP=1.
#
# Three servers, three copies, one disk each, on loopback: disks in memory, on tmpfs through io_uring, and in files of DISK_DIR (default: TMPDIR). The
# volume and all places of the disks are written first. The floor of a row is the skeleton (the same processes, connections and bytes, and nothing else).
# SECONDS_EACH=4: of each row. SKIP_FLOORS=1: without io_bench and sim_bench. INDEX_GIB=64: the size of the large disk.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
seconds=${SECONDS_EACH:-4}
export PATH=$build/bin:$build/tests/bench:$PATH SP_NODE=1
work=$(mktemp -d /dev/shm/sp-bench.XXXXXX)
dir=$work
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster"; }
trap 'cluster down >/dev/null 2>&1; rm -rf "$dir" "$work"' EXIT

ninja -C "$build" --quiet io_bench store_bench index_bench sim_bench skeleton_bench volumes_bench >&2
if [ -n "${KEEP:-}" ]; then exec > >(tee "$root/tests/bench/RESULTS.md"); fi

skeleton() { # read|write, depth, block: CPU us of servers, of the client; median us; ops/s
  skeleton_bench "$1" "$2" "$3" "$seconds" | awk -F'\t' '{ print $8, $7, $5, $4 }'
}

# One row: name, percent of reads, depth, block in bytes, further options. Every figure beside the skeleton's of the moment before.
row() {
  local name=$1 reads=$2 depth=$3 block=$4 out floor
  shift 4
  case $reads in
    0) floor=$(skeleton write "$depth" "$block") ;;
    100) floor=$(skeleton read "$depth" "$block") ;;
    *) floor="- - - -" ;;
  esac
  out=$(sp-bench bench --format=tsv --yes --reads "$reads" --depth "$depth" --block "$block" --time "${seconds}s" "$@" 2>/dev/null)
  awk -F'\t' -v name="$name" -v floor="$floor" -v block="$block" -v reads="$reads" '
    function ratio(a, b) { return b > 0 ? sprintf("%.1f", a / b) : "-" }
    $1 == "read" || $1 == "write" { iops += $3; count += $2; median = $6; tail = $7 }
    $1 == "client" { client = $2 }
    $1 == "all servers" { servers = $2; wake = $3 }
    $2 ~ /^server / && NF == 9 { writes += $3; device += $6 }
    END {
      split(floor, f, " ")
      written = count * (100 - reads) / 100 * block * 3
      printf "| %s | %.0f | %.0f | %s | %.0f / %.0f | %.1f | %s | %s | %.1f | %s | %s | %s | %.2f | %s |\n", name, iops, iops * block / 1048576,
        (f[4] > 0 ? sprintf("%.2f", iops / f[4]) : "-"), median, tail, servers, f[1], ratio(servers, f[1]), client, ratio(client, f[2]), ratio(median, f[3]), wake, writes,
        (written > 0 ? sprintf("%.2f", device / written) : "-")
    }' <<<"$out"
}

head_of_rows() {
  echo "| $1 | ops/s | MiB/s | of the skeleton | median / p99 us | servers CPU us | skeleton | ratio | client CPU us | ratio | latency ratio | ops/wake-up | device writes/op | amplification |"
  echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
}

# Depth 1 beside a round trip of 4 KiB and 4 KiB between two threads, measured just before; the other processes poll as that one does.
depth_1() { # title
  local name reads spin way
  echo "| depth 1, $1 | median us | loopback round trip us | ratio |"
  echo "|---|---|---|---|"
  while IFS='|' read -r name reads spin way; do
    read -r -a trip <<<"$(io_bench --loopback)"
    # shellcheck disable=SC2086
    sp-bench bench --format=tsv --yes --reads "$reads" --depth 1 --block 4K --time "${seconds}s" $spin 2>/dev/null |
      awk -F'\t' -v name="$name" -v trip="${trip[$way]}" '
        $1 == "read" || $1 == "write" { printf "| %s | %.0f | %.1f | %.1f |\n", name, $6, trip, $6 / trip }'
  done <<'END'
4 KiB read|100||0
4 KiB write|0||0
4 KiB read, client polls 100 us, beside the same that blocks|100|--spin 100us|0
END
  echo
}

rows() { # title
  head_of_rows "$1"
  row "4 KiB read, depth 1" 100 1 4096
  row "4 KiB read, depth 1, client --spin 100us" 100 1 4096 --spin 100us
  row "4 KiB read, depth 32" 100 32 4096
  row "4 KiB write, depth 1" 0 1 4096
  row "4 KiB write, depth 32" 0 32 4096
  row "4 KiB 70/30, depth 32" 70 32 4096
  row "1 MiB read, depth 8" 100 8 1048576 --pattern sequential
  row "1 MiB write, depth 8" 0 8 1048576 --pattern sequential
  echo
}

start() { # further options of local-cluster.sh up
  export SP_CONFIG=$dir/cluster/sp.toml
  cluster up --nodes 3 --disks 1 --size "${size:-1536M}" --port-base $((20000 + RANDOM % 20000)) --devices "$dir/dev" "$@" >/dev/null
  sp-volume create bench --size 768M --template demo >/dev/null
  # Everything once, in order; then so much again that each place of the disks was written.
  sp-bench bench --yes --reads 0 --pattern sequential --block 1M --depth 8 --ramp 0s --time 10m --operations 768 >/dev/null 2>&1
  sp-bench bench --yes --reads 0 --block 64K --depth 16 --ramp 0s --time 10m --operations 16000 >/dev/null 2>&1
}

# Thin volumes of 4 MiB, many0 and on, over one connection to the management service.
many() { # count
  local port token from i
  port=$(sed -n 's/^port = //p' "$SP_CONFIG" | head -1)
  token=$(cat "$dir/cluster/token")
  for ((i = 0; i < $1; i++)); do
    ((i == 0)) || echo next
    printf 'url = "http://127.0.0.1:%s/ctrl/1.0/VolumeCreate"\nheader = "Authorization: Storpool v1:%s"\nheader = "Content-Type: application/json"\n' "$port" "$token"
    printf 'data = "{\\"name\\":\\"many%d\\",\\"size\\":4194304,\\"template\\":\\"demo\\"}"\noutput = "/dev/null"\n' "$i"
  done >"$work/requests"
  from=$(date +%s%N)
  curl --silent --config "$work/requests"
  awk -v count="$1" -v ns="$(($(date +%s%N) - from))" 'BEGIN { printf "%d volumes are created in %.2f ms each\n", count, ns / 1e6 / count }'
}

cat <<END
# Benchmarks

Made by \`make bench KEEP=1\`: one run on one machine, $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), Linux $(uname -r),
$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) of memory, at commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown). Only ratios within a run mean something.
*skeleton*: the same processes, connections and bytes with CRC-64 and one copy into memory, nothing else; its CPU time of all servers stands beside ours.

END
start --memory
rows "disks in memory"
depth_1 "disks in memory"
echo "\`\`\`"
sp-bench bench --yes --reads 0 --time "${seconds}s" 2>/dev/null
echo "\`\`\`"
echo
cluster down >/dev/null
# A disk has room for an object for each 256 KiB of it.
size=3G start --memory
command -v curl >/dev/null || { echo "curl is missing: apt-get install curl" >&2 && exit 1; }
echo "Many volumes with light load each, and many clients beside a greedy one:"
echo
echo "\`\`\`"
many "${VOLUMES:-10000}"
volumes_bench volumes "${VOLUMES:-10000}" "$seconds"
volumes_bench clients "${CLIENTS:-180}" "$seconds"
echo "\`\`\`"
echo
cluster down >/dev/null
mkdir -p "$work/tmpfs" && dir=$work/tmpfs
start
rows "files on tmpfs through io_uring"
cluster down >/dev/null
dir=$(mktemp -d "${DISK_DIR:-${TMPDIR:-/tmp}}/sp-bench.XXXXXX")
start
rows "files of $(df --output=fstype "$dir" | tail -1) through io_uring"
cluster down >/dev/null
rm -rf "$dir" && dir=$work
cat <<'END'
Peers, measured once on such a machine with memory-backed files (three daemons, three copies): Vitastor 3.0.8 write depth 1 193 us, depth 32 74 us of CPU of all
daemons and 13 of the client; read depth 1 82 us, depth 32 20 and 11 us; 1 MiB write 558 MiB/s, read 1 820. Ceph 16.2: write 1 314 us, 1 081 and 89 us; read
233 us, 91 and 32 us; 320 and 1 672 MiB/s. Vitastor's defaults neither flush nor checksum.

END
echo '```'
[ -n "${SKIP_FLOORS:-}" ] || { io_bench "${DISK_DIR:-${TMPDIR:-/tmp}}"; sim_bench; }
store_bench "$work/store.disk"
index_bench "memory:$work/index.disk" "${INDEX_GIB:-64}"
echo '```'
[ "$(id -u)" -ne 0 ] || { echo && SECONDS_EACH=$((seconds > 6 ? seconds : 6)) "$root/tests/bench/failure.sh"; }
echo
SECONDS_EACH=$seconds "$root/tests/bench/snapshot_bench.sh"
[ "$(id -u)" -ne 0 ] || { echo && SECONDS_EACH=$seconds "$root/tests/bench/attach_bench.sh"; }
