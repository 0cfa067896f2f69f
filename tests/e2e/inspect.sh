#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# inspect.sh PROGRAM...: `tutti inspect` and `tutti tokenize` as a user meets them.
. "$(dirname "$0")/common.bash"

for model in tiny tiny-f16 tiny-q4_1 tiny-q4_k; do
    expect 0 'this build can run it' inspect $data/$model.gguf
    "${tutti[@]}" inspect $data/$model.gguf --json --tensors --all >"$tmp/$model.json" || fault "$model: --json"
done
expect 0 'llama.context_length' inspect $data/tiny.gguf
expect 0 'token_embd.weight' inspect $data/tiny.gguf --tensors
expect 0 '... 512 in all]' inspect $data/tiny.gguf
expect 0 ' 300 ' inspect $data/tiny.gguf --ctx 300
# More threads take more memory, attention's; what `explain` finds after loading is that.
buffers() { "${tutti[@]}" "$@" | sed -n 's/.*buffers [^0-9]*[0-9 a-z]*tokens \([0-9.]*\)$/\1/p; s/.*packed, buffers \([0-9.]*\) MiB$/\1/p'; }
one=$(buffers inspect $data/tiny.gguf -t 1) two=$(buffers inspect $data/tiny.gguf -t 2)
awk "BEGIN { exit !($two > $one) }" || fault "buffers of one thread $one MiB, of two $two"
expect 2 'this model takes 1..2048' inspect $data/tiny.gguf --ctx 4096
expect 2 'takes one MODEL' inspect
expect 8 'tutti pull' inspect no-such-model
expect 4 'README' inspect README.md
head -c 100000 $data/tiny.gguf >"$tmp/cut.gguf"
expect 4 "tensor 'blk" inspect "$tmp/cut.gguf"

# An unknown architecture is shown all the same; control characters do not reach the terminal.
LC_ALL=C sed 's/llama/lloma/g' $data/tiny.gguf >"$tmp/other.gguf"
expect 0 'lloma.context_length' inspect "$tmp/other.gguf" --tensors
expect 0 "cannot run it: " inspect "$tmp/other.gguf"
expect 0 '"runnable": false' inspect "$tmp/other.gguf" --json
LC_ALL=C sed 's/im_start/im\x1b[31m\xff/' $data/tiny.gguf >"$tmp/escape.gguf"
expect 0 '<|im\u001b[31m\xff|>' inspect "$tmp/escape.gguf" --all
"${tutti[@]}" inspect "$tmp/escape.gguf" --tensors --all | LC_ALL=C grep -q '[[:cntrl:]]' && fault "control characters are printed"
LC_ALL=C sed 's/general\.name/general\x07nam/' $data/tiny.gguf >"$tmp/escape.gguf"
expect 4 'control characters' inspect "$tmp/escape.gguf"

# A weight type that the engine does not compute with is named, with what to do: type 8 (Q8_0) becomes 24 (I8).
cp $data/tiny.gguf "$tmp/i8.gguf"
at=$(LC_ALL=C grep -abo 'blk.0.attn_q.weight' "$tmp/i8.gguf" | head -1 | cut -d: -f1)
printf '\x18' | dd of="$tmp/i8.gguf" bs=1 seek=$((at + 19 + 4 + 16)) conv=notrunc status=none
expect 0 "cannot run it: tensor 'blk.0.attn_q.weight': weight type I8 is not supported; take the model in" inspect "$tmp/i8.gguf"

# README's table of families is what the program says.
"${tutti[@]}" inspect --families >"$tmp/families" || fault "--families: status $?"
sed -n '/^| architecture /,/^$/p' README.md | sed '/^$/d' | diff - "$tmp/families" >"$tmp/diff" ||
    fault "README.md's table of families differs from 'tutti inspect --families': $(cat "$tmp/diff")"

