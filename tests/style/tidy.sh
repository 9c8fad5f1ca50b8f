#!/usr/bin/env bash
# make tidy: the rules of STYLE.md that a program can check. Prints each fault with what to do instead; exit 1 when there is one.
# ALL=1 also runs clang-tidy over all sources (minutes).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
faults=0

fault() {
  echo "tidy: $*"
  faults=$((faults + 1))
}

sources() { git ls-files --cached --others --exclude-standard "$@"; }

# --- include direction: what lib/CMakeLists.txt allows is what may be included ---------------------
declare -A uses
while read -r module list; do
  uses[$module]=" $module $list "
done < <(sed -nE 's/^sp_module\(([a-z]+)( USES ([a-z ]+))?.*/\1 \3/p' lib/CMakeLists.txt |
  sed -E 's/ LIBRARIES.*//')
# What a used module includes in its headers comes along, so the allowance is transitive.
for _ in 1 2 3 4 5 6 7 8; do
  for module in "${!uses[@]}"; do
    for used in ${uses[$module]}; do
      for further in ${uses[$used]:-}; do
        [[ ${uses[$module]} == *" $further "* ]] || uses[$module]+="$further "
      done
    done
  done
done
while IFS=: read -r file line text; do
  module=${file#lib/}
  module=${module%%/*}
  included=$(sed -E 's/.*#include "([^"\/]+)\/.*/\1/' <<<"$text")
  [ -n "${uses[$module]:-}" ] || { fault "$file: module $module is not in lib/CMakeLists.txt"; continue; }
  [[ ${uses[$module]} == *" $included "* ]] ||
    fault "$file:$line: $module may not include $included (order: lib/CMakeLists.txt)"
done < <(sources 'lib/*.h' 'lib/*.cc' | xargs grep -nE '^#include "[a-z_]+/' /dev/null)

# --- third-party headers stay where they belong -----------------------------------------------------
only_in() { # header pattern, path pattern
  while IFS=: read -r file line text; do
    [[ $file =~ $2 ]] || fault "$file:$line: $text belongs into $2 only"
  done < <(sources 'lib/*' 'cmd/*.cc' | grep -E '\.(h|cc)$' | xargs grep -nE "^#include <($1)" /dev/null)
}
only_in 'liburing' '^lib/io/.*uring|^lib/attach/ublk'
only_in 'sqlite3' '^lib/state/'
only_in 'openssl' '^lib/wire/.*\.cc'
only_in 'httplib' '^lib/api/.*\.cc'
only_in 'nlohmann' '^lib/(api|cli)/'
only_in 'CLI/' '^lib/cli/.*\.cc'
only_in 'toml' '^lib/cli/.*\.cc'
only_in 'fuse' '^$' # nobody: FUSE is spoken by its kernel interface
only_in 'libnvme' '^lib/disk/.*\.cc'
only_in 'isa-l' '^lib/base/.*\.cc'

# --- nothing above io touches the outside world -----------------------------------------------------
# Below the seam by nature: the real half of io, the device drivers of attach, *_linux.cc files, the threads of the HTTP library.
seam='^lib/(io/(real|uring|memory_disk|fd_watch|signal|file_lock)|attach/(fuse|ublk|nbd_kernel|loop|device)|api/(http|client)|cli/|[a-z]+/[a-z_]+_linux)'
banned() { # pattern, replacement
  while IFS=: read -r file line text; do
    [[ $file =~ $seam ]] || fault "$file:$line: '$(xargs -0 <<<"$text" | cut -c1-60)': $2"
  done < <(sources 'lib/*.h' 'lib/*.cc' | xargs grep -nE "$1" /dev/null | grep -vE ':[0-9]+: *//')
}
banned '(steady|system|high_resolution)_clock|clock_gettime|gettimeofday|[^_a-z]time\(NULL|[^_a-z]time\(nullptr' 'use io::Clock'
banned '[^_a-zA-Z.>:](rand|srand|drand48)\(|std::(mt19937|random_device)|getrandom' 'use io::Random'
banned 'std::(thread|mutex|condition_variable|async)[^_a-z]|pthread_' 'one reactor, one thread: use io::Reactor'
banned '[^_a-z](usleep|nanosleep|sleep)\(|sleep_for' 'use io::Timer'
banned '[^_a-z](map|set)<(const )?[A-Za-z_:]+\*' 'an order of addresses differs from run to run: key it by an id'
banned '(^|[^a-zA-Z_])::(open|socket|connect|bind|listen|read|write)\(|[^_a-zA-Z.>:](ioctl|mmap|fork|fopen)\(' 'use io::Disk and io::Net'

everywhere() { # pattern, replacement
  while IFS=: read -r file line text; do
    fault "$file:$line: '$(xargs -0 <<<"$text" | cut -c1-60)': $2"
  done < <(sources 'lib/*' 'cmd/*' | grep -E '\.(h|cc)$' | xargs grep -nE "$1" /dev/null | grep -vE ':[0-9]+: *//')
}
everywhere '[^_a-zA-Z](strcpy|strcat|sprintf|vsprintf|gets)\(' 'use fmt::format or std::string'
everywhere '(^|[^_a-zA-Z])assert\(' 'use SP_ASSERT: assertions stay on'
everywhere '[^_a-zA-Z.>:]exit\(|std::(exit|quick_exit)' 'return a Result; main turns it into an exit code'
everywhere 'TODO|FIXME|XXX' 'name what is missing in an issue, and build it'
everywhere '\bthrow\b|\bcatch \(\.\.\.\)' 'errors are Results; catch a library by its own exception type'
everywhere 'co_await[^;]*(\{[^}]|\[[=a-z&])' 'build aggregates and closures on the line before (g++ 12 destroys them twice)'

# --- lengths: hard limits, and a ratchet for what is long already -----------------------------------
limit_of() {
  case $1 in
    cmd/*.cc) echo 120 ;;
    lib/*.h) echo 200 ;;
    *) echo 800 ;;
  esac
}
while read -r file; do
  lines=$(wc -l <"$file")
  limit=$(limit_of "$file")
  allowed=$(awk -v f="$file" '$1 == f { print $2 }' tests/style/long.tsv)
  if [ -n "$allowed" ]; then
    [ "$lines" -le "$allowed" ] || fault "$file: grew to $lines lines; it is on the list of long files with $allowed: split it"
    [ "$lines" -gt "$limit" ] || fault "$file: is short enough now: take it off tests/style/long.tsv"
  else
    [ "$lines" -le "$limit" ] || fault "$file: $lines lines, at most $limit: split it by responsibility"
  fi
done < <(sources '*.h' '*.cc' '*.sh')
while IFS=: read -r file line _; do
  fault "$file:$line: longer than 100 columns (make format)"
done < <(sources 'lib/*' 'cmd/*' 'tests/*' | grep -E '\.(h|cc)$' | xargs grep -nE '^[^"]{101,}$' /dev/null | grep -v 'http')

# (A line with a string in it may be longer: formatters do not break strings, and people search for them.)

# --- headers: guarded, with a contract, used by someone ---------------------------------------------
while read -r header; do
  head -1 "$header" | grep -q '^//' || fault "$header: starts with a paragraph that says what it is"
  grep -q '^#pragma once' "$header" || fault "$header: #pragma once is missing"
  name=${header#lib/}
  name=${name#tests/}
  base=$(basename "$header")
  sources '*.cc' '*.h' | xargs grep -lE "#include \"([a-z_]+/)*($name|$base)\"" | grep -qv "^$header$" ||
    fault "$header: nobody includes it"
done < <(sources 'lib/*.h' 'tests/*.h')

# --- every command has its page, its completion, and is installed -----------------------------------
for source in $(sources 'cmd/sp-*.cc'); do
  command=$(basename "$source" .cc)
  ls "man/$command".[18] >/dev/null 2>&1 || fault "$source: no man page man/$command.8"
  grep -q "$command" completions/sp.bash 2>/dev/null || fault "$source: no completion in completions/sp.bash"
  grep -q "sp_command($command " cmd/CMakeLists.txt || fault "$source: not in cmd/CMakeLists.txt"
done
for page in $(sources 'man/*'); do
  mandoc -T lint -W error "$page" >/dev/null 2>&1 || fault "$page: $(mandoc -T lint -W error "$page" 2>&1 | head -1)"
done

# --- planted bugs, probes, points of buggify: the tables and the code name the same --------------------
named_alike() { # table, macro in the table, macro in the code
  diff <(sed -nE "s/^$2\(([a-z_0-9]+),.*/\1/p" "$1" | sort) \
    <(sources 'lib/*.cc' 'lib/*.h' | grep -vE '^lib/(base/p|io/buggify)' | xargs grep -ohE "$3\([a-z_0-9]+[,)]" | sed -E 's/.*\((.*)[,)]/\1/' | sort -u) |
    sed -nE 's/^< /in the table, not in the code: /p; s/^> /in the code, not in the table: /p'
}
while read -r difference; do fault "lib/base/planted_bugs.def: $difference"; done < <(named_alike lib/base/planted_bugs.def SP_BUG SP_PLANTED_BUG)
while read -r difference; do fault "lib/base/probes.def: $difference"; done < <(named_alike lib/base/probes.def 'SP_PROBE_R[A-Z]*' SP_PROBE)
while read -r difference; do fault "lib/io/buggify.def: $difference"; done < <(named_alike lib/io/buggify.def SP_POINT SP_BUGGIFY)

# --- shell ------------------------------------------------------------------------------------------
while read -r script; do
  shellcheck -S warning "$script" >/dev/null || fault "$script: shellcheck -S warning $script"
done < <(sources '*.sh' '.ci/run')

# --- headers compile on their own -------------------------------------------------------------------
if [ "$faults" -eq 0 ]; then
  while read -r header; do
    echo "$header"
  done < <(sources 'lib/*.h') | xargs -P "$(nproc)" -I{} sh -c \
    'g++ -std=c++20 -Wall -Wextra -Wno-pragma-once-outside-header -fsyntax-only -DSP_VERSION=\"x\" -Ilib "{}" 2>/dev/null || echo "{}"' \
    >"${TMPDIR:-/tmp}/tidy-headers.$$"
  while read -r header; do fault "$header: does not compile on its own"; done <"${TMPDIR:-/tmp}/tidy-headers.$$"
  rm -f "${TMPDIR:-/tmp}/tidy-headers.$$"
fi

# --- clang-tidy -------------------------------------------------------------------------------------
if [ -n "${ALL:-}" ] && [ -f "$build/compile_commands.json" ]; then
  sources 'lib/*.cc' 'cmd/*.cc' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" 2>/dev/null ||
    fault "clang-tidy: see above"
fi

if [ "$faults" -gt 0 ]; then
  echo "tidy: $faults faults"
  exit 1
fi
echo "tidy: clean"
