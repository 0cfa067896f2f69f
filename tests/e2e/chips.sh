#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# chips.sh PROGRAM...: every chip that has a datasheet gives the CPU's bits, its figures are shown, and tutti sim gives times, or says
# what is missing or how many chips it takes.
. "$(dirname "$0")/common.bash"
text='The quick brown fox'
want=$("${tutti[@]}" digest $data/tiny.gguf -p "$text")
said=$("${tutti[@]}" run $data/tiny.gguf --raw --greedy -n 8 "$text" 2>/dev/null)
mapfile -t chips < <("${tutti[@]}" chips --json | sed -n 's/.*"name": "\([^"]*\)".*/\1/p')
[ "${#chips[@]}" -ge 30 ] || fault "only ${#chips[@]} chips"
for chip in "${chips[@]}"; do
    expect 0 "$want" digest $data/tiny.gguf -p "$text" --chip "$chip"
    [ "$("${tutti[@]}" run $data/tiny.gguf --raw --greedy -n 8 --chip "$chip" "$text" 2>/dev/null)" = "$said" ] || fault "run --chip $chip: other text than the CPU's"
    expect 0 '' chips "$chip"
done
expect 0 'tokens:' run $data/tiny.gguf --raw --greedy -n 3 -v --chip h100:2 a b
expect 0 'n/p: x220' run $data/tiny.gguf --raw --greedy -n 3 -v --chip x220 a b
expect 8 'no chip' run $data/tiny.gguf --raw -n 3 --chip abacus a
for shape in llama-3.1-8b llama-3.3-70b mixtral-8x7b grok-1; do
    rows=$("${tutti[@]}" sim --shape $shape --chip all --precision fp8) || fault "sim of $shape"
    [ "$(wc -l <<<"$rows")" -ge 32 ] || fault "sim of $shape: $rows"
done
expect 0 'tokens/s/user' sim --shape llama-3.1-8b --chip wse3
expect 0 '"tokens_per_s"' sim $data/tiny.gguf --chip tpuv6e:4 --json
expect 0 'launch:  body' sim $data/tiny.gguf --chip lpu
expect 0 'room for 41' sim --shape llama-3.1-8b --chip rtx4090 # 41,408 tokens resolved by vLLM 0.19
expect 7 '4 chips do' sim --shape llama-3.3-70b --chip h100
expect 5 'memory.rate (GB/s)' sim --shape llama-3.1-8b --chip x220:4
expect 0 'give it by --assume memory.rate=VALUE' chips x220
expect 0 'LPDDR4 of unstated width; give it by' sim --shape llama-3.1-8b --precision fp8 --chip all
expect 0 'guessed' sim --shape qwen3-1.7b --precision int8 --chip x220 --assume memory.rate=40
expect 2 'expected NAME or NAME:N' sim --shape llama-3.1-8b --chip h100:many
expect 0 'conforming' conform --type Q4_K
conform=$("${tutti[@]}" conform --type Q8_0 --chip all) || fault "conform --chip all: $conform"
[ "$(grep -c '^conforming: ' <<<"$conform")" = "${#chips[@]}" ] || fault "conform --chip all: not a line for each of ${#chips[@]} chips: $conform"
expect 0 'wse3 gives the bits of contract' conform --type Q4_0 --chip wse3,h100
expect 8 "no chip 'abacus'" conform --chip wse3,abacus
expect 2 'Q9' conform --type Q9 --chip cpu,lpu
exit $bad
