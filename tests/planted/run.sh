#!/usr/bin/env bash
# run.sh: proves that the checkers check. Each row of bugs.tsv names a planted bug and the command that has to find it: run in the build of planted
# bugs (BUILD), it must fail with the bug, and pass without. JOBS (2) at a time; a table that grows as rows finish: bug, seeds needed, checker, seconds,
# and the knobs that the row pins so that the faults aim at the bug. Then which checker of sp-sim was named by which bugs, and the total; exit 1 when a row was
# not found, was found by more than 200 seeds, took longer than ROW_SECONDS (1200), or fails without its bug, or a checker was named by none.
# BUGS="NAME...": only these rows, and nothing of checkers. KEEP=1: all of it goes to RESULTS.md as well.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build-planted}")
top=$PWD table=$PWD/tests/planted/bugs.tsv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
begin=$(date +%s)

# How sp-sim names what found a failure, but for `crash` and `hang`, which tests/sim/cluster/children_test.cc shows.
checkers=(assertion committed content copies database determinism 'disk check' journal leak lease 'leader lease' linearizability liveness membership
  'one leader' report snapshots 'state hash' success versions)

row_seconds=${ROW_SECONDS:-1200}
export PATH="$build/bin:$PATH" work row_seconds
cd "$build"
rows=$(grep -v '^#' "$table" | grep -v '^[[:space:]]*$' || true)
if [ -n "${BUGS:-}" ]; then
  [ -z "${KEEP:-}" ] || { echo "KEEP=1 wants all rows: without BUGS" >&2; exit 2; }
  # shellcheck disable=SC2086
  rows=$(awk -F'\t' -v names="$(printf ' %s ' $BUGS)" 'index(names, " " $1 " ")' <<<"$rows")
fi
[ -n "$rows" ] || { echo "no such rows in tests/planted/bugs.tsv" >&2; exit 2; }

seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

clean() { # command
  local begin out
  begin=$(date +%s.%N)
  out=$(mktemp -p "$work")
  if timeout "$row_seconds" bash -c "$1" >"$out" 2>&1 </dev/null; then
    echo "  passes in $(seconds_since "$begin") s: $1"
  else
    printf '  FAILS: %s\n%s\n' "$1" "$(tail -5 "$out")"
    echo "$1" >>"$work/faults"
  fi
}

planted() { # row
  local bug checker command begin out line seeds by pins code=0
  IFS=$'\t' read -r bug checker command <<<"$1"
  begin=$(date +%s.%N)
  out=$(mktemp -p "$work")
  pins=$(grep -oE -- '--set [a-z_0-9=]+' <<<"$command" | sed 's/--set //' | xargs || true)
  timeout "$row_seconds" bash -c "$command" >"$out" 2>&1 </dev/null || code=$?
  # 2 is wrong usage; 124 to 127 are of timeout and of the shell: nothing of them is a finding.
  case $code in
    0) by="NOT FOUND" ;;
    124) by="NOT IN TIME" ;;
    2 | 125 | 126 | 127) by="CANNOT RUN" ;;
  esac
  if [ -n "${by:-}" ]; then
    printf '%-44s %6s  %-20s %8s  %s\n' "$bug" - "$by" "$(seconds_since "$begin")" "$pins"
    echo "$bug" >>"$work/faults"
    return
  fi
  # "found by CHECKER after N seeds in S s" is sp-sim's last line; other programs have none.
  line=$(grep -oE '^found by .* after [0-9]+ seeds' "$out" | tail -1 || true)
  seeds=$(sed -E 's/.* after ([0-9]+) seeds/\1/' <<<"$line")
  by=$(sed -E 's/^found by (.*) after .*/\1/' <<<"$line")
  if [ -n "$seeds" ] && [ "$seeds" -gt 200 ]; then
    by="$by (TOO LATE)"
    echo "$bug" >>"$work/faults"
  else
    echo "$bug" >>"$work/found"
  fi
  printf '%-44s %6s  %-20s %8s  %s\n' "$bug" "${seeds:--}" "${by:-$checker}" "$(seconds_since "$begin")" "$pins"
  printf '%s\t%s\t%s\t%s\t%s\n' "$bug" "${by:-$checker}" "${seeds:-}" "$pins" "$command" >>"$work/results"
}
export -f seconds_since clean planted

each() { # function; rows on stdin
  xargs -d '\n' -P "${JOBS:-2}" -I{} bash -c "$1"' "$0"' {}
}

# checker, then the bugs whose rows it was named by.
by_checker() {
  local checker
  for checker in "${checkers[@]}"; do
    printf '%s\t' "$checker"
    awk -F'\t' -v by="$checker" '$3 != "" && $2 == by { print $1 }' "$work/results" | sort -u | paste -sd' '
  done
}

# As the table of rows has them, whichever was done first.
in_order() { awk -F'\t' 'NR == FNR { line[$5] = $0; next } $3 in line { print line[$3] }' "$work/results" <(echo "$rows"); }

page() {
  echo "# Planted bugs"
  echo
  echo "Made by \`make planted KEEP=1\` at commit $(git -C "$top" describe --always --dirty --exclude '*'). Where no seeds are named a test with steps of its own finds the bug."
  echo "$total."
  echo
  echo "| bug | found by | seeds needed | pinned |"
  echo "|---|---|---|---|"
  in_order | awk -F'\t' '{ print "| " $1 " | " $2 " | " $3 " | " $4 " |" }'
  echo
  echo "| checker of sp-sim | named by the runs of |"
  echo "|---|---|"
  by_checker | awk -F'\t' '{ gsub(" ", ", ", $2); print "| " $1 " | " $2 " |" }'
}

touch "$work/faults" "$work/found" "$work/results"
echo "without a bug:"
awk -F'\t' '{ print $3 }' <<<"$rows" | sed -E 's/ *--plant(=| )[a-z_0-9]+//; s/SP_PLANT=[a-z_0-9]+ *//' | sort -u | each clean
printf '\n%-44s %6s  %-20s %8s  %s\n' bug seeds checker seconds pinned
each planted <<<"$rows"
if [ -z "${BUGS:-}" ]; then
  printf '\n%-20s %s\n' checker bugs
  by_checker | awk -F'\t' '{ printf "%-20s %s\n", $1, $2 == "" ? "NONE" : $2 }'
  by_checker | awk -F'\t' '$2 == ""' >>"$work/faults"
fi
total="$(wc -l <"$work/found") of $(wc -l <<<"$rows") rows found, $(sort -u "$work/found" | wc -l) of $(cut -f1 <<<"$rows" | sort -u | wc -l) planted bugs"
[ -z "${KEEP:-}" ] || page >"$top/tests/planted/RESULTS.md"
echo
echo "$total, in $(($(date +%s) - begin)) s"
[ ! -s "$work/faults" ]
