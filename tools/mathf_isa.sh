#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds tests/kern/mathf_all.c with each compiler, level and instruction set that this machine can
# run, and prints one hash over the quick subset's output hashes per build. All lines must agree; the
# program itself compares with the golden hashes and this script fails if one build does.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
flags="-std=c11 -D_GNU_SOURCE -Isrc -ffp-contract=off -fno-math-errno -fno-trapping-math"
bad=0
try() { # runner compiler flags
    run=$1 cc=$2; shift 2
    command -v "$cc" >/dev/null || { echo "skipped: no $cc"; return; }
    # shellcheck disable=SC2086
    "$cc" $flags "$@" tests/kern/mathf_all.c -o "$dir/a" -lm -lpthread || { bad=1; return; }
    $run "$dir/a" >"$dir/out"; rc=$?
    hash=$(sed -n 's/.*hash \([0-9a-f]*\).*/\1/p' "$dir/out" | sha256sum | cut -c1-16)
    [ $rc -eq 0 ] || bad=1
    printf '%s  %s %s%s\n' "$hash" "$cc" "$*" "$([ $rc -eq 0 ] || echo '  FAILED')"
}
native=$(uname -m)
for cc in gcc clang; do
    for o in -O0 -O1 -O2 -O3; do
        try "" $cc $o
    done
    if [ "$native" = x86_64 ]; then
        grep -qw avx2 /proc/cpuinfo && for o in -O0 -O2 -O3; do try "" $cc $o -mavx2 -mfma; done
        grep -qw avx512vl /proc/cpuinfo && for o in -O2 -O3; do
            try "" $cc $o -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
        done
    fi
done
if [ "$native" = x86_64 ] && command -v qemu-aarch64 >/dev/null; then
    arm=qemu-aarch64
    [ -e /lib/ld-linux-aarch64.so.1 ] || arm="$arm -L /usr/aarch64-linux-gnu" # two loaders must not mix
    for o in -O0 -O3; do
        try "$arm" aarch64-linux-gnu-gcc $o
    done
    for bytes in 16 32 64; do
        echo "SVE, vectors of $bytes bytes:"
        try "$arm -cpu max,pauth-impdef=on,sve-default-vector-length=$bytes" \
            aarch64-linux-gnu-gcc -O3 -march=armv8.2-a+sve
    done
fi
exit $bad
