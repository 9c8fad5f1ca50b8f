# Help, man pages, completion and units agree with each other.
load helper

@test "the table of completions lists exactly the options and verbs in --help" {
  for command in $(commands); do
    verbs=$(help_options --verbs "$command" | sort)
    assert_equal "$(awk -F'\t' -v c="$command" '$1 == c && $2 != "-" { print $2 }' "$SP_SOURCE/completions/commands.tsv" | sort)" "$verbs"
    for verb in - $verbs; do
      listed=$(awk -F'\t' -v c="$command" -v v="$verb" '$1 == c && $2 == v { print $3 }' "$SP_SOURCE/completions/commands.tsv" | tr ' ' '\n')
      # shellcheck disable=SC2086
      given=$(help_options "$command" ${verb#-})
      [ "$listed" = "$given" ] || fail "$command $verb: completions/commands.tsv has: $listed; --help has: $given"
    done
  done
}

@test "the completion script is the one that the table makes" {
  cp -r "$SP_SOURCE/completions" "$BATS_TEST_TMPDIR/made"
  "$BATS_TEST_TMPDIR/made/generate.sh"
  diff -u "$SP_SOURCE/completions/sp.bash" "$BATS_TEST_TMPDIR/made/sp.bash"
}

@test "completion offers verbs, options and words" {
  run bash -c "source '$SP_SOURCE/completions/sp.bash'
    ask() { COMP_WORDS=(\"\$@\"); COMP_CWORD=\$((\$# - 1)); _sp_complete; echo \"\${COMPREPLY[*]}\"; }
    ask sp-volume cr; ask sp-volume create x --templ; ask sp-status --format t; ask sp-block --way ''"
  assert_output "$(printf 'create\n--template\ntable tsv\nublk nbd fuse')"
}

@test "completion offers snapshots where they are wanted, volumes where those are" {
  run bash -c "source '$SP_SOURCE/completions/sp.bash'
    sp-volume() { printf 'v1\t1\nv2\t1\n'; }
    sp-snap() { printf 'v1@a\tv1\n'; }
    ask() { COMP_WORDS=(\"\$@\"); COMP_CWORD=\$((\$# - 1)); _sp_complete; echo \"\${COMPREPLY[*]}\"; }
    ask sp-snap show v; ask sp-snap create v; ask sp-snap rollback v; ask sp-attach v1@; ask sp-volume show v"
  assert_output "$(printf 'v1@a\nv1 v2\nv1@a v1 v2\nv1@a\nv1 v2')"
}

@test "every option in --help is in the man page, and every option there is in --help" {
  for command in $(commands); do
    page=$(ls "$SP_SOURCE"/man/"$command".[18] 2>/dev/null) || fail "$command has no man page"
    { help_options "$command"; for verb in $(help_options --verbs "$command"); do help_options "$command" "$verb"; done; } | sed 's/=.*//' | sort -u |
      grep -vxE -- '--help|--version' >"$BATS_TEST_TMPDIR/help" || true
    grep '^\.It' "$page" | grep -oE 'Fl \\?-[a-z-]+' | sed -E 's/Fl .?-/--/; s/---/--/' | sort -u | grep -vxE -- '--help|--version' >"$BATS_TEST_TMPDIR/page" || true
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/page" || fail "$command: --help (<) and $(basename "$page") (>) differ"
  done
}

@test "man pages are sound and have the sections that every page has" {
  for page in "$SP_SOURCE"/man/*.[178] "$SP_SOURCE"/man/*.5; do mandoc -T lint -W error "$page"; done
  for command in $(commands); do
    page=$(ls "$SP_SOURCE"/man/"$command".[18])
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
      grep -q "^\.Sh $section" "$page" || fail "$page: no section $section"
    done
  done
}

@test "units are accepted by systemd" {
  command -v systemd-analyze >/dev/null || skip "no systemd"
  for unit in "$SP_SOURCE"/cmd/systemd/*.service; do
    sed "s#/usr/sbin/#$(cd "$SP_BIN" && pwd)/#" "$unit" >"$BATS_TEST_TMPDIR/$(basename "$unit")"
  done
  mv "$BATS_TEST_TMPDIR/sp-serve@.service" "$BATS_TEST_TMPDIR/sp-serve@1.service"
  run systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/*.service
  assert_success
  refute_output --partial "$BATS_TEST_TMPDIR"
}
