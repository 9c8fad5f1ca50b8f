#!/usr/bin/env bash
# generate.sh: writes completions/sp.bash from completions/commands.tsv, the one table of commands, verbs and options. Run it after a change of the table;
# tests/cli holds table, --help and man pages to each other.
set -euo pipefail
cd "$(dirname "$0")"
{
  cat <<'END'
# Completion of the sp-* commands for bash. Made by completions/generate.sh from commands.tsv: change those.

_sp_options() { # command, verb: its options, one a line
  case "$1 $2" in
END
  awk -F'\t' '!/^#/ && NF >= 3 { printf "    \"%s %s\") printf '\''%%s\\n'\'' %s ;;\n", $1, $2 == "-" ? "" : $2, $3 }' commands.tsv |
    sed -E 's/ --([a-z-]+)=/ --\1=/g' | sed -E "s/(--[a-z-]+=)([^ ;]+)/'\1\2'/g"
  cat <<'END'
  esac
}

# Names of snapshots have '@' in them, and are one word.
COMP_WORDBREAKS=${COMP_WORDBREAKS//@/}

_sp_verbs() { # command: its verbs
  case "$1" in
END
  awk -F'\t' '!/^#/ && $2 != "-" { verbs[$1] = verbs[$1] " " $2 } END { for (c in verbs) printf "    %s) echo%s ;;\n", c, verbs[c] }' commands.tsv | sort
  cat <<'END'
  esac
}

# Names of what there is, when a management service answers quickly; else nothing.
_sp_names() { # command, verb
  case "$1 $2" in
    "sp-snap create" | "sp-snap list") set -- sp-volume ;;
    "sp-snap rollback" | "sp-attach "*) _sp_names sp-snap ''; set -- sp-volume ;;
  esac
  case "$1" in
    sp-volume | sp-bench) sp-volume list --format=tsv --no-header --timeout 500ms ;;
    sp-snap) sp-snap list --format=tsv --no-header --timeout 500ms ;;
    sp-template | sp-placement | sp-disk | sp-node | sp-kv) "$1" list --format=tsv --no-header --timeout 500ms ;;
  esac 2>/dev/null | cut -f1
}

_sp_complete() {
  local command=${COMP_WORDS[0]##*/} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' verbs at options line
  verbs=" $(_sp_verbs "$command") "
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ $verbs == *" ${COMP_WORDS[at]} "* ]] && { verb=${COMP_WORDS[at]}; break; }
  done
  options=$(_sp_options "$command" ''; [ -z "$verb" ] || _sp_options "$command" "$verb")
  COMPREPLY=()
  # The value of an option: words to choose from, or a path.
  line=$(grep -E -- "^$previous=" <<<"$options" | head -1)
  if [[ $previous == --* && -n $line ]]; then
    case ${line#*=} in
      *"|"*) mapfile -t COMPREPLY < <(compgen -W "$(tr '|' ' ' <<<"${line#*=}")" -- "$word") ;;
      PATH | DEVICE) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
    return
  fi
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(sed 's/=.*//' <<<"$options")" -- "$word")
  elif [ -z "$verb" ] && [ -n "${verbs// /}" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$word")
  elif [[ $command == sp-disk-* || $command == sp-compare ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -W "$(_sp_names "$command" "$verb")" -- "$word")
  fi
}

END
  printf 'complete -F _sp_complete'
  awk -F'\t' '!/^#/ { print $1 }' commands.tsv | sort -u | while read -r command; do printf ' %s' "$command"; done
  echo
} >sp.bash
