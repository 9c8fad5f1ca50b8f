#!/usr/bin/env bash
# Installs what building and testing need from Debian's packages; says what it does, and does nothing when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build make git pkg-config ccache mold
  libfmt-dev libisal-dev liburing-dev libnvme-dev libsqlite3-dev libssl-dev libcli11-dev
  libtomlplusplus-dev libcpp-httplib-dev nlohmann-json3-dev doctest-dev
  clang libclang-rt-14-dev clang-tidy clang-format
  bats bats-assert bats-support bats-file shellcheck mandoc systemd
  fio qemu-utils libnbd-bin jq curl sqlite3 e2fsprogs util-linux procps psmisc iproute2
)

# One query for all. A package that dpkg never heard of prints nothing and makes the query fail: on a
# fresh machine that is the ordinary case.
installed=$({ dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true; } |
  awk '$2 == "installed" { print $1 }')
missing=()
for package in "${packages[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "missing packages; as root run: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing from Debian: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
