#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# digest_model.sh [-n TOKENS] [-r REF_TOKENS] [--amx TUTTI_AMX] PROGRAM TEXT MODEL...: e2e/digest.sh for models that people have. Every
# instruction set with 1, 2, 3 threads, chunks of 1, 7, 64, 512 and batches of 1 and 8 gives one hash over the logits of
# TOKENS tokens (128) of TEXT, and so does the scalar reference over its first REF_TOKENS (12: it is slow). TUTTI_AMX is
# the program of tests/amx.mk, whose tile instructions are carried out by a handler where the processor has none.
set -u
tokens=128 ref_tokens=12 amx=
while :; do
    case ${1-} in
    -n) tokens=$2; shift 2 ;;
    -r) ref_tokens=$2; shift 2 ;;
    --amx) amx=$2; shift 2 ;;
    *) break ;;
    esac
done
[ $# -ge 3 ] || { sed -n '3,6s/^# //p' "$0" >&2; exit 2; }
tutti=$1 text=$2
shift 2
unset TUTTI_ISA
bad=0

digest() { "$@" 2>&1 | cut -d' ' -f1; }

# same WANT PROGRAM OPTION...
same() {
    local want=$1 got
    shift
    got=$(digest "$@")
    runs=$((runs + 1))
    [ "$got" = "$want" ] || { echo "digest_model: $*: $got, not $want"; bad=1; }
}

sets=$("$tutti" digest -p x --isa none "$1" 2>&1 | sed -n 's/.*it has: *//p')
for model in "$@"; do
    runs=0
    args=(digest "$model" -f "$text")
    want=$(digest "$tutti" "${args[@]}" -n "$tokens")
    short=$(digest "$tutti" "${args[@]}" -n "$ref_tokens")
    [ ${#want} -ge 32 ] || { echo "digest_model: $model: $want"; exit 1; }
    for isa in $sets ${amx:+amx}; do
        program=$tutti
        [ "$isa" != amx ] || program=${amx:-$tutti}
        if [ "$isa" = ref ]; then
            same "$short" "$tutti" "${args[@]}" -n "$ref_tokens" --isa ref -t 2
            same "$short" "$tutti" "${args[@]}" -n "$ref_tokens" --isa ref -t 1 --chunk 7
            continue
        fi
        for t in 1 2 3; do same "$want" "$program" "${args[@]}" -n "$tokens" --isa "$isa" -t $t; done
        for c in 1 7 64 512; do same "$want" "$program" "${args[@]}" -n "$tokens" --isa "$isa" -t 2 --chunk $c; done
        same "$want" "$program" "${args[@]}" -n "$tokens" --isa "$isa" -t 2 --batch 8
    done
    echo "$(basename "$model"): $runs runs, instruction sets $sets${amx:+ amx (emulated)}: ${want:0:16}...$([ $bad = 0 ] || echo ' DIFFERENT')"
done
exit $bad
