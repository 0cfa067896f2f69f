#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM...: `tutti run` as a user meets it: repeatable answers, pipes, limits, faults and their exit statuses.
. "$(dirname "$0")/common.bash"
export LC_ALL=C.UTF-8 # parts of strings are counted in characters

# same NAME ANSWER: ANSWER is that of the first call with this NAME
declare -A first
same() {
    [ -n "$2" ] || fault "$1: empty answer"
    [ -n "${first[$1]+x}" ] || first[$1]=$2
    [ "$2" = "${first[$1]}" ] || fault "$1: expected '${first[$1]}', got '$2'"
}

answer() { # MODEL ARGUMENT...
    local model=$1
    shift
    "${tutti[@]}" run "$data/$model.gguf" "$@" </dev/null || fault "run $model $*: status $?"
}

isas="ref $("${tutti[@]}" run --isa none "$data/tiny.gguf" x 2>&1 </dev/null | sed 's/.*it has://')"
[[ $isas == *ref*ref* ]] || fault "no list of instruction sets: '$isas'"
for model in tiny tiny-f16 tiny-q4_1 tiny-q4_k; do
    for isa in $isas; do
        same "$model greedy" "$(answer $model "the work goes on" -n 24 --greedy --isa "$isa" --threads 1)"
        same "$model seed 7" "$(answer $model "the work goes on" -n 24 --seed 7 --temperature 1 --isa "$isa" --threads 2)"
    done
    same "$model greedy" "$(answer $model "the work goes on" -n 24 --greedy --threads 3 -b 3)"
    same "$model greedy" "$(answer $model "the work goes on" -n 24 --temperature 0 --seed 9)"
    same "$model seed 7" "$(answer $model "the work goes on" -n 24 --seed 7 --temperature 1 --threads 3 -b 1)"
    [ "${first[$model greedy]}" != "${first[$model seed 7]}" ] || fault "$model: a drawn answer equals the greedy one"
    [ "$(answer $model "the work goes on" -n 24 --seed 8 --temperature 1)" != "${first[$model seed 7]}" ] || fault "$model: two seeds, one answer"
done

# A random seed is shown, and gives the same answer again.
answer_v=$("${tutti[@]}" run $data/tiny.gguf "a b" -n 16 --temperature 1 -v 2>"$tmp/v" </dev/null)
seed=$(sed -n 's/^seed: *\([0-9]*\).*/\1/p' "$tmp/v")
[ "$answer_v" = "$(answer tiny "a b" -n 16 --temperature 1 --seed "$seed")" ] || fault "seed $seed of -v does not repeat the answer"
for line in load prompt answer context seed kernels memory; do
    grep -q "^$line:" "$tmp/v" || fault "-v prints no line '$line:'"
done

# Pipes: standard input alone, by -, after words; one newline at the end is dropped.
plain=$(answer tiny "one two" -n 12)
[ "$(printf 'one two\n' | "${tutti[@]}" run $data/tiny.gguf -n 12 -)" = "$plain" ] || fault "standard input by '-'"
[ "$(printf 'one two' | "${tutti[@]}" run $data/tiny.gguf -n 12)" = "$plain" ] || fault "standard input without a prompt"
[ "$(answer tiny one two -n 12)" = "$plain" ] || fault "words are not joined by a space"
[ "$(printf 'two\n' | "${tutti[@]}" run $data/tiny.gguf -n 12 one -)" = "$(answer tiny $'one\n\ntwo' -n 12)" ] || fault "prompt and standard input"
[ "$(printf '\xff\xfe' | "${tutti[@]}" run $data/tiny.gguf -n 4 -)" = "$(answer tiny $'\xef\xbf\xbd\xef\xbf\xbd' -n 4)" ] || fault "broken UTF-8 is not U+FFFD"
expect 2 'given twice' run $data/tiny.gguf - -
"${tutti[@]}" run $data/tiny.gguf x -n 200 --raw >/dev/full 2>"$tmp/full" </dev/null && fault "/dev/full: status 0"
grep -q 'cannot write the answer: No space left' "$tmp/full" || fault "/dev/full: $(cat "$tmp/full")"
# Nobody gave it files 0 and 1: a pipe or file of its own must not become its output.
timeout 60 "${tutti[@]}" run $data/tiny.gguf x -n 2 --raw <&- >&- 2>"$tmp/full"
[ $? = 3 ] && grep -q 'cannot write the answer: Bad file' "$tmp/full" || fault "without files 0 and 1: $(cat "$tmp/full")"
# A reader that goes away ends the program without a word.
(sleep 0.3; "${tutti[@]}" run $data/tiny.gguf x -n 400 --raw --temperature 1 2>"$tmp/pipe" </dev/null; echo $? >"$tmp/status") | :
[ -s "$tmp/pipe" ] && fault "closed pipe: $(cat "$tmp/pipe")"
[ "$(cat "$tmp/status")" = 141 ] || fault "closed pipe: status $(cat "$tmp/status")"

# The template, the system message, and none of them.
[ "$(answer tiny "x y" -n 8 --system "the end" --greedy)" != "$(answer tiny "x y" -n 8 --system "" --greedy)" ] || fault "--system changes nothing"
[ "$(answer tiny "x y" -n 8 --raw --greedy)" != "$(answer tiny "x y" -n 8 --greedy)" ] || fault "--raw changes nothing"

# Stop strings: nothing from the first one on appears, however the answer is cut into tokens.
long=$(answer tiny "the work" --raw -n 40 --greedy)
for stop in "${long:5:2}" "${long:9:1}" "${long:12:5}"; do
    got=$(answer tiny "the work" --raw -n 40 --greedy --stop "$stop" --stop "never there")
    [ "$got" = "${long%%"$stop"*}" ] || fault "--stop '$stop': got '$got' of '$long'"
done
expect 2 'a stop string is empty' run $data/tiny.gguf x --stop ''

# Limits and faults.
expect 7 'context 16: no room for an answer' run $data/tiny.gguf --raw --ctx 16 "$(printf 'x %.0s' {1..60})"
expect 0 'the context of 16 tokens is full' run $data/tiny.gguf --raw --ctx 16 --ignore-end --temperature 1 --seed 3 "x"
expect 2 'takes a number in 0..100' run $data/tiny.gguf --temperature hot x
expect 2 'takes a number in 0..1' run $data/tiny.gguf --top-p 2 x
expect 2 'temperature 1e-09 is too small' run $data/tiny.gguf --temperature 1e-9 x
expect 2 "option '--nonsense'" run $data/tiny.gguf --nonsense x
expect 2 'expected a MODEL' run
expect 2 'the prompt is empty' run $data/tiny.gguf ''
expect 2 '--raw leaves out' run $data/tiny.gguf --raw --system A x
expect 2 'instruction set' run $data/tiny.gguf --isa none x
expect 8 'tutti pull' run no-such-model x
for cut in 10 1000 60000 154000; do
    head -c $cut $data/tiny.gguf >"$tmp/cut.gguf"
    expect 4 'cut.gguf' run "$tmp/cut.gguf" x
done
expect 4 'README' run README.md x
expect 0 'usage: tutti run' run --help

if command -v python3 >/dev/null; then
    python3 tests/e2e/chat.py "${tutti[@]}" || bad=1
    python3 tests/e2e/thoughts.py "${tutti[@]}" || bad=1
else
    echo "run: chat, signals and thoughts *skipped*: no python3"
fi

[ $bad = 0 ] && echo "run: ok"
exit $bad
