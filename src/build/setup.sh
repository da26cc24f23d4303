#!/bin/sh
# Installs what is missing from npm and Debian, then runs a task of deno.json.
#   setup.sh TASK       e.g. lab, ok, build
#   setup.sh            install only
# It changes nothing when everything is there. Needs Debian 12 (or a relative of it) and root for what is missing.
set -eu
cd "$(dirname "$0")/../.."

# to build; to run a lab; to test and measure
packages="clang llvm gcc libc6-dev binutils libbpf-dev libelf-dev zlib1g-dev git
containernetworking-plugins iptables util-linux
iproute2 iputils-ping curl nftables python3 python3-scapy
etcd-server etcd-client openssl
chromium-headless-shell fonts-dejavu-core
iperf3 sockperf wrk"

# to boot the oldest kernel; to boot all of them, on arm64 too
case "${1:-}" in
  ok) packages="$packages qemu-system-x86 busybox-static" ;;
  test:vm) packages="$packages qemu-system-x86 busybox-static qemu-system-arm gcc-aarch64-linux-gnu
libc6-dev-arm64-cross wireguard-tools" ;;
esac

missing=
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "setup: installing$missing" >&2
  if [ "$(id -u)" != 0 ]; then
    echo "setup: needs root for that; as root: apt-get install$missing" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of words
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

# node_modules is made from the lock file, and again only when that changes.
stamp=node_modules/.pcnk-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  echo "setup: npm ci" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
fi

# The pinned Deno from npm where npm has one for this machine, else the one that is installed.
deno=node_modules/@deno/linux-x64-glibc/deno
if [ ! -x "$deno" ]; then
  deno=$(command -v deno) || {
    echo "setup: no Deno for this machine on npm; install Deno 2.6 and try again" >&2
    exit 1
  }
fi
deno=$(realpath "$deno")

[ $# -gt 0 ] || exit 0
PATH=$(dirname "$deno"):$PATH exec "$deno" task --quiet "$@"
