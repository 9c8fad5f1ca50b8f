#!/usr/bin/env bash
# make install: programs, units, man pages and completions under $DESTDIR$PREFIX.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=${DESTDIR:-}${PREFIX:-/usr}
build=${BUILD:-build}

install -d "$root/sbin" "$root/lib/systemd/system" "$root/share/bash-completion/completions"
for program in "$build"/bin/sp-*; do
  install -m 755 "$program" "$root/sbin/"
done
for unit in cmd/systemd/*.service; do
  install -m 644 "$unit" "$root/lib/systemd/system/"
done
for page in man/*.[1578]; do
  section=${page##*.}
  install -d "$root/share/man/man$section"
  install -m 644 "$page" "$root/share/man/man$section/"
done
for program in "$build"/bin/sp-*; do
  install -m 644 completions/sp.bash "$root/share/bash-completion/completions/$(basename "$program")"
done
install -d "$root/share/doc/sp"
install -m 644 README.md ARCHITECTURE.md CHANGELOG.md LICENSE "$root/share/doc/sp/"
cp -r examples "$root/share/doc/sp/"
echo "installed under ${root:-/}"
