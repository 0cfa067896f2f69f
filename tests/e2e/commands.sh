#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# commands.sh PROGRAM...: what every command owes its user: --help, a manual page, a full disk told; then explain, bench, ppl.
. "$(dirname "$0")/common.bash"
m=$data/tiny.gguf

commands=$("${tutti[@]}" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
for name in run inspect tokenize explain bench ppl digest pull list rm version help; do
    [[ $'\n'$commands$'\n' == *$'\n'$name$'\n'* ]] || fault "'tutti help' lacks $name"
done
for name in $commands; do
    expect 0 "usage: tutti $name [options]" "$name" --help
    expect 0 "usage: tutti $name [options]" help "$name"
    expect 0 "tutti-$name - " "$name" --man
    expect 2 "'tutti $name --help' lists the options" "$name" --nonsense
    "${tutti[@]}" "$name" --help 2>"$tmp/err" >/dev/full && fault "$name --help on a full disk: status 0"
    grep -q "tutti $name: cannot write to standard output: No space left" "$tmp/err" || fault "$name --help on a full disk: $(cat "$tmp/err")"
done
expect 0 'tutti(1)' --man
expect 0 'usage: tutti COMMAND' --help
expect 0 'contract NC1 ' --version
expect 2 "takes no words, got 'x'" version x
expect 2 'takes one COMMAND' help run list
expect 2 "unknown command 'dance'" help dance
full() {
    "${tutti[@]}" "$@" 2>"$tmp/err" >/dev/full </dev/null
    [ $? = 3 ] && grep -q 'No space left' "$tmp/err" || fault "$* on a full disk: $(cat "$tmp/err")"
}
full version
full inspect $m
full digest -p x $m
full tokenize $m x

expect 0 'kernels' explain $m
expect 0 'body  attend' explain $m
expect 2 'takes one MODEL' explain

# ppl: over LICENSE, and its distance from what it wrote itself, which is none; a reference of other windows is refused.
"${tutti[@]}" ppl $m LICENSE -w 64 -n 2 --save "$tmp/ref.npy" --json >"$tmp/ppl" || fault "ppl: status $?"
expect 0 'same top 100.00 %' ppl $m LICENSE -w 64 -n 2 --kld "$tmp/ref.npy"
expect 0 'same top 100.00 %' ppl $m LICENSE -w 64 -n 1 --kld "$tmp/ref.npy"
expect 0 '"kld_median": ' ppl $m LICENSE -w 64 -n 1 --kv 8 --json --kld "$tmp/ref.npy"
expect 11 '62 rows are no whole windows of 32 tokens, 15 rows each' ppl $m LICENSE -w 32 -n 2 --kld "$tmp/ref.npy"
expect 11 'expected at least 93 rows of 512, got 62 of 512' ppl $m LICENSE -w 64 -n 3 --kld "$tmp/ref.npy"
expect 4 'not a .npy file' ppl $m LICENSE -w 64 --kld LICENSE
expect 2 'less than one window' ppl $m /dev/null
expect 2 'takes MODEL and FILE' ppl $m
expect 3 'cannot open' ppl $m "$tmp/none"

# bench: a row per length, depth and number of sequences; llama-bench's names.
bench=(bench $m -p 4,8 -n 2 -d 0,16 -s 1,3 -r 2)
expect 0 'pp8 x 3 @ d16' "${bench[@]}"
"${tutti[@]}" "${bench[@]}" --json >"$tmp/json" || fault "bench --json: status $?"
"${tutti[@]}" "${bench[@]}" --csv >"$tmp/csv" || fault "bench --csv: status $?"
if command -v python3 >/dev/null; then
    python3 - "$tmp" <<'PY' || bad=1
import csv, json, statistics, sys
tmp = sys.argv[1]
rows = json.load(open(tmp + '/json'))
table = list(csv.DictReader(open(tmp + '/csv')))
want = [(p, n, d, s) for d in (0, 16) for s in (1, 3) for p, n in ((4, 0), (8, 0), (0, 2))]
bad = []
for what, got in (('json', rows), ('csv', table)):
    key = lambda r: tuple(int(r[k]) for k in ('n_prompt', 'n_gen', 'n_depth', 'n_seqs'))
    if sorted(map(key, got)) != sorted(want): bad.append(f'{what}: rows {list(map(key, got))}')
for r in rows:
    tokens = (r['n_prompt'] + r['n_gen']) * r['n_seqs']
    if len(r['samples_ns']) != 2 or len(r['samples_ts']) != 2: bad.append(f'samples of {r}')
    for ns, ts in zip(r['samples_ns'], r['samples_ts']):
        if abs(tokens / ns * 1e9 / ts - 1) > 0.01: bad.append(f'{tokens} tokens in {ns} ns are not {ts}/s')
    if abs(statistics.mean(r['samples_ts']) / r['avg_ts'] - 1) > 0.01: bad.append(f'avg_ts of {r}')
p = json.load(open(tmp + '/ppl'))
if (p['windows'], p['window'], p['scored']) != (2, 64, 62) or not 1 < p['perplexity'] < 1e6: bad.append(f'ppl: {p}')
for what in bad: print('commands:', what)
sys.exit(bool(bad))
PY
else
    echo "commands: JSON and CSV *skipped*: no python3 to read them"
fi
[ $bad = 0 ] && echo "commands: ok"
exit $bad
