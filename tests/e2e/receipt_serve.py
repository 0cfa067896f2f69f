# SPDX-License-Identifier: Apache-2.0
"""receipt_serve.py PROGRAM...: receipts of a server under load, made by one instruction set and verified by another. Called by
receipt.sh."""
import json
import os
import subprocess
import sys
import tempfile
import threading
from serve_common import MODEL, Server, check, faults, sse

program = sys.argv[1:]
ISAS = subprocess.run([*program, "version"], capture_output=True, text=True, check=True).stdout.split("kernels")[1].split()
CHAT = "/v1/chat/completions"
VARIED = [
    {"temperature": 0}, {"temperature": 1, "seed": 7}, {"temperature": 0.8, "n": 2}, {"receipt": "private", "temperature": 1},
    {"stop": ["e", "zz"], "temperature": 1}, {"logit_bias": {"300": 5, "40": -3}, "temperature": 1}, {"frequency_penalty": 1, "presence_penalty": 0.5, "temperature": 1},
    {"stream": True, "temperature": 1}, {"structured_outputs": {"regex": "[ab]{3,9}-[0-9]{2}"}, "temperature": 1},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
                         "required": ["a", "b"], "additionalProperties": False}}}, "temperature": 1},
    {"structured_outputs": {"choice": ["red", "green"]}, "temperature": 1}, {"grammar": "root ::= [a-c]+ \"!\"", "max_tokens": 20, "temperature": 1}, {"ignore_eos": True, "skip_special_tokens": False, "temperature": 1.5},
    {"allowed_token_ids": [300, 40, 41, 42, 300, 99, 2, 100000], "temperature": 1, "min_tokens": 12, "max_tokens": 20}, {"min_tokens": 30, "logit_bias": {"2": 100}, "temperature": 0},
    {"stop_token_ids": list(range(40, 80)), "temperature": 1, "n": 3}, {"stop_token_ids": [2, 300, 301], "min_tokens": 9, "temperature": 1, "ignore_eos": True, "logit_bias": {"300": 6}},
    {"structured_outputs": {"regex": "[ab]{3,30}"}, "min_tokens": 8, "allowed_token_ids": list(range(380)), "stop": ["aaa"], "temperature": 1, "n": 2},
    {"max_tokens": 1}, {"top_k": 5, "top_p": 0.5, "min_p": 0.1, "temperature": 1, "seed": 2**53 - 1}, {"repetition_penalty": 1.3, "temperature": 0},
]

SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
MESSAGES = {"model": "tiny", "messages": [{"role": "user", "content": "the work goes on"}], "max_tokens": 40, "receipt": True}
RESPONSES = {"model": "tiny", "input": "the work goes on", "max_output_tokens": 40, "receipt": True}
ANTHROPIC_TOOLS = {"tools": [{"name": "f", "input_schema": SCHEMA}], "tool_choice": {"type": "any"}}
OPENAI_TOOLS = {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}], "tool_choice": "required"}
CHAT_TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "tool_choice": "required"}


def body_of(i):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "number %d: " % i + "the work goes on " * (i % 9)}], "max_tokens": 40, "receipt": True}
    body.update(VARIED[i % len(VARIED)])
    return body


def whole(data, streamed):
    """A reply that verify reads: of a stream, its last chunk with a receipt."""
    if not streamed:
        return json.loads(data)
    return next(e for e in sse(data) if e != "[DONE]" and e["choices"] and "receipt" in e["choices"][0])


def verify(path, *options):
    isa = ISAS[hash(path) % len(ISAS)]
    r = subprocess.run([*program, "verify", path, MODEL, "--isa", isa, "--threads", "1", *options], capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def main(tmp):
    subprocess.run([*program, "keys", "signing"], capture_output=True, check=True)
    s = Server(program, "--isa", ISAS[-1], "--max-running", "9")
    status, key = s.json("GET", "/receipt-key")
    check(status == 200 and len(key["key"]) == 64, "/receipt-key: %s" % key)
    n = 2 * len(VARIED)
    replies = [None] * n

    def ask(i):
        status, _, data = s.request("POST", CHAT, body_of(i))
        if check(status == 200, "request %d: %d %s" % (i, status, data)):
            replies[i] = whole(data, body_of(i).get("stream"))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    status, r = s.json("POST", "/v1/completions", {"model": "tiny", "prompt": ["a b", "c d"], "max_tokens": 9, "n": 2, "temperature": 1, "receipt": True})
    check(status == 200 and all(c.get("receipt") for c in r["choices"]) and len(r["choices"]) == 4, "completions: %s" % r)
    replies.append(r)
    for body, tools in (MESSAGES, ANTHROPIC_TOOLS), (RESPONSES, OPENAI_TOOLS):
        path = "/v1/messages" if body is MESSAGES else "/v1/responses"
        for more in {}, {"stream": True}, {"temperature": 0, **tools}, {"stream": True, **tools}:
            status, _, data = s.request("POST", path, {**body, **more})
            r = json.loads(data) if "stream" not in more else next((e.get("response", e) for e in reversed(sse(data)) if "receipt" in e.get("response", e)), {})
            if check(status == 200 and r.get("receipt"), "%s %s: no receipt: %s" % (path, more, data)):
                replies.append(r)
    status, r = s.json("POST", CHAT, {**body_of(0), **CHAT_TOOLS})
    check(status == 200 and r["choices"][0]["message"]["tool_calls"] and r["choices"][0]["receipt"], "chat with tools: %s" % r)
    replies.append(r)
    status, r = s.json("POST", CHAT, {**body_of(0), "receipt": "yes"})
    check(status == 400 and r["error"]["param"] == "receipt", "receipt: yes: %d %s" % (status, r))
    status, r = s.json("POST", CHAT, {**body_of(0), "receipt": False})
    check(status == 200 and "receipt" not in r["choices"][0], "receipt: false gives one")
    check(s.stop() == 0, "the server ended badly")
    for i, r in enumerate(x for x in replies if x):
        path = os.path.join(tmp, "r%d" % i)
        with open(path, "w") as f:
            json.dump(r, f)
        private = i < n and body_of(i).get("receipt") == "private"
        if private:
            got, text = verify(path, "--key", key["key"])
            check(got == 2 and "--prompt" in text, "a private receipt without its prompt: %d %s" % (got, text))
            with open(path + ".prompt", "w") as f:
                json.dump({"messages": body_of(i + len(VARIED))["messages"]}, f)
            got, text = verify(path, "--prompt", path + ".prompt")
            check(got == 11 and "not the prompt" in text, "a private receipt with another prompt: %d %s" % (got, text))
            with open(path + ".prompt", "w") as f:
                json.dump({"messages": body_of(i)["messages"]}, f)
        for choice in range(len(r.get("choices", [1]))):
            got, text = verify(path, "--key", key["key"], "--choice", str(choice), *(["--prompt", path + ".prompt"] if private else []))
            check(got == 0 and text.startswith("verified"), "request %d, choice %d, %s: %d %s" % (i, choice, VARIED[i % len(VARIED)], got, text))


with tempfile.TemporaryDirectory() as tmp:
    main(tmp)
sys.exit(1 if faults else 0)
