#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""instructions.py TUTTI BUDGET [--record]: counts what the token path executes, by callgrind, on the AVX2 kernels with one
thread. A count does not depend on how busy the machine is, so a slow-down is seen where time shows nothing. More than
TOLERANCE above the recorded count fails; so does a count that far below: record it, to keep what was gained. Counts depend on
the compiler: with another one than the budget names nothing is compared."""
import re, subprocess, sys, tempfile, os

TOLERANCE = 0.03
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
RUNS = [(model, test) for model in ("tiny", "tiny-q4_1", "tiny-q4_k", "tiny-f16") for test in ("prompt", "decode", "8 sequences")]
ARGS = {"prompt": ["-p", "96", "-n", "0"], "decode": ["-p", "0", "-n", "8", "-d", "64"], "8 sequences": ["-p", "0", "-n", "4", "-s", "8"]}


def count(tutti, model, test):
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=chip_step", f"--callgrind-out-file={folder}/out", tutti, "bench",
                              f"{DATA}/{model}.gguf", *ARGS[test], "-r", "1", "-t", "1", "--isa", "avx2"], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", out.stderr)
    if out.returncode or not found:
        sys.exit(f"instructions: {model} {test}: {out.stderr[-400:]}")
    return int(found.group(1))


def main():
    tutti, budget = sys.argv[1:3]
    compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    if "--record" in sys.argv:
        with open(budget, "w") as f:
            f.write(f"gcc {compiler}\n" + "".join(f"{count(tutti, m, t):12d} {m}, {t}\n" for m, t in RUNS))
        return
    lines = open(budget).read().splitlines()
    if lines[0] != f"gcc {compiler}":
        print(f"instructions: *skipped*, the budget is of {lines[0]} and this is gcc {compiler}")
        return
    wanted, bad = {line.split(None, 1)[1]: int(line.split()[0]) for line in lines[1:]}, 0
    for m, t in RUNS:
        have, want = count(tutti, m, t), wanted[f"{m}, {t}"]
        over = have / want - 1
        print(f"{have:12d} {m}, {t}: {100 * over:+.1f} %")
        bad += abs(over) > TOLERANCE
    if bad:
        sys.exit(f"instructions: {bad} counts are not within {100 * TOLERANCE:.0f} % of {budget}; if that is meant: make record-instructions")


main()
