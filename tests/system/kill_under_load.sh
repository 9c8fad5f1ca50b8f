#!/usr/bin/env bash
# kill_under_load.sh [SECONDS [NODES]]: fio writes and verifies through the NBD socket of a volume while a random server is killed with -9 and restarted, the next kill
# when every set has three copies again. Shown: no error, the distribution of gaps between completions, all copies equal at the end, and that an
# image converted into a volume and back is identical. Leaves nothing behind. Needs no root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
seconds=${1:-20}
dir=$(mktemp -d "${TMPDIR:-/tmp}/sp-kill.XXXXXX")
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=1
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster"; }
attached=()

cleanup() {
  status=$?
  set +e
  [ "$status" -eq 0 ] || tail -n 20 "$dir"/cluster/log/*.log "$dir"/*.log >&2
  for pid in "${attached[@]}"; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  cluster down >/dev/null 2>&1
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT

serve_volume() { # name: an NBD socket at $dir/NAME.sock
  sp-attach "$1" --socket "$dir/$1.sock" >"$dir/$1.log" 2>&1 &
  attached+=($!)
  for _ in $(seq 300); do
    [ -S "$dir/$1.sock" ] && return
    kill -0 "${attached[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "sp-attach $1 --socket did not start" >&2
  return 1
}

cluster up --nodes 3 --disks 2 --size 1G --witness --port-base $((20000 + RANDOM % 20000)) --devices "$dir/dev" >/dev/null
sp-status --wait healthy --timeout 60s >/dev/null
sp-volume create load --size 1G --template demo >/dev/null
sp-volume create image --size 256M --template demo >/dev/null
serve_volume load
serve_volume image

cd "$dir"  # fio leaves a state file where it runs
fio --name=load --ioengine=nbd --uri="nbd+unix:///load?socket=$dir/load.sock" --size=1G --rw=randwrite --bsrange=4k-64k \
  --iodepth=16 --verify=crc64 --verify_fatal=1 --verify_backlog=4096 --time_based --runtime="$seconds" --randrepeat=0 \
  --log_avg_msec=0 --write_lat_log="$dir/load" --output="$dir/fio.out" --output-format=normal >"$dir/fio.log" 2>&1 &
fio=$!

kills=0
while kill -0 "$fio" 2>/dev/null; do
  sleep 1
  kill -0 "$fio" 2>/dev/null || break
  victim=$((RANDOM % 3 + 1))
  cluster kill "$victim" --only serve >/dev/null
  kills=$((kills + 1))
  sleep 1
  cluster start "$victim" >/dev/null
  sp-status --wait healthy --timeout 120s >/dev/null
done
wait "$fio" || { cat "$dir/fio.out" "$dir/fio.log" >&2; exit 1; }
grep -qE 'err= 0' "$dir/fio.out" || { cat "$dir/fio.out" >&2; exit 1; }

# Gaps between completions, in ms, from fio's log (time of completion in column 1).
sort -n -t, -k1,1 "$dir"/load_clat*.log | awk -F, -v kills="$kills" '
  NR > 1 { gap = $1 - last; n++; if (gap > max) max = gap; for (b = 1; b <= 4096; b *= 2) if (gap < b) { count[b]++; break } }
  { last = $1 }
  END { printf "fio: %d completions, %d kills, no error; longest gap %d ms\n", NR, kills, max
        printf "gaps:"; for (b = 1; b <= 4096; b *= 2) if (count[b]) printf "  <%d ms: %d", b, count[b]; printf "\n" }'

sp-status --wait healthy --timeout 120s >/dev/null
sp-compare

head -c 64M /dev/urandom >"$dir/image.raw"
truncate -s 256M "$dir/image.raw"
qemu-img convert -n -f raw -O raw "$dir/image.raw" "nbd+unix:///image?socket=$dir/image.sock"
qemu-img convert -f raw -O raw "nbd+unix:///image?socket=$dir/image.sock" "$dir/back.raw"
cmp "$dir/image.raw" "$dir/back.raw"
echo "qemu-img: an image converted into a volume and back is identical"
