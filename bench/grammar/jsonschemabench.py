#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Structured output on real-world schemas.

jsonschemabench.py --data FOLDER --model GGUF [--tutti ./tutti] [--every 47] [--count 200] [--max-tokens 2048]

FOLDER is the folder `data` of github.com/guidance-ai/jsonschemabench. Of all schemas in the order of their names every
47th is taken, 200 in all. Each is given to `tutti run --json-schema`; the prompt names its title. Counted are the schemas
that are accepted, the answers that ended by themselves within the limit, and those that PyPI's jsonschema finds valid.
Texts are kept in --out for `grammartool replay`.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import jsonschema


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--model", required=True)
    a.add_argument("--tutti", default="./tutti")
    a.add_argument("--every", type=int, default=47)
    a.add_argument("--count", type=int, default=200)
    a.add_argument("--max-tokens", type=int, default=2048)
    a.add_argument("--out", default="/tmp/jsonschemabench")
    a.add_argument("--options", default="", help="more options of tutti run")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    names = sorted(os.path.relpath(os.path.join(p, f), o.data) for p, _, fs in os.walk(o.data) for f in fs if f.endswith(".json"))
    names = names[:: o.every][: o.count]
    refused = ended = valid = tokens = 0
    with open(os.path.join(o.out, "replay.txt"), "w") as replay:
        for name in names:
            path = os.path.join(o.data, name)
            with open(path) as f:
                schema = json.load(f)
            title = str(schema.get("title") or schema.get("description") or "an example")[:200] if isinstance(schema, dict) else "a value"
            t = time.time()
            run = subprocess.run([o.tutti, "run", o.model, "-v", "--json-schema", path, "--max-tokens", str(o.max_tokens), "--ctx",
                                  str(o.max_tokens + 512), *o.options.split(), f"Write a short JSON document: {title}"],
                                 capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if run.returncode:
                refused += 1
                print("refused", name, run.stderr.strip().splitlines()[-1], flush=True)
                continue
            by = run.stderr.split("ended by: ")[-1].splitlines()[0]
            n = int(run.stderr.split("answer:")[-1].split()[0])
            tokens += n
            if by != "end token":
                print("not ended", name, n, by, run.stdout[-200:].encode(), flush=True)
                continue
            ended += 1
            text = run.stdout.rstrip("\n")
            try:
                cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
                cls(schema, format_checker=cls.FORMAT_CHECKER).validate(json.loads(text))
                valid += 1
            except Exception as e:
                print("INVALID", name, type(e).__name__, str(e).splitlines()[0][:200], flush=True)
            out = os.path.join(o.out, name.replace("/", "_"))
            with open(out, "w") as f:
                f.write(text)
            replay.write(f"{path}\t{out}\n")
            replay.flush()
            print(f"ok {name} {n} tokens {time.time() - t:.1f} s", flush=True)
    accepted = len(names) - refused
    print(f"{len(names)} schemas: {accepted} accepted ({100 * accepted / len(names):.1f} %); {ended} ended within {o.max_tokens} tokens "
          f"({100 * ended / accepted:.1f} %); {valid} of them valid ({100 * valid / ended:.1f} %); {tokens} tokens")


if __name__ == "__main__":
    main()
