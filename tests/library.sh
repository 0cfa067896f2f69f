#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# library.sh STAGE: uses what `make install DESTDIR=STAGE prefix=/usr` put there as a stranger would: the header alone, what
# the libraries export, and the README's C example against the shared and the static library. CC, RUN, PKG_CONFIG: as in
# the Makefile.
set -u
cd "$(dirname "$0")/.." || exit
stage=$1 out=$1/work bad=0
mkdir -p "$out"
fail() {
    echo "library: $*"
    bad=1
}
read -ra cc <<<"$CC"
read -ra run <<<"$RUN"

# The header, on its own.
printf '#include <tutti.h>\n' | "${cc[@]}" -std=c11 -pedantic -Wall -Wextra -Werror -I"$stage/usr/include" -x c -c -o "$out/alone.o" - ||
    fail 'tutti.h does not compile alone as C11'

# Exports: tutti_* only, and every function of the header.
nm -D --defined-only "$stage/usr/lib/libtutti.so" | awk '$2 != "A" {print $3}' | sort >"$out/so"
nm -g --defined-only "$stage/usr/lib/libtutti.a" | awk 'NF == 3 {print $3}' | sort >"$out/a"
grep -oE '[ *]tutti_[a-z_]+\(' include/tutti.h | tr -d ' *(' | grep -v '_fn$' | sort -u >"$out/declared"
for f in so a; do
    others=$(grep -v '^tutti_' "$out/$f" | grep -vE '^(_init|_fini|__asan|__odr_asan|__gcov|__llvm|__prof|_edata|_end|__bss_start)')
    [ -z "$others" ] || fail "lib.$f exports:" $others
    lacks=$(comm -13 "$out/$f" "$out/declared")
    [ -z "$lacks" ] || fail "lib.$f lacks:" $lacks
done
readelf -d "$stage/usr/lib/libtutti.so" | grep -E 'NEEDED.*(microhttpd|sqlite|libpq|curl|edit)' && fail 'libtutti.so needs libraries of the server'
readelf -d "$stage/usr/lib/libtutti.so" | grep -q 'SONAME.*libtutti.so.0' || fail 'libtutti.so has no soname libtutti.so.0'

# The README's example: the first ```c block.
awk '/^```c$/ {on = 1; next} /^```$/ && on {exit} on' "$stage/usr/share/doc/tutti/README.md" >"$out/example.c"
export PKG_CONFIG_PATH=$stage/usr/lib/pkgconfig
pc() { env PKG_CONFIG_PATH="$PKG_CONFIG_PATH" $PKG_CONFIG --define-variable=prefix="$stage/usr" "$@"; }
read -ra flags <<<"$(pc --cflags --libs tutti)"
if "${cc[@]}" -std=c11 -pedantic -Wall -Wextra -Werror -o "$out/example" "$out/example.c" "${flags[@]}"; then
    text=$(LD_LIBRARY_PATH=$stage/usr/lib "${run[@]}" "$out/example" tests/data/tiny.gguf) || fail "the example ended with status $?"
    [ -n "$text" ] || fail 'the example printed nothing'
else
    fail 'the example does not compile against libtutti.so'
fi
# The static library beside shared ones: what `pkg-config --static` lists is for programs that are static as a whole.
mapfile -t needs < <(pc --print-requires-private tutti)
read -ra flags <<<"$(pc --cflags tutti) $stage/usr/lib/libtutti.a $(pc --libs "${needs[@]}") -lpthread -lm"
if "${cc[@]}" -std=c11 -o "$out/example-static" "$out/example.c" "${flags[@]}"; then
    [ "$("${run[@]}" "$out/example-static" tests/data/tiny.gguf)" = "${text-}" ] || fail 'the static library gives other text than the shared one'
else
    fail 'the example does not compile against libtutti.a'
fi
[ "$(LD_LIBRARY_PATH=$stage/usr/lib "${run[@]}" "$out/example" /nowhere.gguf 2>&1)" != "" ] || fail 'the example is silent about a missing file'

if command -v scdoc >/dev/null; then
    for m in tutti $("${run[@]}" "$stage/usr/bin/tutti" help | sed -n 's/^  \([a-z]*\) .*/tutti-\1/p'); do
        [ -s "$stage/usr/share/man/man1/$m.1" ] || fail "no manual page for $m"
    done
fi
[ $bad = 0 ] && echo "library: ok, $(wc -l <"$out/declared") functions"
exit $bad
