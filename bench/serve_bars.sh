#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# serve_bars.sh TUTTI LLAMA_SERVER MODEL.gguf TEXT [SECONDS] [CHECK]: the load of bench/serve_load.py on both servers, without and with
# shared beginnings, and every answer of tutti asked again alone. One JSON object a line on standard output, progress on
# standard error. SECONDS: of each of the four runs (300); CHECK: how many answers are asked again after each run of tutti (all).
# PORT (18290) and the one after it must be free. Needs 24 GiB of memory, two cores, and a machine on which nothing else runs.
set -eu
tutti=$1 llama=$2 model=$3 text=$4 seconds=${5:-300} check=${6:-all}
here=$(dirname "$0") port=${PORT:-18290} context=3072 clients=64 threads=$(nproc)
ours="$tutti serve default=$model -p $port -c $context -m 10G -q --any-model"
theirs="$llama -m $model --port $((port + 1)) -np $clients -c $((clients * context)) -t $threads -tb $threads -fa on --no-kv-unified --no-webui"
faults=0

load() { # URL NAME COMMAND OPTION...
    local url=$1 name=$2 command=$3
    shift 3
    "$here/serve_load.py" "$url" --name "$name" --start "$command" --text "$text" --clients $clients --seconds "$seconds" --cut "$@" || faults=$((faults + 1))
}

echo "load average before: $(cut -d' ' -f1-3 /proc/loadavg)" >&2
for shared in "" "--shared 512 --groups 8"; do
    load "http://127.0.0.1:$port" "tutti${shared:+, shared}" "$ours" --check "$check" $shared
    load "http://127.0.0.1:$((port + 1))" "llama-server${shared:+, shared}" "$theirs" $shared
done
exit $((faults > 0))
