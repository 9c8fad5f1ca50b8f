#!/usr/bin/env bash
# make soak: SEEDS fresh simulator seeds; then, on real processes, servers killed under a verified load for SECONDS_LOAD seconds, and FAULTS faults of processes
# and links (as root).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
first=$((RANDOM * 32768 + RANDOM + 1))
"$root/${BUILD:-build}/bin/sp-sim" --seeds "${SEEDS:-1000}" --first-seed "$first" --jobs "$(nproc)" --require-probes --shrink
for beyond in 1 2; do
  "$root/${BUILD:-build}/bin/sp-sim" --seeds $((${SEEDS:-1000} / 10)) --first-seed "$first" --jobs "$(nproc)" --set beyond=$beyond --shrink
done
"$here/kill_under_load.sh" "${SECONDS_LOAD:-60}"
"$here/partition_test.sh" "${FAULTS:-60}" || [ $? -eq 77 ]
