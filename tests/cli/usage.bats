# Wrong usage, exit codes, and what works without a cluster.
load helper

@test "every command has --help and --version" {
  for command in $(commands); do
    run "$command" --help
    assert_success
    assert_output --partial "Usage: $command"
    run "$command" --version
    assert_success
    assert_output --regexp "^$command [0-9]"
  done
}

@test "an unknown option or verb is wrong usage" {
  for command in $(commands); do
    run "$command" --no-such-option
    assert_equal "$command $status" "$command 2"
    assert_output --partial "Try: $command"
  done
  run sp-volume frobnicate
  assert_failure 2
  run sp-volume
  assert_failure 2
  assert_output --partial "say what to do: list, show"
}

@test "all faults of a line are reported at once" {
  run sp-volume create v --template t --size huge --iops many --tag nonsense
  assert_failure 2
  assert_output --partial "'huge' is not a size"
  assert_output --partial "'many' is not a whole number"
  assert_output --partial "'nonsense' is not a tag"
}

@test "verbs that destroy want the name again" {
  make_config
  for line in "sp-volume delete v" "sp-template delete t" "sp-placement delete g" "sp-disk forget 7" "sp-node remove 7" "sp-kv delete b"; do
    # shellcheck disable=SC2086
    run $line
    assert_failure 2
    assert_output --partial "as confirmation, or give --yes"
    # shellcheck disable=SC2086
    run $line other
    assert_failure 2
    assert_output --partial "differ: nothing was done"
  done
}

@test "what a snapshot is lost or gone back to for is said twice" {
  make_config
  for line in "sp-snap delete a b" "sp-snap rollback v s"; do
    # shellcheck disable=SC2086
    run $line
    assert_failure 2
    assert_output --partial "give --yes, or --dry-run"
    # shellcheck disable=SC2086
    run $line --yes --timeout 200ms
    assert_failure 7
  done
}

@test "a snapshot that is not named well, and a volume of nothing, are wrong usage" {
  for target in v@ @s @; do
    run sp-snap create v "$target"
    assert_failure 2
    assert_output --partial "write VOLUME@NAME"
  done
  run sp-snap tag s nonsense
  assert_failure 2
  run sp-volume create v
  assert_failure 2
  assert_output --partial "give --template, or --snapshot"
}

@test "a configuration that is not there says how to name one" {
  run sp-volume list --config /nonexistent/sp.toml
  assert_failure 3
  assert_output --partial "--config or SP_CONFIG"
}

@test "a faulty configuration is refused with all faults and their lines" {
  make_config
  printf 'adress = "x"\nvoting = 7\n' >>"$SP_CONFIG"
  run sp-status
  assert_failure 2
  assert_output --partial "is not a known key (did you mean 'address'?)"
  assert_output --partial "voting must be true or false"
}

@test "--show-config prints what can be read back" {
  make_config
  sp-status --show-config >"$BATS_TEST_TMPDIR/shown.toml"
  run sp-status --config "$BATS_TEST_TMPDIR/shown.toml" --show-config
  assert_success
  assert_output "$(cat "$BATS_TEST_TMPDIR/shown.toml")"
  assert_output --partial "beacon_port = 4700"
}

@test "a secret that others may read is refused" {
  make_config
  chmod 644 "$BATS_TEST_TMPDIR/token"
  run sp-volume list
  assert_failure 5
  assert_output --partial "chmod"
  chmod 600 "$BATS_TEST_TMPDIR/token"
  chmod 644 "$BATS_TEST_TMPDIR/key"
  run sp-mgmt
  assert_failure 5
}

@test "nobody who answers is exit code 7" {
  make_config
  for line in "sp-volume list" "sp-status" "sp-attach v" "sp-attach v --read-only" "sp-snap list" "sp-snap create v" "sp-kv get b k"; do
    # shellcheck disable=SC2086
    run $line --timeout 200ms
    assert_failure 7
  done
}

@test "contradictions of sp-attach are wrong usage" {
  make_config
  for line in "" "--list v" "v --here --client 2" "v --detach --read-only" "v --socket relative" "v --socket /x --client 2" "v --client 64"; do
    # shellcheck disable=SC2086
    run sp-attach $line
    assert_equal "$line: $status" "$line: 2"
  done
}

@test "a node that is not configured for it does not run a service" {
  make_config
  sed -i 's/^mgmt = true/mgmt = false/' "$SP_CONFIG"
  run sp-mgmt
  assert_failure 2
  assert_output --partial "set mgmt = true"
  run sp-volume list
  assert_failure 2
  assert_output --partial "no management service to ask"
  SP_NODE=9 run sp-mgmt
  assert_failure 2
  assert_output --partial "add [node.9]"
}

@test "a service ends in order when it is told to" {
  make_config
  sed -i "s/^port = 1\$/port = $((20000 + RANDOM % 20000))/" "$SP_CONFIG"
  sp-mgmt 2>"$BATS_TEST_TMPDIR/log" 3>&- &
  pid=$!
  for _ in $(seq 600); do grep -q ready "$BATS_TEST_TMPDIR/log" && break; sleep 0.05; done
  kill -TERM "$pid"
  wait "$pid"
}

@test "local-cluster.sh refuses wrong usage" {
  for line in "" "frobnicate" "up --nodes x" "kill" "up --nope"; do
    # shellcheck disable=SC2086
    run "$SP_SOURCE/examples/local-cluster.sh" $line
    [ "$status" -ne 0 ] || fail "accepted: $line"
  done
  run "$SP_SOURCE/examples/local-cluster.sh" status --dir "$BATS_TEST_TMPDIR/none"
  assert_failure 1
  assert_output --partial "run up first"
}
