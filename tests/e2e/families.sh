#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# families.sh [--bless] PROGRAM...: every family of tools/gen-family.py. Its tiny model is generated here; its logits agree
# with an f64 reference (tests/oracle/families.py), and their bits are the same on every instruction set, with any number of
# threads, chunk and batch, and those of tests/data/families.txt, on every machine. --bless writes that file anew.
set -u
cd "$(dirname "$0")/../.." || exit 2
bless=
[ "${1-}" != --bless ] || { bless=1; shift; }
tutti=("$@") golden=tests/data/families.txt bad=0 runs=0 families=0
unset TUTTI_ISA
if ! python3 -c 'import numpy' 2>/dev/null; then
    echo "*skipped*: the models are made with numpy (python3 -m pip install numpy)"
    exit 0
fi
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
python3 tools/gen-family.py "$dir" >"$dir/names" || exit 1
head -c 4000 LICENSE >"$dir/text.txt"
python3 tests/oracle/families.py "${tutti[*]}" "$dir" || { echo "families: logits differ from the reference"; bad=1; }

# check NAME WANT OPTION...
check() {
    local name=$1 want=$2 got
    shift 2
    got=$("${tutti[@]}" digest -f "$dir/text.txt" -n 140 "$@" "$dir/$name.gguf" | cut -d' ' -f1)
    runs=$((runs + 1))
    [ "$got" = "$want" ] || { echo "families: $name: tutti digest $*: $got, not $want"; bad=1; }
}

sets=$("${tutti[@]}" digest -p x --isa none tests/data/tiny.gguf 2>&1 | sed -n 's/.*it has: *//p')
[ -n "$sets" ] || { echo "families: cannot list the instruction sets"; exit 1; }
[ -z "$bless" ] || { grep '^#' $golden >$golden.new; }
while read -r name; do
    families=$((families + 1))
    model=$(sha256sum "$dir/$name.gguf" | cut -c1-16)
    for kv in 16 8; do
        own=$("${tutti[@]}" digest -f "$dir/text.txt" -n 140 --kv $kv -t 2 "$dir/$name.gguf" | cut -d' ' -f1)
        [ -z "$bless" ] || { echo "$name $model $kv $own" >>$golden.new; continue; }
        want=$(sed -n "s/^$name $model $kv //p" $golden)
        [ -n "$want" ] || { echo "families: $golden has no line '$name $model $kv' (another numpy may make another model)"; want=$own; }
        check "$name" "$want" --kv $kv -t 3 --chunk 7 --batch 3 --experts-memory 200K # part of the experts stays on disk
        [ $kv = 16 ] || { check "$name" "$want" --kv $kv -t 1 --isa ref; continue; }
        check "$name" "$want" -t 1 --chunk 1
        for isa in $sets; do check "$name" "$want" --isa "$isa" -t 2; done
    done
done <"$dir/names"
# Factors of rotation for short contexts: those of the context in use, whatever the file's is.
check phi3 "$("${tutti[@]}" digest -f "$dir/text.txt" -n 100 "$dir/phi3-short.gguf" | cut -d' ' -f1)" --ctx 128 -n 100
[ -z "$bless" ] || { mv $golden.new $golden; exit; }
[ $bad = 0 ] && echo "families: $families families, $runs runs, instruction sets $sets"
exit $bad
