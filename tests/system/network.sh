#!/usr/bin/env bash
# Sourced by scripts that run a cluster of real processes, each node in a network namespace of its own: 10.99.0.N for node N, nodes 1 to 4, over one
# bridge. Wants $root, $dir, and to be root; `remove_network` ends whatever is in the namespaces, and removes them.
: "${root:?}" "${dir:?}"
net=sp-$$- # of the namespaces NET1 to NET4 and NETswitch

# Not by `ip netns exec`: that makes a mount namespace, which would hold other tests' file systems.
at() { nsenter --net="/run/netns/$net$1" "${@:2}"; }
cluster() { at 4 env SP_NODE=4 "$root/examples/local-cluster.sh" "$@" --dir "$dir/cluster" --netns "$net"; }

mac() { printf '02:00:00:63:00:%02x' "$1"; }
make_network() {
  local node other
  ip netns add "${net}switch"
  at switch ip link add name bridge type bridge
  at switch ip link set bridge up
  for node in 1 2 3 4; do
    ip netns add "$net$node"
    ip link add name port netns "$net$node" address "$(mac "$node")" type veth peer name "node$node" netns "${net}switch"
    at switch ip link set "node$node" master bridge up
    at "$node" ip link set lo up
    at "$node" ip addr add "10.99.0.$node/24" dev port
    at "$node" ip link set port up
  done
  for node in 1 2 3 4; do for other in 1 2 3 4; do [ "$node" = "$other" ] || open_way "$node" "$other"; done; done
}
remove_network() {
  local name
  for name in 1 2 3 4 switch; do
    ip netns pids "$net$name" 2>/dev/null | xargs -r kill -9 2>/dev/null
    ip netns del "$net$name" 2>/dev/null
  done
}
# What one node sends to another goes to nobody, or arrives. The way back is another one.
close_way() { at "$1" ip neigh replace "10.99.0.$2" lladdr 02:00:00:63:00:ff dev port nud permanent; }
open_way() { at "$1" ip neigh replace "10.99.0.$2" lladdr "$(mac "$2")" dev port nud permanent; }
isolate() { at switch bridge link set dev "node$1" state 0; }
join() { at switch bridge link set dev "node$1" state 3; }

process() { cat "$dir/cluster/run/$1.pid"; }
