#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# quantize.sh PROGRAM...: `tutti quantize` as a user meets it: the same bytes with any number of threads and as in tests/data,
# files that run, refusals, and nothing left behind by an interrupt. tests/data/tiny-n4.gguf itself runs in digest.sh.
. "$(dirname "$0")/common.bash"

expect 0 '' quantize $data/tiny-f16.gguf "$tmp/n4.gguf" --type n4 --head n4 -q -t 1
cmp "$tmp/n4.gguf" $data/tiny-n4.gguf || fault "N4 of tiny-f16 is not tests/data/tiny-n4.gguf"
expect 2 'exists; --force' quantize $data/tiny-f16.gguf "$tmp/n4.gguf" --type n4
expect 0 '' quantize $data/tiny-f16.gguf "$tmp/n4.gguf" --type n4 --head n4 -q -t 3 --force
cmp "$tmp/n4.gguf" $data/tiny-n4.gguf || fault "N4 by three threads differs"
"${tutti[@]}" inspect "$tmp/n4.gguf" | grep -q 'tutti.n4.version *1' || fault "no key tutti.n4.version"

# A text for importance: other bytes, the same ones with any number of threads.
head -c 3000 README.md >"$tmp/text"
expect 0 '' quantize $data/tiny-f16.gguf "$tmp/im1.gguf" --type n4 -q -t 1 --imatrix-text "$tmp/text"
expect 0 '' quantize $data/tiny-f16.gguf "$tmp/im3.gguf" --type n4 -q -t 3 --imatrix-text "$tmp/text"
cmp "$tmp/im1.gguf" "$tmp/im3.gguf" || fault "importance depends on the number of threads"
cmp -s "$tmp/im1.gguf" "$tmp/n4.gguf" && fault "importance changes nothing"

# What it costs.
for type in q8_0 n4 q4_0; do
    "${tutti[@]}" quantize $data/tiny-f16.gguf "$tmp/r.gguf" --type $type --head $type -q --force --report --kld-text README.md --windows 1 >"$tmp/r.$type" || fault "--report: $type"
done
awk -v q8="$(sed -n 's/^kld \([0-9.e-]*\) .*/\1/p' "$tmp/r.q8_0")" -v n4="$(sed -n 's/^kld \([0-9.e-]*\) .*/\1/p' "$tmp/r.n4")" \
    'BEGIN { exit !(q8 > 0 && n4 > 20 * q8) }' || fault "divergence of N4 and Q8_0: $(tail -qn 1 "$tmp"/r.*)"
awk '/^all tensors/ { exit !($4 < 4.6 && $5 > 5 && $5 < 10) }' "$tmp/r.n4" || fault "--report of N4: $(grep '^all' "$tmp/r.n4")"
grep -q '^blk.0.attn_q.weight *F16 *N4 ' "$tmp/r.n4" || fault "--report lists no matrices"

# Every type runs, and comes back by --allow-requantize.
for type in q4_0 q4_1 q5_0 q5_1 q8_0 iq4_nl q4_k q5_k q6_k q4_k_m bf16 f32; do
    expect 0 '' quantize $data/tiny-f16.gguf "$tmp/$type.gguf" --type $type -q
    "${tutti[@]}" digest "$tmp/$type.gguf" -p 'a text' >"$tmp/d.$type" || fault "$type does not run"
done
cut -d' ' -f1 "$tmp"/d.* | sort | uniq -d | grep -q . && [ "$(cut -d' ' -f1 "$tmp"/d.* | sort -u | wc -l)" -lt 7 ] && fault "types give the same logits"
expect 2 'is N4 already' quantize "$tmp/n4.gguf" "$tmp/again.gguf" --type q8_0
[ -e "$tmp/again.gguf" ] || [ -e "$tmp/again.gguf.part" ] && fault "a refusal leaves a file"
expect 0 '' quantize "$tmp/n4.gguf" "$tmp/again.gguf" --type q8_0 --allow-requantize -q
# float32 holds every float16: back again is the same file but for what the keys say of types
expect 0 '' quantize "$tmp/f32.gguf" "$tmp/f16.gguf" --type f16 -q
[ "$("${tutti[@]}" digest "$tmp/f16.gguf" -p 'a text')" = "$("${tutti[@]}" digest $data/tiny-f16.gguf -p 'a text')" ] || fault "F16 by way of F32 differs"

expect 2 'takes IN and OUT' quantize $data/tiny-f16.gguf
expect 2 '--type is missing' quantize $data/tiny-f16.gguf "$tmp/x.gguf"
expect 2 '--type q2_k: known are' quantize $data/tiny-f16.gguf "$tmp/x.gguf" --type q2_k
expect 2 'is the input' quantize "$tmp/f16.gguf" "$tmp/../$(basename "$tmp")/f16.gguf" --type n4 --force
expect 3 'cannot create' quantize $data/tiny-f16.gguf "$tmp/no/x.gguf" --type n4
expect 4 '' quantize README.md "$tmp/x.gguf" --type n4
if [ -w /dev/full ]; then
    ln -s /dev/full "$tmp/full.gguf.part"
    expect 3 'No space left' quantize $data/tiny-f16.gguf "$tmp/full.gguf" --type n4 -q
    [ -e "$tmp/full.gguf.part" ] || [ -e "$tmp/full.gguf" ] && fault "a full disk leaves a file"
fi
[ $bad = 0 ] && echo "quantize: ok"
exit $bad
