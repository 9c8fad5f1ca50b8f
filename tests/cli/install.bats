# What `make install` puts where: everything runs from there, units are valid, pages and completions are complete.
load helper

setup() {
  DESTDIR=$BATS_TEST_TMPDIR/root PREFIX=/usr BUILD=$SP_BIN/.. "$SP_SOURCE/tests/style/install.sh" >/dev/null
  root=$BATS_TEST_TMPDIR/root/usr
}

@test "every command is installed with its page and its completion, and runs" {
  for command in $(commands); do
    run "$root/sbin/$command" --version
    assert_success
    compgen -G "$root/share/man/man[18]/$command.[18]" >/dev/null || fail "$command has no page"
    [ -f "$root/share/bash-completion/completions/$command" ] || fail "$command has no completion"
  done
}

@test "the pages that others refer to are there" {
  while read -r page; do
    [ -f "$root/share/man/man${page##*.}/$page" ] || fail "$page is referred to and not installed"
  done < <(sed -nE 's/^\.Xr (sp[a-z.-]*) ([1-8]).*/\1.\2/p' "$SP_SOURCE"/man/*.[1-8] | sort -u)
}

@test "the units are valid and start what is installed" {
  for unit in "$root"/lib/systemd/system/*.service; do
    program=$(sed -nE 's/^ExecStart=([^ ]+).*/\1/p' "$unit")
    [ -x "$BATS_TEST_TMPDIR/root$program" ] || fail "$(basename "$unit") starts $program, which is not installed"
  done
  command -v systemd-analyze >/dev/null || skip "systemd-analyze is not here"
  # Verified with programs in their place, for the time of the test seen in a copy.
  mkdir "$BATS_TEST_TMPDIR/units"
  for unit in "$root"/lib/systemd/system/*.service; do
    sed "s#^ExecStart=/usr/#ExecStart=$root/#" "$unit" >"$BATS_TEST_TMPDIR/units/$(basename "$unit")"
  done
  run systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/units/*.service
  assert_success
  assert_output ""
}

@test "a second installation over the first changes nothing" {
  (cd "$root" && find . -type f -exec md5sum {} + | sort) >"$BATS_TEST_TMPDIR/first"
  DESTDIR=$BATS_TEST_TMPDIR/root PREFIX=/usr BUILD=$SP_BIN/.. "$SP_SOURCE/tests/style/install.sh" >/dev/null
  (cd "$root" && find . -type f -exec md5sum {} + | sort) >"$BATS_TEST_TMPDIR/second"
  cmp "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
}
