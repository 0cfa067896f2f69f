#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tutti bench --limits: every step is timed, and what it reads is what `explain` says the weights take.
set -u
model=$(dirname "$0")/../data/tiny.gguf
out=$("$@" bench "$model" -p 64 -n 4 -s 2 -r 2 -t 2 --limits --json) || { echo "bench --limits failed"; exit 1; }
"$@" bench "$model" -p 8 -n 0 -r 1 --limits | grep -q '| all ' || { echo "bench --limits: no table"; exit 1; }
"$@" bench "$model" -p 8 -n 0 -r 1 --plot /dev/null 2>/dev/null && { echo "--plot without --limits was taken"; exit 1; }
packed=$("$@" explain "$model" | sed -n 's/.*weights \([0-9.]*\) MiB packed.*/\1/p')
python3 - "$packed" <<EOF2
import json, sys
rows = json.loads('''$out''')
assert [r["n_gen"] for r in rows] == [0, 4], rows
for r in rows:
    lim = r["limits"]
    steps = lim["steps"]
    assert lim["workers"] == 2 and lim["read_bytes_per_s"] > 0, lim
    assert all(s["seconds"] > 0 and s["times"] > 0 for s in steps), steps
    mats = [s for s in steps if s["steps"].startswith("matmul")]
    read = sum(s["bytes"] for s in mats) / (4 if r["n_gen"] else 1) / 2**20
    assert abs(read - float(sys.argv[1])) < 0.06, (read, sys.argv[1])  # explain rounds to 0.1
    assert 0 < sum(s["seconds"] for s in steps) <= min(r["samples_ns"]) * 1e-9 * 1.01, (steps, r["samples_ns"])
EOF2
