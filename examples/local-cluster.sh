#!/usr/bin/env bash
# local-cluster.sh: a whole cluster on this machine, of the sp-* commands and nothing else: one address 127.0.0.N a node, disks in files.
#
#   local-cluster.sh up     [--nodes N] [--disks M] [--size S] [--port-base P] [--devices D] [--witness] [--memory] [--netns P] [--dir D]
#   local-cluster.sh status | down | kill NODE|all | stop NODE|all | start NODE|all | flip VOLUME   [--only SERVICE] [--netns P] [--dir D]
#
# up       makes key, token, sp.toml and disks in D (once), starts all services, waits until all is well, makes placement group and template "demo"
# --witness a further node that only votes; --memory: disks in memory (tmpfs), which survive the death of a process, not of the machine
# --devices folder of the block devices of node 1 (/dev/storpool); those of node N are in FOLDER-nodeN
# --netns  node N runs in the network namespace P + N, at 10.99.0.N, and has no block device service; the caller has made them, and is in one
# stop     ends the processes of a node in order, with SIGTERM
# kill     ends all processes of a node with SIGKILL (or those of one SERVICE: beacon, serve, mgmt, block); start brings them back
# flip     damages blocks of one disk that holds the volume's data, and says how many
# down     stops everything and removes D
# As root a block device service runs on the nodes with disks; without root use sp-attach --socket. Exit codes: 0 done, 1 failed, 2 usage.
set -euo pipefail

dir=${SP_CLUSTER_DIR:-${TMPDIR:-/tmp}/sp-local-cluster}
nodes=3 disks=2 size=1G port_base=4700 devices=/dev/storpool witness='' memory='' only='' netns=''

usage() { sed -n 's/^# \{0,1\}//; 2,/^$/p' "$0" >&2; exit 2; }
fail() { echo "local-cluster.sh: $1" >&2; exit 1; }
number() {
  if ! [[ $2 =~ ^[0-9]+$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then fail "$1: $3 to $4, not '$2'"; fi
}

[ $# -gt 0 ] || usage
verb=$1
shift
target=''
case $verb in
  kill | stop | start | flip) [ $# -gt 0 ] || usage; target=$1; shift ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --nodes) nodes=${2:?}; shift ;;
    --disks) disks=${2:?}; shift ;;
    --size) size=${2:?}; shift ;;
    --dir) dir=${2:?}; shift ;;
    --only) only=${2:?}; shift ;;
    --netns) netns=${2:?}; shift ;;
    --port-base) port_base=${2:?}; shift ;;
    --devices) devices=${2:?}; shift ;;
    --witness) witness=1 ;;
    --memory) memory=1 ;;
    *) usage ;;
  esac
  shift
