#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Structured output on real-world schemas.

tutti serve MODEL --port 8080
jsonschemabench.py --data FOLDER [--url http://127.0.0.1:8080] [--every 47] [--count 200] [--max-tokens 2048] [--parallel 8]

FOLDER is the folder `data` of github.com/guidance-ai/jsonschemabench. Of all schemas in the order of their names every
47th is taken, 200 in all. Each goes to the server as response_format, greedily, with a prompt that names its title. Counted
are the schemas that are accepted, the answers that ended by themselves within the limit, and those that PyPI's jsonschema
finds valid. Texts are kept in --out, with a list for `grammartool MODEL replay`.
"""
import argparse
import concurrent.futures
import json
import os
import urllib.error
import urllib.request

import jsonschema


def ask(o, name):
    with open(os.path.join(o.data, name)) as f:
        schema = json.load(f)
    title = str(schema.get("title") or schema.get("description") or "an example")[:200] if isinstance(schema, dict) else "a value"
    body = {"messages": [{"role": "user", "content": f"Write a short JSON document: {title}"}], "temperature": 0, "max_tokens": o.max_tokens,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}}
    request = urllib.request.Request(o.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=3600) as r:
            reply = json.load(r)
    except urllib.error.HTTPError as e:
        return name, "refused", 0, json.load(e)["error"]["message"]
    choice, n = reply["choices"][0], reply["usage"]["completion_tokens"]
    text = choice["message"]["content"]
    if choice["finish_reason"] != "stop":
        return name, "not ended", n, text
    out = os.path.join(o.out, name.replace("/", "_"))
    with open(out, "w") as f:
        f.write(text)
    try:
        cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        cls(schema, format_checker=cls.FORMAT_CHECKER).validate(json.loads(text))
    except Exception as e:
        return name, "INVALID", n, f"{type(e).__name__}: {str(e).splitlines()[0][:200]}"
    return name, "ok", n, text


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True)
    a.add_argument("--url", default="http://127.0.0.1:8080")
    a.add_argument("--every", type=int, default=47)
    a.add_argument("--count", type=int, default=200)
    a.add_argument("--max-tokens", type=int, default=2048)
    a.add_argument("--parallel", type=int, default=8)
    a.add_argument("--out", default="/tmp/jsonschemabench")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    names = sorted(os.path.relpath(os.path.join(p, f), o.data) for p, _, fs in os.walk(o.data) for f in fs if f.endswith(".json"))
    names = names[:: o.every][: o.count]
    count, tokens = {}, 0
    with concurrent.futures.ThreadPoolExecutor(o.parallel) as pool, open(os.path.join(o.out, "replay.txt"), "w") as replay:
        for name, what, n, text in pool.map(lambda name: ask(o, name), names):
            count[what] = count.get(what, 0) + 1
            tokens += n
            print(what, name, n, "tokens", "" if what == "ok" else text[-200:], flush=True)
            if what in ("ok", "INVALID"):
                replay.write(f"{os.path.join(o.data, name)}\t{os.path.join(o.out, name.replace('/', '_'))}\n")
    accepted = len(names) - count.get("refused", 0)
    ended = accepted - count.get("not ended", 0)
    print(f"{len(names)} schemas: {accepted} accepted ({100 * accepted / len(names):.1f} %); {ended} ended within {o.max_tokens} tokens "
          f"({100 * ended / accepted:.1f} %); {count.get('ok', 0)} of them valid ({100 * count.get('ok', 0) / ended:.1f} %); {tokens} tokens")


if __name__ == "__main__":
    main()
