#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# plan.sh PROGRAM...: `tutti plan` as a user meets it: an answer, refusals with their sentence, JSON, the page as text.
. "$(dirname "$0")/common.bash"

ask=(plan -q --shape llama-3.1-8b --chips h100,rtx4090 --traffic "20 req/s, 1k in, 200 out")
expect 0 '<- knee' "${ask[@]}" --ttft 1s --tpot 30ms --html "$tmp/plan.html"
grep -q '</html>' "$tmp/plan.html" || fault "the page has no end"
! grep -qE '(src|href|url)[=(]|<script' "$tmp/plan.html" || fault "the page asks for something else"
"${tutti[@]}" "${ask[@]}" --ttft 1s --json 2>&1 | python3 -c '
import json, sys
plan = json.load(sys.stdin)
best = plan["chips"][0]
assert best["meets"] and best["served"]["ttft_p99"] <= 1 and best["chips"] >= 1 and best["evidence"] and plan["best"]["load"], plan
assert plan["timeline"][0]["prompt_tokens"] > 0 and plan["timeline"][0]["step_s"] > 0, plan["timeline"]
assert best["cost"]["pay"] == "buy" and best["cost"]["evidence"] == "assumed" and best["cost"]["rent_of_a_chip"]["source"] and best["expected_error_source"], best' || fault "--json"
expect 2 'write goes with --validate' "${ask[@]}" --write "$tmp/w"
expect 7 'The nearest plan' "${ask[@]}" --tpot 100us
expect 7 'Within the limits of power, cost and chips' "${ask[@]}" --ttft 1s --power 1kW
expect 0 "TP1, Q8_0" plan -q $data/tiny.gguf --chips h100 --traffic "1 req/s, 50 in, 20 out"
expect 2 "'5 penguins' is not understood" plan -q --shape llama-3.1-8b --traffic "5 penguins"
expect 2 "say for example 2s or 33ms" "${ask[@]}" --ttft soon
expect 2 "known: 16-bit" "${ask[@]}" --precision fp3
expect 8 "nobody" plan -q --shape llama-3.1-8b --chips nobody --traffic "1 req/s, 1k in, 200 out"
expect 8 "known: smollm2-135m" plan -q --shape nothing --traffic "1 req/s, 1k in, 200 out"
expect 8 "no file" plan -q --shape llama-3.1-8b --traffic /nowhere/trace.csv
expect 8 "No such file" plan -q --shape /nowhere/config.json --traffic "1 req/s, 1k in, 200 out"
expect 3 "No space left" "${ask[@]}" --ttft 1s --html /dev/full
expect 0 'guessed' plan -q --shape qwen3-1.7b --precision int8 --chips x220,h100 --assume x220:memory.rate=40 --traffic "1 users, 4 tok/s each, 96 in, 100 out" --ttft 5s
expect 8 "no chip 'x22'" "${ask[@]}" --assume x22:memory.rate=40
expect 5 "not published: memory.rate" plan -q --shape llama-3.1-8b --chips x220 --traffic "1 req/s, 1k in, 200 out"
expect 0 'across tiers' "${ask[@]}" --ttft 1s --mix --day --cut h100:rtx4090 --cluster 20000 --train 1e6 --timeline "$tmp/line.json"
python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))["traceEvents"]) > 100' "$tmp/line.json" || fault "the timeline is no JSON"
expect 7 'is not published, so that the limit cannot be checked' plan -q --shape llama-3.1-8b --chips lp30 --traffic "1 req/s, 1k in, 200 out" --power 1MW
expect 2 'say for example 50GB/s' "${ask[@]}" --mix --link fast
printf 'arrival_s,input_tokens,output_tokens\n' >"$tmp/trace.csv"
for i in $(seq 400); do echo "$i,$((i * 7 % 900 + 100)),$((i * 3 % 150 + 10))"; done >>"$tmp/trace.csv"
expect 0 'trace' plan -q --shape llama-3.1-8b --chips h100 --traffic "$tmp/trace.csv" --ttft 2s
exit $bad
