# What all suites share: where programs and sources are, bats-assert, and an environment without the caller's cluster.
load /usr/lib/bats/bats-support/load
load /usr/lib/bats/bats-assert/load
SP_BIN=${SP_BIN:-$BATS_TEST_DIRNAME/../../build/bin}
SP_SOURCE=${SP_SOURCE:-$BATS_TEST_DIRNAME/../..}
PATH=$SP_BIN:$PATH
unset SP_CONFIG SP_NODE
help_options() { "$SP_SOURCE/tests/cli/help_options.sh" "$@"; }
commands() { for program in "$SP_BIN"/sp-*; do basename "$program"; done; }

# A configuration of one node whose services do not run: for what needs no cluster. Port 1 refuses connections.
make_config() {
  (umask 077; printf 'a%.0s' {1..64} >"$BATS_TEST_TMPDIR/key"; echo secret-token >"$BATS_TEST_TMPDIR/token")
  cat >"$BATS_TEST_TMPDIR/sp.toml" <<END
[cluster]
name = "test"
id = "00000000000000aa"
key_file = "$BATS_TEST_TMPDIR/key"
[api]
token_file = "$BATS_TEST_TMPDIR/token"
port = 1
[node.1]
name = "one"
address = "127.0.0.1"
mgmt = true
state_dir = "$BATS_TEST_TMPDIR/state"
END
  export SP_CONFIG=$BATS_TEST_TMPDIR/sp.toml SP_NODE=1
}
