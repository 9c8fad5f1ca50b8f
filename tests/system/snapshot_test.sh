#!/usr/bin/env bash
# snapshot_test.sh: sp-snap on real processes. A snapshot of two volumes under load is one moment of both; a clone and a volume that was taken back
# read what it holds; it is attached for reading only, goes by itself when it is to, and is refused, with nothing changed, while copies are missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
export PATH=$build/bin:$PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/sp-snapshot.XXXXXX")
export SP_CONFIG=$dir/cluster/sp.toml SP_NODE=1
cluster() { "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster" --port-base "$port" --devices "$dir/dev"; }
fail() { echo "snapshot_test: $*" >&2; exit 1; }
wait_for() { for _ in $(seq 600); do if eval "$1"; then return 0; fi; sleep 0.05; done; fail "never true: $1"; }
port=$((20000 + RANDOM % 20000))

cleanup() {
  status=$?
  set +e
  [ "$status" -eq 0 ] || tail -n 20 "$dir"/cluster/log/*.log "$dir"/*.log >&2
  cluster down >/dev/null 2>&1
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT

# serve SOCKET NAME... [--read-only]: over NBD, until `stop SOCKET`.
serve() {
  local socket=$dir/$1
  shift
  sp-attach "$@" --socket "$socket" >>"$dir/attach.log" 2>&1 &
  echo $! >"$socket.pid"
  for name in "$@"; do
    [[ $name == --* ]] || wait_for "qemu-img info '$(uri "$name" "$socket")' >/dev/null 2>&1"
  done
}
stop() { kill "$(cat "$dir/$1.pid")"; wait "$(cat "$dir/$1.pid")" || true; }
uri() { echo "nbd+unix:///$1?socket=$2"; }
io() { # SOCKET NAME COMMAND...: qemu-io says of a pattern that differs "verification failed", and exits with 1
  local at
  at=$(uri "$2" "$dir/$1")
  shift 2
  local commands=()
  for command in "$@"; do commands+=(-c "$command"); done
  qemu-io -f raw "${commands[@]}" "$at" >"$dir/io.log" 2>&1
}

cluster up --nodes 3 --disks 1 --size 512M >/dev/null
sp-status --wait healthy --timeout 60s >/dev/null
for volume in data log; do sp-volume create "$volume" --size 64M --template demo >/dev/null; done
serve use data log
io use data "write -P 1 0 8M"
io use log "write -P 1 0 8M"

# Each number is written to the log first and then to the data, each answered before the next is sent.
(for ((i = 2; i < 250; ++i)); do io use log "write -P $i 0 4k" && io use data "write -P $i 0 4k" || exit; done) &
load=$!
sp-snap create data@one log@one --tag job=test >/dev/null
sp-snap create data@two log@two >/dev/null
kill "$load"
wait "$load" 2>/dev/null || true
serve read --read-only data@one log@one data@two log@two
first() { nbdcopy "$(uri "$1" "$dir/read")" - 2>/dev/null | head -c 1 | od -An -tu1 | tr -d ' ' || true; }
for name in one two; do
  log=$(first "log@$name") data=$(first "data@$name")
  [ "$log" -eq "$data" ] || [ "$log" -eq $((data + 1)) ] || fail "@$name is of two moments: $log in the log, $data in the data"
done
if io read data@one "write -P 9 0 4k"; then fail "a snapshot was written to"; fi
if sp-snap delete data@one --yes 2>"$dir/refused.log"; then fail "an attached snapshot was deleted"; else code=$?; fi
[ "$code" -eq 5 ] || fail "a refusal has exit code $code, not 5"
stop read

io use data "write -P 7 0 8M"
sp-snap clone data@one copy >/dev/null
if sp-snap rollback data data@one --yes 2>"$dir/refused.log"; then fail "an attached volume was taken back"; fi
stop use
wait_for '[ -z "$(sp-attach --list --format=tsv --no-header)" ]'
sp-snap rollback data data@one --yes >/dev/null
serve use data copy
for volume in data copy; do io use "$volume" "read -P 1 4k 8188k" || fail "$volume does not hold what the snapshot does"; done
sp-snap delete data@one data@two --yes >/dev/null
io use copy "read -P 1 4k 8188k" || fail "the clone lost what it shares with a deleted snapshot"
stop use

sp-snap create log@short --delete-after 1s >/dev/null
wait_for '! sp-snap show log@short >/dev/null 2>&1'
for node in 2 3; do cluster kill "$node" --only serve >/dev/null; done
wait_for 'grep -q "disk sets have fewer than min_copies" <(sp-status --format=tsv)'
if sp-snap create log@never --timeout 6s 2>/dev/null; then fail "a snapshot was taken of what cannot write"; else code=$?; fi
[ "$code" -eq 4 ] || fail "what may be tried again has exit code $code, not 4"
for node in 2 3; do cluster start "$node" >/dev/null; done
sp-status --wait healthy --timeout 60s >/dev/null
wait_for 'sp-snap create log@again >/dev/null 2>&1 || sp-snap show log@again >/dev/null 2>&1'
echo "snapshot_test: ok"
