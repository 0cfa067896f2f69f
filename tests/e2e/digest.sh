#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# digest.sh [--bless] [--only ISA] PROGRAM...: the promise itself. The logits of a text have the same bits on every instruction set, with
# any number of threads, any chunk and batch, and they are those of tests/data/digest.txt, on every machine. --bless writes
# that file anew, for a change of the contract (doc/arithmetic.md).
set -u
cd "$(dirname "$0")/../.." || exit 2
bless=
[ "${1-}" != --bless ] || { bless=1; shift; }
only=
[ "${1-}" != --only ] || { only=$2; shift 2; }
tutti=("$@")
golden=tests/data/digest.txt
text='The quick brown fox jumps over the lazy dog. It was 12,345 days ago; nobody counted.'
bad=0 runs=0
unset TUTTI_ISA

digest() { "${tutti[@]}" digest -p "$text" "$@" | cut -d' ' -f1; }

# same WANT MODEL OPTION...
same() {
    local want=$1 got
    shift
    got=$(digest "$@")
    runs=$((runs + 1))
    [ "$got" = "$want" ] || { echo "digest: tutti digest $*: $got, not $want"; bad=1; }
}

sets=$("${tutti[@]}" digest -p x --isa none tests/data/tiny.gguf 2>&1 | sed -n 's/.*it has: *//p')
[ -n "$sets" ] || { echo "digest: cannot list the instruction sets"; exit 1; }
if [ -n "$only" ]; then
    [[ " $sets " == *" $only "* ]] || { echo "digest: no instruction set $only, only $sets"; exit 1; }
    sets=$only
    export TUTTI_ISA=$only
fi
[ -z "$bless" ] || { grep '^#' $golden >$golden.new; }
for model in tests/data/tiny*.gguf; do
    for kv in 16 8; do
        name=$(basename "$model" .gguf)
        if [ -n "$bless" ]; then
            echo "$name $kv $(digest --kv $kv "$model")" >>$golden.new
            continue
        fi
        want=$(sed -n "s/^$name $kv //p" $golden)
        [ -n "$want" ] || { echo "digest: $golden has no line for $name $kv"; bad=1; continue; }
        for isa in $sets; do same "$want" "$model" --kv $kv --isa "$isa" -t 2; done
        same "$want" "$model" --kv $kv -t 1
        same "$want" "$model" --kv $kv -t 3 --chunk 1
        same "$want" "$model" --kv $kv -t 2 --chunk 7 --batch 3
    done
done
[ -z "$bless" ] || { mv $golden.new $golden; exit; }
[ $bad = 0 ] && echo "digest: $runs runs, instruction sets $sets"
exit $bad
