#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# folder.sh PROGRAM...: folders of safetensors against the GGUF file of the same model. tools/gen-folder.py writes each tiny
# family as it would have been published; both must give the same digest, in several shards, in BF16 or F32, with data at odd
# places. Then inspect, tokenize and quantize of a folder.
set -u
cd "$(dirname "$0")/../.." || exit 2
tutti=("$@") bad=0 runs=0
if ! python3 -c 'import numpy' 2>/dev/null; then
    echo "*skipped*: the models are made with numpy (python3 -m pip install numpy)"
    exit 0
fi
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
python3 tools/gen-family.py "$dir" >"$dir/names" || exit 1
head -c 400 LICENSE >"$dir/text.txt"

fail() { echo "folder: $*"; bad=1; }
digest() { "${tutti[@]}" digest -f "$dir/text.txt" -n 60 -t 1 "$@" 2>&1 | cut -d' ' -f1; }

# same NAME FAMILY OPTION...: the folder of NAME made with these options has the digest of its file
same() {
    local name=$1 family=$2 want got
    shift 2
    rm -rf "$dir/$name"
    python3 tools/gen-folder.py "$dir/$name.gguf" "$dir/$name" --name "$family" "$@" || { bad=1; return; }
    want=$(digest "$dir/$name.gguf") got=$(digest "$dir/$name")
    runs=$((runs + 1))
    [ "${#want}" = 64 ] && [ "$want" = "$got" ] || fail "$name $*: the folder gives $got, the file $want"
}

while read -r name; do
    case $name in
    chatglm | mixtral-old | phi3-short | *-k) ;; # never published so
    grok) ;; # Grok 1 was not published as safetensors
    gpt-oss-mxfp4) same "$name" gpt-oss ;;
    *) same "$name" "$name" ;;
    esac
done <"$dir/names"
same mixtral mixtral --shards 3 --odd --merges pairs
same gpt-oss gpt-oss --shards 2 --odd
same llama llama --type F32
same grok2 grok2 --odd
mv "$dir/grok2/pytorch_model-00007-TP-003.safetensors" "$dir/piece"
"${tutti[@]}" inspect "$dir/grok2" 2>&1 | grep -q 'ffn_down_exps' || fail "a missing piece of Grok 2: $("${tutti[@]}" inspect "$dir/grok2" 2>&1)"
python3 tools/gen-family.py "$dir" qwen3 llama --type BF16 >/dev/null && same qwen3 qwen3 --type BF16 && same llama llama --type BF16 --odd

# published NAME METHOD: projections as METHOD publishes them against a file with the same numbers
published() {
    local want got
    rm -rf "$dir/q"
    python3 tools/gen-folder.py "$dir/$1.gguf" "$dir/q" --name "$1" --quant "$2" --file "$dir/q.gguf" || { bad=1; return; }
    want=$(digest "$dir/q.gguf") got=$(digest "$dir/q")
    runs=$((runs + 1))
    [ "${#want}" = 64 ] && [ "$want" = "$got" ] || fail "$1 $2: the folder gives $got, the file $want"
}
python3 tools/gen-family.py "$dir" llama >/dev/null
for method in fp8 fp8-row fp8-tile nvfp4 nvfp4-div gptq gptq-zeros gptq-order awq; do published llama $method; done
for method in fp8-tile gptq-zeros; do published qwen3moe $method; done

# As DeepSeek V3 is published: tiles, latent attention and experts among them, against the same numbers in F32
rm -rf "$dir/q"; python3 tools/gen-folder.py "$dir/deepseek2.gguf" "$dir/q" --name deepseek2 --quant fp8-tile --wide "$dir/wide" || bad=1
runs=$((runs + 1))
want=$(digest "$dir/wide") got=$(digest "$dir/q")
[ "${#want}" = 64 ] && [ "$want" = "$got" ] || fail "deepseek2 fp8-tile: the folder gives $got, with F32 $want"

# What else takes a MODEL
python3 tools/gen-family.py "$dir" gpt-oss >/dev/null
"${tutti[@]}" inspect "$dir/gpt-oss" | grep -q '^format: *safetensors' || fail "inspect does not tell the format"
[ "$("${tutti[@]}" tokenize "$dir/gpt-oss" 'What is the time? 12345')" = "$("${tutti[@]}" tokenize "$dir/gpt-oss.gguf" 'What is the time? 12345')" ] || fail "tokenize differs"
for type in q8_0 f16; do
    "${tutti[@]}" quantize -q "$dir/gpt-oss" "$dir/a.gguf" --type $type --force && "${tutti[@]}" quantize -q "$dir/gpt-oss.gguf" "$dir/b.gguf" --type $type --force || fail "quantize"
    [ "$(digest "$dir/a.gguf")" = "$(digest "$dir/b.gguf")" ] || fail "quantize --type $type differs from that of the file"
done

# A repository without GGUF, from a hub of static files
repo=$dir/hub/org/repo/resolve
mkdir -p "$repo" "$dir/hub/api/models/org/repo/tree"
mv "$dir/gpt-oss" "$repo/main"
(cd "$repo/main" && ls | sed 's/.*/{"type": "file", "path": "&"}/' | paste -sd, | sed 's/.*/[{"path": "README.md"},&]/') >"$dir/hub/api/models/org/repo/tree/main"
python3 -u -m http.server --bind 127.0.0.1 --directory "$dir/hub" 0 >"$dir/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do
    port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$dir/log" | head -1)
    [ -n "$port" ] && break
    sleep 0.1
done
export TUTTI_CACHE=$dir/cache TUTTI_HUB=http://127.0.0.1:$port no_proxy=127.0.0.1
"${tutti[@]}" pull -q org/repo >"$dir/pulled" || fail "pull"
grep -q '^org/repo:safetensors is ready' "$dir/pulled" || fail "pull says $(cat "$dir/pulled")"
[ "$(digest org/repo)" = "$(digest "$dir/gpt-oss.gguf")" ] || fail "the pulled folder has another digest"
echo '{}' >"$repo/main/config.json"
"${tutti[@]}" pull -q --name broken org/repo 2>"$dir/pulled" && fail "a folder without architecture was accepted"
grep -q 'not a usable model' "$dir/pulled" || fail "pull of a broken folder says $(cat "$dir/pulled")"
"${tutti[@]}" rm broken 2>/dev/null && fail "a broken folder was kept"
[ $bad = 0 ] && echo "folder: $runs folders give the bits of their files"
exit $bad
