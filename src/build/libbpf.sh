#!/bin/sh
# Links libbpf, libelf and zlib into one shared object that needs only glibc, so that pcnk can carry it inside its
# executable and open it on any host.  usage: libbpf.sh OUTPUT.so
# For another architecture: CROSS=aarch64-linux-gnu-, and SYSROOT=FOLDER with its libraries.
#
# Debian's static libraries are built for executables (PIE), not for shared objects, which leaves four obstacles:
#   - libelf's error state is a local-exec TLS variable: elf_error.o is left out and its functions are ours (libbpf_shim.c);
#   - libbpf reaches `stderr` by a copy relocation: renamed to a hidden variable of the shim;
#   - `fstat` came into libc.so with glibc 2.33 only; the shim has one that works before;
#   - everything but the public API stays hidden (version script), or a host's own libelf could be mixed in.
set -eu
out=$(realpath -m "$1")
here=$(cd "$(dirname "$0")" && pwd)
cross=${CROSS:-}
gcc=${cross}gcc
libdir=${SYSROOT:-}/usr/lib/$("$gcc" -print-multiarch)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

cp "$libdir/libelf.a" "$tmp/libelf.a"
"${cross}ar" d "$tmp/libelf.a" elf_error.o
"${cross}objcopy" --redefine-sym stderr=pcnk_stderr "$libdir/libbpf.a" "$tmp/libbpf.a"
"$gcc" -O2 -fPIC -Wall -Wextra -Werror ${SYSROOT:+-isystem "$SYSROOT/usr/include"} -c "$here/libbpf_shim.c" -o "$tmp/shim.o"
"$gcc" -shared -o "$tmp/out.so" "$tmp/shim.o" \
  -Wl,--whole-archive "$tmp/libbpf.a" "$tmp/libelf.a" "$libdir/libz.a" -Wl,--no-whole-archive \
  -Wl,--version-script="$here/libbpf.map" -Wl,-Bsymbolic -Wl,--gc-sections -Wl,-z,defs -s
mkdir -p "$(dirname "$out")"
mv "$tmp/out.so" "$out"