done
number --nodes "$nodes" 1 50
number --disks "$disks" 1 50
number --port-base "$port_base" 1024 65000
[[ $dir == /* ]] || dir=$PWD/$dir

export SP_CONFIG=$dir/sp.toml SP_NODE=1
run=$dir/run log=$dir/log

for program in sp-beacon sp-serve sp-mgmt sp-status; do
  command -v "$program" >/dev/null || fail "$program is not in PATH: add the folder of the built programs"
done

all_nodes() { sed -nE 's/^\[node\.([0-9]+)\]$/\1/p' "$SP_CONFIG"; }
has_disks() { grep -q "^\[node\.$1\.server\.1\]$" "$SP_CONFIG"; }
disk_path() { if [ -n "$memory" ]; then echo "/dev/shm/sp-$(basename "$dir")-$1"; else echo "$dir/disks/$1"; fi; }
# A zombie does not run, though its parent may be slow to notice.
runs() { [ -r "/proc/$1/status" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
alive() { [ -f "$run/$1.pid" ] && runs "$(cat "$run/$1.pid")"; }

# Fails when a service that was started has ended.
all_run() {
  local file name
  for file in "$run"/*.pid; do
    name=$(basename "$file" .pid)
    alive "$name" || fail "$name has ended: $(tail -n 2 "$log/$name.log")"
  done
}

# Waits until a command succeeds; the message says what was waited for.
await() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    all_run
    [ "$SECONDS" -lt "$deadline" ] || { "$@" || true; tail -n 3 "$log"/*.log >&2 || true; fail "waited 60 s in vain for $what"; }
    sleep 0.1
  done
}

launch() { # name, node, command...
  local name=$1$2 inside=()
  ! alive "$name" || return 0
  [ -z "$netns" ] || inside=(nsenter --net="/run/netns/$netns$2")
  shift 2
  setsid "${inside[@]}" "$@" >>"$log/$name.log" 2>&1 </dev/null &
  echo $! >"$run/$name.pid"
}

start_node() {
  local node=$1 first=''
  if [ "$node" = 1 ] && [ ! -e "$dir/bootstrapped" ]; then
    first=--bootstrap
    touch "$dir/bootstrapped"
  fi
  launch beacon "$node" sp-beacon --node "$node" $first
  has_disks "$node" || return 0
  # As its unit has it: the index in large pages.
  launch serve "$node" env GLIBC_TUNABLES=glibc.malloc.hugetlb=1 sp-serve --node "$node"
  launch mgmt "$node" sp-mgmt --node "$node"
  if [ "$(id -u)" -eq 0 ] && [ -z "$netns" ]; then launch block "$node" sp-block --node "$node"; fi
}

# Signals all processes of some nodes before it waits for any of them.
stop_nodes() { # signal, node...
  local signal=$1 node name pids=()
  shift
  for node in "$@"; do
    for name in "block$node" "mgmt$node" "serve$node" "beacon$node"; do
      [ -z "$only" ] || [ "$name" = "$only$node" ] || continue
      if alive "$name"; then
        pids+=("$(cat "$run/$name.pid")")
        kill -s "$signal" "${pids[-1]}" 2>/dev/null || true
      fi
      rm -f "$run/$name.pid"
    done
    # What holds the descriptors of block devices outlives sp-block on purpose; with the node it goes.
    [ -n "$only" ] || pkill -9 -f -- "--holder $dir/state$node/block" || true
  done
  local pid deadline=$((SECONDS + 15))
  for pid in ${pids[@]+"${pids[@]}"}; do
    while runs "$pid"; do
      [ "$SECONDS" -lt "$deadline" ] || kill -9 "$pid" 2>/dev/null || true
      sleep 0.02
    done
  done
}

# The nodes that "all" or a number stands for.
targets() {
  if [ "$1" = all ]; then all_nodes
  elif all_nodes | grep -qx "$1"; then echo "$1"
  else fail "there is no node $1 in $SP_CONFIG"
  fi
}
stop() { # signal, target
  local chosen
  chosen=$(targets "$2")
  # shellcheck disable=SC2086
  stop_nodes "$1" $chosen
}
start() {
  local node chosen
  chosen=$(targets "$1")
  for node in $chosen; do start_node "$node"; done
}

write_config() {
  local node disk all=$((nodes + ${witness:-0}))
  mkdir -p "$dir/disks" "$run" "$log"
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$dir/key" && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/token")
  {
    printf '[cluster]\nname = "demo"\nid = "%s"\nkey_file = "%s/key"\n' "$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')" "$dir"
    printf '\n[api]\ntoken_file = "%s/token"\nport = %d\n' "$dir" $((port_base + 1))
    for node in $(seq "$all"); do
      mkdir -p "$dir/state$node"
      printf '\n[node.%d]\nname = "node%d"\naddress = "%s.%d"\n' "$node" "$node" "$([ -n "$netns" ] && echo 10.99.0 || echo 127.0.0)" "$node"
      printf 'beacon_port = %d\n' "$port_base"
      printf 'state_dir = "%s/state%d"\n' "$dir" "$node"
      printf 'block_dir = "%s"\n' "$devices$([ "$node" -eq 1 ] || echo "-node$node")"
      [ "$node" -le "$nodes" ] || continue
      printf 'mgmt = true\n[node.%d.server.1]\nport = %d\ndisks = [' "$node" $((port_base + 11))
      for disk in $(seq "$disks"); do
        printf '%s"%s%s"' "$([ "$disk" -eq 1 ] || echo ', ')" "${memory:+memory:}" "$(disk_path $((node * 100 + disk)))"
      done
      printf ']\n'
    done
  } >"$SP_CONFIG.new"
  mv "$SP_CONFIG.new" "$SP_CONFIG"
}

make_disks() {
  local node disk
  for node in $(seq "$nodes"); do
    for disk in $(seq "$disks"); do
      sp-disk-init --node "$node" --id $((node * 100 + disk)) --size "$size" --sparse --format=tsv --no-header \
        "$(disk_path $((node * 100 + disk)))" >/dev/null || fail "sp-disk-init failed"
    done
  done
}

disks_up() { [ "$(sp-disk list --format=tsv --no-header --timeout 2s | awk -F'\t' '$3 == -1' | wc -l)" -eq "$1" ]; }

up() {
  if [ ! -e "$SP_CONFIG" ]; then
    write_config
    make_disks
  fi
  start all
  await "a quorum and an active management service" sp-template list --timeout 2s
  await "all disks" disks_up "$(grep -oE '"[^"]*"' <<<"$(grep '^disks = ' "$SP_CONFIG")" | wc -l)"
  if ! sp-template show demo >/dev/null 2>&1; then
    local ids
    ids=$(sp-disk list --format=tsv --no-header | cut -f1)
    # shellcheck disable=SC2086
    sp-placement add demo $ids >/dev/null
    sp-template create demo --place-all demo --copies "$((nodes < 3 ? nodes : 3))" >/dev/null
  fi
  sp-status --wait healthy --timeout 60s
  echo "the cluster runs; export SP_CONFIG=$SP_CONFIG SP_NODE=1"
}

# Damages up to 64 blocks of one disk that holds data of the volume: the first copy of some of its objects. Data is the last region of a disk.
flip() {
  local disk file first data block done=0
  for disk in $(sp-volume info "$1" --format=tsv --no-header | cut -f2 | cut -d, -f1 | sort -u); do
    file=$(disk_path "$disk")
    [ -f "$file" ] || file=/dev/shm/sp-$(basename "$dir")-$disk
    # Of its superblock, see sp-disk-format(5): data_offset and data_bytes.
    read -r first data < <(od -An -tu8 -j88 -N16 "$file" | awk '{ print $1 / 4096, $2 / 4096 }')
    for ((block = first + 16; block < first + data && done < 64; block += 16)); do
      [ "$(dd if="$file" bs=4096 skip="$block" count=1 status=none | tr -d '\0' | head -c 1 | wc -c)" -eq 1 ] || continue
      dd if=/dev/urandom of="$file" bs=1 seek=$((block * 4096 + 1000)) count=8 conv=notrunc status=none
      done=$((done + 1))
    done
    [ "$done" -eq 0 ] || break
  done
  [ "$done" -gt 0 ] || fail "no disk of volume $1 holds anything to damage"
  echo "$done blocks of disk $disk damaged"
}

# Block devices outlive sp-block on purpose; here nobody is to take them over. In order while the cluster answers, then by force what is left.
release_devices() {
  local volume client node
  while IFS=$'\t' read -r volume client _; do
    timeout 20 sp-attach "$volume" --detach --client "$client" --force --timeout 5s >/dev/null 2>&1 || true
  done < <(timeout 10 sp-attach --list --format=tsv --no-header --timeout 2s 2>/dev/null || true)
  stop TERM all
  if [ "$(id -u)" -ne 0 ] || [ -n "$netns" ]; then return 0; fi
  for node in $(all_nodes); do
    has_disks "$node" || continue
    timeout 60 sp-block --node "$node" --release >/dev/null 2>"$run/release$node.log" || cat "$run/release$node.log" >&2
  done
}

down() {
  [ -e "$SP_CONFIG" ] || { echo "there is no cluster in $dir"; return; }
  release_devices
  rm -f /dev/shm/"sp-$(basename "$dir")-"*
  rm -rf "${dir:?}"
}

case $verb in
  up) up ;;
  down) down ;;
  status | kill | stop | start | flip)
    [ -e "$SP_CONFIG" ] || fail "there is no cluster in $dir: run up first"
    case $verb in
      status) sp-status ;;
      kill) stop KILL "$target" ;;
      stop) stop TERM "$target" ;;
      start) start "$target" ;;
      flip) flip "$target" ;;
    esac
    ;;
  *) usage ;;
esac