# Text to ids and back.
text=$'The cat, \xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xf0\x9f\x98\x80\n\tand "more" \\ <|im_end|>'
for model in tiny tiny-q4_k; do
    m=$data/$model.gguf
    ids=$("${tutti[@]}" tokenize $m --ids --bare "$text") || fault "tokenize --ids: status $?"
    [ "$("${tutti[@]}" tokenize $m --decode $ids)" = "$text" ] || fault "$model: ids do not give the text again"
    [ "$("${tutti[@]}" tokenize $m --decode "[${ids//$'\n'/, }]")" = "$text" ] || fault "$model: a list in brackets"
    [ "$(printf %s "$text" | "${tutti[@]}" tokenize $m --ids --bare -)" = "$ids" ] || fault "$model: standard input"
    printf %s "$text" >"$tmp/text"
    [ "$("${tutti[@]}" tokenize $m --ids --bare --file "$tmp/text")" = "$ids" ] || fault "$model: --file"
    [ "$("${tutti[@]}" tokenize $m --bare "$text" | awk '{ print $1 }')" = "$ids" ] || fault "$model: the table's ids"
    "${tutti[@]}" tokenize $m --bare --json "$text" >"$tmp/$model.tokens" || fault "tokenize --json"
    n=$("${tutti[@]}" tokenize $m --ids --bare "<|im_end|>" | wc -l)
    [ "$n" -gt 1 ] || fault "$model: text became a control token"
    n=$("${tutti[@]}" tokenize $m --ids --bare --special "<|im_end|>" | wc -l)
    [ "$n" = 1 ] || fault "$model: --special does not know <|im_end|>"
done
special=$("${tutti[@]}" tokenize $data/tiny.gguf --ids --bare --special "<|im_end|>")
[ "$("${tutti[@]}" tokenize $data/tiny.gguf --decode "$special" --special)" = "<|im_end|>" ] || fault "--decode --special"
[ -z "$("${tutti[@]}" tokenize $data/tiny.gguf --decode "$special")" ] || fault "--decode prints control tokens"
expect 2 "'x' is no token id" tokenize $data/tiny.gguf --decode x
expect 2 'outside the vocabulary of 512' tokenize $data/tiny.gguf --decode 512
expect 2 'expected a MODEL' tokenize
expect 2 'not both' tokenize $data/tiny.gguf --file "$tmp/text" x
expect 3 'cannot open' tokenize $data/tiny.gguf --file "$tmp/none"
expect 0 '"tokens": [' tokenize $data/tiny.gguf --json x

if command -v python3 >/dev/null; then
    python3 - "$tmp" "$text" <<'PY' || bad=1
import json, os, sys
tmp, text = sys.argv[1:]
bad = []
for model in 'tiny', 'tiny-f16', 'tiny-q4_1', 'tiny-q4_k':
    d = json.load(open(f'{tmp}/{model}.json'))
    mem = d['memory']
    if d['parameters'] != sum(__import__('math').prod(t['shape']) for t in d['tensors']): bad.append(f'{model}: parameters')
    if d['tensor_bytes'] != sum(t['bytes'] for t in d['tensors']): bad.append(f'{model}: tensor bytes')
    if sum(t['tensors'] for t in d['types'].values()) != len(d['tensors']): bad.append(f'{model}: types')
    if d['file_bytes'] != os.path.getsize(f'tests/data/{model}.gguf'): bad.append(f'{model}: file bytes')
    if not (mem['weights_bytes'] > 0 and mem['contexts'][0]['kv16_bytes'] > mem['contexts'][0]['kv8_bytes'] > 0): bad.append(f'{model}: memory')
    if len(d['metadata']['tokenizer.ggml.tokens']) != d['metadata']['llama.vocab_size']: bad.append(f'{model}: --all')
for model in 'tiny', 'tiny-q4_k':
    d = json.load(open(f'{tmp}/{model}.tokens'))
    joined = b''.join(bytes(t['piece']) if isinstance(t['piece'], list) else t['piece'].encode() for t in d['tokens'])
    if joined != text.encode() or d['n'] != len(d['tokens']): bad.append(f'{model}: pieces give {joined}')
for what in bad: print('inspect:', what)
sys.exit(bool(bad))
PY
else
    echo "inspect: JSON *skipped*: no python3 to read it"
fi

[ $bad = 0 ] && echo "inspect: ok"
exit $bad
