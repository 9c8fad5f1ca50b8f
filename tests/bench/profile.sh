#!/usr/bin/env bash
# make profile: instructions per operation, by layer of the data path, of three servers and a client in simulated time (path_bench under callgrind).
# TOP=20: and so many functions of each kind of operation.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 1; }
ninja -C "$build" --quiet path_bench

profile() { # read|write, depth, block, operations
  valgrind --tool=callgrind --callgrind-out-file="$work/out" --collect-atstart=no --toggle-collect='measured*' --compress-strings=no \
    "$build/tests/bench/path_bench" "$@" >/dev/null 2>"$work/err" || { tail -5 "$work/err" >&2; exit 1; }
  callgrind_annotate --auto=no --threshold=100 --show-percs=no "$work/out" >"$work/table"
  printf '\n%s, depth %s, %s bytes: instructions per operation\n' "$1" "$2" "$3"
  # The layer of a function is the innermost namespace of ours that its name begins with; what belongs to none is named by what it is.
  awk -v operations="$4" '
    /^ *[0-9,]+ / {
      count = $1; gsub(",", "", count)
      name = $0; sub(/^ *[0-9,]+ +[^ ]*:/, "", name)
      layer = "other"
      if (match(name, /sp::(client|wire|serve|store|disk|member|map|beacon|raft|state|bench|sim|io)::/)) layer = substr(name, RSTART + 4, RLENGTH - 6)
      else if (name ~ /mem(move|cpy|set|cmp)/) layer = "memory copies"
      else if (name ~ /malloc|free|operator new|operator delete|_int_/) layer = "allocation"
      else if (name ~ /crc64/) layer = "checksum"
      else if (name ~ /sp::/) layer = "base"
      if (name ~ /PROGRAM TOTALS/) next
      sum[layer] += count; total += count
    }
    END { for (layer in sum) if (sum[layer] / operations >= 1) printf "%12.0f  %s\n", sum[layer] / operations, layer; printf "%12.0f  all\n", total / operations }' \
    "$work/table" | sort -rn
  if [ -n "${TOP:-}" ]; then
    awk -v operations="$4" '/^ *[0-9,]+ / && !/PROGRAM TOTALS/ { count = $1; gsub(",", "", count); $1 = ""; printf "%12.0f %s\n", count / operations, substr($0, 1, 150) }' \
      "$work/table" | head -"$TOP"
  fi
}

profile write 32 4096 "${OPERATIONS:-10000}"
profile read 32 4096 "${OPERATIONS:-10000}"
profile write 8 262144 "$((${OPERATIONS:-10000} / 20))"
