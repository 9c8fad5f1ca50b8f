#!/usr/bin/env bash
# make fuzz: runs each fuzz target of the build folder $BUILD for $TIME seconds, one after the other, starting from its corpus, and prints what came of it.
#   BUILD=DIR [TIME=SECONDS] [TARGETS="NAME..."] [KEEP=1] run.sh
# New inputs stay in $BUILD/fuzz/NAME, and are where the next run starts. KEEP=1 adds to tests/fuzz/corpus the fewest of them, up to 1 KiB each,
# that reach code which the corpus does not. An input that crashes a target is in $BUILD/fuzz/NAME-crashes, and the report beside it in NAME.log.
# Exit codes: 0 all clean; 1 something was found.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:?}" && pwd)
seconds=${TIME:-60}
read -r -a targets <<<"${TARGETS:-$(cd "$root/tests/fuzz" && printf '%s ' *_fuzz.cc | sed 's/_fuzz\.cc//g')}"
export ASAN_OPTIONS=abort_on_error=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

stat() { sed -n "s/^stat::$2: *//p" "$1" | tail -n 1; }
edges() { sed -n "s/^#.*$2.* cov: \([0-9]*\).*/\1/p" "$1" | tail -n 1; }

printf '%-12s %12s %10s %12s %10s %8s\n' TARGET EXECUTIONS PER-SECOND EDGES NEW-EDGES CRASHES
found=0
for name in "${targets[@]}"; do
  seeds=$root/tests/fuzz/corpus/$name work=$build/fuzz/$name crashes=$build/fuzz/$name-crashes log=$build/fuzz/$name.log
  mkdir -p "$work" "$crashes"
  code=0
  "$build/tests/fuzz/${name}_fuzz" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$crashes/" \
    "$work" "$seeds" >"$log" 2>&1 || code=$?
  first=$(edges "$log" INITED) last=$(edges "$log" '')
  printf '%-12s %12s %10s %12s %10s %8s\n' "$name" "$(stat "$log" number_of_executed_units)" "$(stat "$log" average_exec_per_sec)" "${last:-0}" \
    "$((${last:-0} - ${first:-0}))" "$(find "$crashes" -type f | wc -l)"
  if [ "$code" -ne 0 ]; then
    found=1
    grep -m 3 -E 'ERROR: |runtime error|assertion failed|libFuzzer: ' "$log" | sed 's/^/  /' || true
  fi
  [ -z "${KEEP:-}" ] ||
    "$build/tests/fuzz/${name}_fuzz" -merge=1 -use_counters=0 -max_len=1024 "$seeds" "$work" >"$build/fuzz/$name-merge.log" 2>&1 || true
done
exit "$found"
