#!/usr/bin/env bash
# make guest-test GUEST=RUNNER: the block devices of lib/attach on the kernel drivers that this machine may lack (ublk, NBD), in a virtual machine.
#   RUNNER SCRIPT   runs a script as root on a stock kernel, with the modules of $MODULES loaded, within $TIME_LIMIT seconds, the host's libraries
#                   in sight and the folder $SHARE as /share; its exit status is the script's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && cd "${BUILD:-build}" && pwd)
runner=${GUEST:?give GUEST=path of a virtual machine runner, see the head of this file}
share=$(mktemp -d "${TMPDIR:-/tmp}/sp-guest.XXXXXX")
trap 'rm -rf "$share"' EXIT
ninja -C "$build" --quiet attach_tool
cp "$build/tests/system/attach_tool" "$share/"
sed '1a export TOOL=/share/attach_tool' "$here/guest_attach.sh" >"$share/script.sh"
SHARE=$share MODULES="ublk_drv nbd" TIME_LIMIT=${TIME_LIMIT:-600} "$runner" "$share/script.sh"
