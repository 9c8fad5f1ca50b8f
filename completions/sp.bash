# Completion of the sp-* commands for bash. Made by completions/generate.sh from commands.tsv: change those.

_sp_options() { # command, verb: its options, one a line
  case "$1 $2" in
    "sp-attach ") printf '%s\n' '--client=N' '--config=PATH' --detach --exact --force '--format=table|tsv|json' --help --here --json --list --no-header '--node=N' --read-only --show-config '--socket=PATH' '--spin=DURATION' '--timeout=DURATION' --verbose --version ;;
    "sp-beacon ") printf '%s\n' --bootstrap '--config=PATH' --help '--node=N' --show-config '--spin=DURATION' --verbose --version ;;
    "sp-bench ") printf '%s\n' '--block=SIZE' '--config=PATH' '--depth=N' --exact --force '--format=table|tsv|json' '--from=SIZE' --help '--jobs=N' --json --no-header --no-verify '--node=N' '--operations=N' '--pattern=random|sequential' '--ramp=DURATION' '--range=SIZE' '--reads=N' --show-config '--spin=DURATION' '--time=DURATION' '--timeout=DURATION' --verbose --version --yes ;;
    "sp-block ") printf '%s\n' '--config=PATH' --help '--node=N' --release --show-config '--spin=DURATION' --verbose --version '--way=ublk|nbd|fuse' ;;
    "sp-compare ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--spin=DURATION' '--timeout=DURATION' --verbose --version ;;
    "sp-disk ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-disk list") printf '%s\n' --help ;;
    "sp-disk show") printf '%s\n' --help ;;
    "sp-disk describe") printf '%s\n' --help ;;
    "sp-disk forget") printf '%s\n' --dry-run --help --yes ;;
    "sp-disk-check ") printf '%s\n' --digest --exact '--format=table|tsv|json' --help --json '--locate=VOLUME:OBJECT:BLOCK' --no-data --no-header --summary --version ;;
    "sp-disk-init ") printf '%s\n' '--cluster=ID' '--config=PATH' --dry-run --exact '--force-overwrite=NAME' '--format=table|tsv|json' --help '--id=N' --json --list --no-header '--node=N' --show-config '--size=SIZE' --sparse --version ;;
    "sp-kv ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-kv list") printf '%s\n' --help ;;
    "sp-kv get") printf '%s\n' --help ;;
    "sp-kv set") printf '%s\n' --help '--if-version=N' ;;
    "sp-kv unset") printf '%s\n' --help '--if-version=N' ;;
    "sp-kv create") printf '%s\n' --help ;;
    "sp-kv delete") printf '%s\n' --dry-run --help --yes ;;
    "sp-mgmt ") printf '%s\n' '--config=PATH' --help '--node=N' --show-config '--spin=DURATION' --verbose --version ;;
    "sp-node ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-node list") printf '%s\n' --help ;;
    "sp-node add") printf '%s\n' '--fault-set=NAME' --help --no-vote ;;
    "sp-node remove") printf '%s\n' --dry-run --help --yes ;;
    "sp-node voting") printf '%s\n' --help ;;
    "sp-node raise-level") printf '%s\n' --help ;;
    "sp-placement ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-placement list") printf '%s\n' --help ;;
    "sp-placement show") printf '%s\n' --help ;;
    "sp-placement add") printf '%s\n' --help ;;
    "sp-placement remove") printf '%s\n' --help ;;
    "sp-placement rename") printf '%s\n' --help ;;
    "sp-placement delete") printf '%s\n' --dry-run --help --yes ;;
    "sp-serve ") printf '%s\n' '--config=PATH' --help '--instance=N' '--node=N' --show-config '--spin=DURATION' --verbose --version ;;
    "sp-sim ") printf '%s\n' --drawn '--first-seed=N' --help '--jobs=N' --list-knobs --list-planted '--nodes=N' '--plant=NAME' --probes --require-probes '--seeds=N' '--set=NAME=VALUE' --shrink '--time=DURATION' --until-failure --verbose --version '--watch=VOLUME:BLOCK' '--without-faults=NUMBERS' ;;
    "sp-snap ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-snap create") printf '%s\n' '--delete-after=DURATION' --help '--tag=NAME=VALUE' ;;
    "sp-snap list") printf '%s\n' --help ;;
    "sp-snap show") printf '%s\n' --help ;;
    "sp-snap delete") printf '%s\n' --dry-run --help --yes ;;
    "sp-snap rename") printf '%s\n' --help ;;
    "sp-snap tag") printf '%s\n' --help ;;
    "sp-snap rollback") printf '%s\n' --dry-run --help --yes ;;
    "sp-snap clone") printf '%s\n' '--bandwidth=SIZE' --help '--iops=N' '--size=SIZE' '--tag=NAME=VALUE' ;;
    "sp-status ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --quiet --show-config '--timeout=DURATION' --version '--wait=healthy' ;;
    "sp-template ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-template list") printf '%s\n' --help ;;
    "sp-template status") printf '%s\n' --help ;;
    "sp-template show") printf '%s\n' --help ;;
    "sp-template create") printf '%s\n' '--bandwidth=SIZE' '--copies=N' --help '--iops=N' '--min-copies=N' '--place-all=GROUP' '--place-head=GROUP' '--place-tail=GROUP' '--size=SIZE' ;;
    "sp-template update") printf '%s\n' '--bandwidth=SIZE' --help '--iops=N' '--min-copies=N' '--place-all=GROUP' '--place-head=GROUP' '--place-tail=GROUP' '--rename=NEW' '--size=SIZE' ;;
    "sp-template delete") printf '%s\n' --dry-run --help --yes ;;
    "sp-volume ") printf '%s\n' '--config=PATH' --exact '--format=table|tsv|json' --help --json --no-header '--node=N' --show-config '--timeout=DURATION' --version ;;
    "sp-volume list") printf '%s\n' --help ;;
    "sp-volume show") printf '%s\n' --help ;;
    "sp-volume status") printf '%s\n' --help ;;
    "sp-volume info") printf '%s\n' --help ;;
    "sp-volume create") printf '%s\n' '--bandwidth=SIZE' --help '--iops=N' '--size=SIZE' '--snapshot=NAME' '--tag=NAME=VALUE' '--template=NAME' ;;
    "sp-volume resize") printf '%s\n' --help --shrink-ok ;;
    "sp-volume rename") printf '%s\n' --help ;;
    "sp-volume update") printf '%s\n' '--bandwidth=SIZE' --help '--iops=N' '--tag=NAME=VALUE' ;;
    "sp-volume delete") printf '%s\n' --dry-run --help --yes ;;
  esac
}

# Names of snapshots have '@' in them, and are one word.
COMP_WORDBREAKS=${COMP_WORDBREAKS//@/}

_sp_verbs() { # command: its verbs
  case "$1" in
    sp-disk) echo list show describe forget ;;
    sp-kv) echo list get set unset create delete ;;
    sp-node) echo list add remove voting raise-level ;;
    sp-placement) echo list show add remove rename delete ;;
    sp-snap) echo create list show delete rename tag rollback clone ;;
    sp-template) echo list status show create update delete ;;
    sp-volume) echo list show status info create resize rename update delete ;;
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

complete -F _sp_complete sp-attach sp-beacon sp-bench sp-block sp-compare sp-disk sp-disk-check sp-disk-init sp-kv sp-mgmt sp-node sp-placement sp-serve sp-sim sp-snap sp-status sp-template sp-volume
