#!/usr/bin/env bash
# run.sh: proves that the checkers check. Each row of bugs.tsv names a planted bug and the command that has to find it: run in the build of planted
# bugs (BUILD), it must exit non-zero with the bug, and zero without. Prints a table: bug, seeds needed, checker, seconds. BUGS="NAME...": only these.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build-planted}")
table=$PWD/tests/planted/bugs.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export PATH="$build/bin:$PATH"
cd "$build"
rows=$(grep -v '^#' "$table" | grep -v '^[[:space:]]*$' || true)
if [ -n "${BUGS:-}" ]; then
  # shellcheck disable=SC2086
  rows=$(awk -F'\t' -v names="$(printf ' %s ' $BUGS)" 'index(names, " " $1 " ")' <<<"$rows")
fi
[ -n "$rows" ] || { echo "no such rows in tests/planted/bugs.tsv" >&2; exit 2; }
faults=0

echo "without a bug:"
while read -r command; do
  begin=$(date +%s)
  if timeout 3600 bash -c "$command" >"$work/out" 2>&1 </dev/null; then
    echo "  passes in $(($(date +%s) - begin)) s: $command"
  else
    echo "  FAILS: $command"
    tail -5 "$work/out"
    faults=$((faults + 1))
  fi
done < <(awk -F'\t' '{ print $3 }' <<<"$rows" | sed -E 's/ *--plant(=| )[a-z_0-9]+//; s/SP_PLANT=[a-z_0-9]+ *//' | sort -u)

printf '\n%-44s %6s  %-16s %8s\n' bug seeds checker seconds
found=0 rows_count=0
while IFS=$'\t' read -r bug checker command; do
  rows_count=$((rows_count + 1))
  begin=$(date +%s.%N)
  if timeout 3600 bash -c "$command" >"$work/out" 2>&1 </dev/null; then
    printf '%-44s %6s  %-16s\n' "$bug" - "NOT FOUND"
    faults=$((faults + 1))
    continue
  fi
  seconds=$(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  # "found by CHECKER after N seeds in S s" is sp-sim's last line; other programs have none.
  line=$(grep -oE '^found by .* after [0-9]+ seeds' "$work/out" | tail -1 || true)
  seeds=$(sed -E 's/.* after ([0-9]+) seeds/\1/' <<<"$line")
  by=$(sed -E 's/^found by (.*) after .*/\1/' <<<"$line")
  if [ -n "$seeds" ] && [ "$seeds" -gt 200 ]; then
    by="$by (TOO LATE)"
    faults=$((faults + 1))
  fi
  printf '%-44s %6s  %-16s %8s\n' "$bug" "${seeds:--}" "${by:-$checker}" "$seconds"
  found=$((found + 1))
done <<<"$rows"
echo
echo "$found of $rows_count planted bugs found"
[ "$faults" -eq 0 ]
