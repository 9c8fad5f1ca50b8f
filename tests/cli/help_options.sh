#!/usr/bin/env bash
# help_options.sh PROGRAM [VERB]: the options in its --help, one a line, "--name" or "--name=VALUE"; and its verbs, one a line, by "help_options.sh --verbs PROGRAM".
set -euo pipefail
if [ "$1" = --verbs ]; then
  "$2" --help | sed -nE '/^Subcommands:/,/^$/s/^  ([a-z-]+) .*/\1/p'
else
  "$@" --help | sed -nE 's/^  (-[a-zA-Z],)?(--[a-z-]+)( REQUIRED)?($|  .*)/\2/p; s/^  (-[a-zA-Z],)?(--[a-z-]+) ([^ ]+).*/\2=\3/p' | sort -u
fi
