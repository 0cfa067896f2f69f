# SPDX-License-Identifier: Apache-2.0
"""serve_clients.py PROGRAM...: the clients that people use, as they come from PyPI, against the server."""
import base64
import json
import re
import struct
import sys
import time

import anthropic
import groq
import openai

from serve_common import Server, check, faults

HELLO = [{"role": "system", "content": "be short"}, {"role": "user", "content": "the work goes on"}]


def test_openai(s):
    c = openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % s.port, api_key="none", max_retries=0)
    check([m.id for m in c.models.list()] == ["tiny"], "openai: models.list")
    check(c.models.retrieve("tiny").id == "tiny", "openai: models.retrieve")
    r = c.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0, logprobs=True, top_logprobs=2)
    text = r.choices[0].message.content
    check(r.choices[0].finish_reason in ("stop", "length") and r.usage.completion_tokens > 0, "openai: chat: %s" % r)
    check(len(r.choices[0].logprobs.content[0].top_logprobs) == 2, "openai: logprobs")
    parts = list(c.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}))
    check("".join(p.choices[0].delta.content or "" for p in parts if p.choices) == text, "openai: the stream's text differs")
    check(parts[-1].usage.total_tokens == r.usage.total_tokens, "openai: usage of the stream")
    with c.chat.completions.stream(model="tiny", messages=HELLO, max_tokens=12, temperature=0) as stream:
        got = ""
        for event in stream:
            if event.type == "chunk":
                got = stream.current_completion_snapshot.choices[0].message.content
            if event.type == "content.done":
                break
        check(got == text, "openai: the stream helper: %r" % got)
    r = c.chat.completions.create(model="tiny", messages=HELLO, n=2, max_tokens=5, seed=7, stop=["zzz"], frequency_penalty=0.5, presence_penalty=0.5, logit_bias={"5": -100},
                                  top_p=0.9, user="u", metadata={"a": "b"}, store=False, extra_body={"top_k": 5, "min_p": 0.01, "repetition_penalty": 1.1})
    check(len(r.choices) == 2, "openai: n")
    r = c.completions.create(model="tiny", prompt=["the work", "a"], max_tokens=4, extra_body={"ignore_eos": True}, logprobs=1)
    check(len(r.choices) == 2 and len(r.choices[0].logprobs.tokens) == 4, "openai: completions: %s" % r)
    check("".join(p.choices[0].text for p in c.completions.create(model="tiny", prompt="the work", max_tokens=4, stream=True, seed=1)) != "", "openai: completions, stream")
    plain = c.embeddings.create(model="tiny", input="the work", encoding_format="float").data[0].embedding
    coded = c.embeddings.with_raw_response.create(model="tiny", input="the work", encoding_format="base64").http_response.json()["data"][0]["embedding"]
    check(list(struct.unpack("<%df" % len(plain), base64.b64decode(coded))) == [struct.unpack("<f", struct.pack("<f", x))[0] for x in plain], "openai: embeddings as base64 differ")
    for call, kind, field in ((lambda: c.chat.completions.create(model="other", messages=HELLO), openai.NotFoundError, "model"),
                              (lambda: c.chat.completions.create(model="tiny", messages=HELLO, temperature=-3), openai.BadRequestError, "temperature")):
        try:
            call()
            check(False, "openai: no fault")
        except kind as e:
            check(e.param == field, "openai: fault: %s" % e)


def test_structured(s):
    c = openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % s.port, api_key="none", max_retries=0)

    def ask(stream=False, **more):
        r = c.chat.completions.create(model="tiny", messages=HELLO, max_tokens=60, temperature=0.8, seed=3, stream=stream, **more)
        if stream:
            return "".join(p.choices[0].delta.content or "" for p in r if p.choices)
        return r.choices[0].message.content

    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 9}, "b": {"enum": ["x", "y"]}}, "required": ["a", "b"], "additionalProperties": False}
    strict = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    for text in (ask(response_format=strict), ask(True, response_format=strict), ask(extra_body={"structured_outputs": {"json": schema}}), ask(extra_body={"json_schema": schema})):
        v = json.loads(text)
        check(3 <= v["a"] <= 9 and v["b"] in ("x", "y") and len(v) == 2, "structured: schema: %r" % text)
    check(isinstance(json.loads(ask(response_format={"type": "json_object"})), dict), "structured: json_object")
    check(ask(extra_body={"structured_outputs": {"choice": ["yes", "no"]}}) in ("yes", "no"), "structured: choice")
    check(re.fullmatch("[A-Z][a-z]{2,5}!", ask(extra_body={"structured_outputs": {"regex": "[A-Z][a-z]{2,5}!"}})), "structured: regex")
    check(re.fullmatch("ab+", ask(extra_body={"grammar": 'root ::= "a" "b" [b]{0,3}'})), "structured: grammar")
    try:
        ask(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": {"p": {"unevaluatedItems": {}}}}}})
        check(False, "structured: no fault")
    except openai.BadRequestError as e:
        check("#/properties/p: keyword 'unevaluatedItems'" in e.message, "structured: fault: %s" % e)


def test_tools(s):
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"],
                                                                          "additionalProperties": False, "$defs": {"n": {"enum": [1, 2, 3]}}}}} for name in ("f", "g")]
    c = openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % s.port, api_key="none", max_retries=0)
    for client in (c, groq.Groq(base_url="http://127.0.0.1:%d" % s.port, api_key="none", max_retries=0)):
        def ask(messages=HELLO, client=client, **more):
            return client.chat.completions.create(model="tiny", messages=messages, max_tokens=60, temperature=0.8, seed=5, tools=tools, **more)

        for choice, names in (("required", ("f", "g")), ({"type": "function", "function": {"name": "g"}}, ("g",))):
            r = ask(tool_choice=choice).choices[0]
            call = r.message.tool_calls[0]
            check(r.finish_reason == "tool_calls" and call.function.name in names and json.loads(call.function.arguments)["n"] in (1, 2, 3), "tools: %s" % r)
            parts = [p.choices[0] for p in ask(tool_choice=choice, stream=True) if p.choices]
            calls = [t for p in parts for t in p.delta.tool_calls or []]
            check(len(calls) == 1 and calls[0].function == type(calls[0].function)(**call.function.model_dump()) and parts[-1].finish_reason == "tool_calls", "tools: stream: %s" % calls)
        check(ask(tool_choice="none").choices[0].message.tool_calls is None, "tools: none")
        more = HELLO + [{"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}, {"role": "tool", "tool_call_id": call.id, "content": "3"}]
        check(ask(more).choices[0].finish_reason in ("stop", "length", "tool_calls"), "tools: results")
    try:
        ask(tool_choice={"type": "function", "function": {"name": "h"}})
        check(False, "tools: no fault")
    except groq.BadRequestError as e:
        check('no function "h"' in str(e), "tools: fault: %s" % e)


def test_responses(s):
    c = openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % s.port, api_key="none", max_retries=0)
    hello = {"model": "tiny", "input": "the work goes on", "instructions": "be short", "temperature": 0, "max_output_tokens": 12}
    r = c.responses.create(**hello)
    check(r.object == "response" and r.status in ("completed", "incomplete") and r.usage.output_tokens > 0, "responses: %s" % r)
    events = list(c.responses.create(stream=True, **hello))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    check(text == r.output_text and [e.sequence_number for e in events] == list(range(len(events))), "responses: the stream differs: %r, not %r; %r" % (text, r.output_text, [(e.type, e.sequence_number) for e in events]))
    check(events[0].type == "response.created" and events[-1].response.output_text == text, "responses: events: %s" % [e.type for e in events])
    tools = [{"type": "function", "name": "f", "strict": True, "parameters": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}]
    hello["max_output_tokens"] = 60
    r = c.responses.create(tools=tools, tool_choice="required", **hello)
    check(r.output[0].type == "function_call" and json.loads(r.output[0].arguments)["n"] in (1, 2), "responses: tools: %s" % r)
    with c.responses.stream(tools=tools, tool_choice={"type": "function", "name": "f"}, **hello) as stream:
        check(stream.get_final_response().output[0].arguments == r.output[0].arguments, "responses: tools of the stream")
    hello["input"] = [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}, r.output[0].model_dump(), {"type": "function_call_output", "call_id": r.output[0].call_id, "output": "3"}]
    check(c.responses.create(tools=tools, **hello).status in ("completed", "incomplete"), "responses: results")
    form = {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": tools[0]["parameters"]}}
    check(json.loads(c.responses.create(text=form, **hello).output_text)["n"] in (1, 2), "responses: text.format")


def test_anthropic(s):
    c = anthropic.Anthropic(base_url="http://127.0.0.1:%d" % s.port, api_key="none", max_retries=0)
    hello = {"model": "tiny", "messages": [{"role": "user", "content": "the work goes on"}], "system": "be short", "extra_body": {"temperature": 0}}
    r = c.messages.create(max_tokens=12, **hello)
    check(r.type == "message" and r.stop_reason in ("end_turn", "max_tokens") and r.usage.output_tokens > 0, "anthropic: message: %s" % r)
    with c.messages.stream(max_tokens=12, **hello) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    check(text == r.content[0].text and last.stop_reason == r.stop_reason and last.usage.output_tokens == r.usage.output_tokens, "anthropic: the stream differs: %r" % text)
    n = c.messages.count_tokens(model="tiny", messages=hello["messages"], system="be short").input_tokens
    check(n == r.usage.input_tokens + r.usage.cache_read_input_tokens, "anthropic: count_tokens: %d" % n)
    tools = [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}]
    for choice in ({"type": "any"}, {"type": "tool", "name": "f"}):
        r = c.messages.create(max_tokens=60, tools=tools, tool_choice=choice, **hello)
        use = r.content[0]
        check(r.stop_reason == "tool_use" and use.name == "f" and use.input["n"] in (1, 2), "anthropic: tools: %s" % r)
        with c.messages.stream(max_tokens=60, tools=tools, tool_choice=choice, **hello) as stream:
            check(stream.get_final_message().content[0].input == use.input, "anthropic: tools of the stream")
    more = hello["messages"] + [{"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": "f", "input": use.input}]},
                                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "3"}]}]
    r = c.messages.create(model="tiny", max_tokens=5, tools=tools, messages=more)
    check(r.stop_reason in ("end_turn", "max_tokens", "tool_use"), "anthropic: results: %s" % r)
    try:
        c.messages.create(model="other", max_tokens=5, messages=hello["messages"])
        check(False, "anthropic: no fault")
    except anthropic.NotFoundError as e:
        check(e.body["type"] == "error" and e.body["error"]["type"] == "not_found_error" and "other" in e.body["error"]["message"], "anthropic: fault: %s" % e.body)
    try:
        c.messages.create(max_tokens=-5, **hello)
        check(False, "anthropic: no fault")
    except anthropic.BadRequestError as e:
        check(e.body["error"]["type"] == "invalid_request_error", "anthropic: fault: %s" % e.body)


def test_groq(s):
    c = groq.Groq(base_url="http://127.0.0.1:%d" % s.port, api_key="none", max_retries=0)
    check([m.id for m in c.models.list().data] == ["tiny"], "groq: models")
    r = c.chat.completions.create(model="tiny", messages=HELLO, max_completion_tokens=6, temperature=1e-8, service_tier="auto")
    check(r.usage.total_time >= r.usage.completion_time > 0 and r.x_groq.id.startswith("req_") and len(r.x_groq.id) == 30, "groq: usage and x_groq: %s" % r)
    check(r.system_fingerprint.startswith("fp_") and len(r.system_fingerprint) == 13 and r.service_tier == "on_demand", "groq: fingerprint, tier: %s" % r)
    parts = list(c.chat.completions.create(model="tiny", messages=HELLO, max_completion_tokens=6, temperature=0, stream=True))
    check("".join(p.choices[0].delta.content or "" for p in parts) == r.choices[0].message.content, "groq: the stream's text differs")
    check(parts[0].x_groq.id == parts[-1].x_groq.id and parts[-1].x_groq.usage.completion_tokens == r.usage.completion_tokens, "groq: x_groq of the stream")
    check(len(c.embeddings.create(model="tiny", input=["a", "b"]).data) == 2, "groq: embeddings")


def test_batches(s, c, name):
    lines = [{"custom_id": "r%d" % i, "method": "POST", "url": "/v1/chat/completions", "body": {"model": "tiny", "messages": HELLO, "max_tokens": 3, "seed": i, "stream": True}} for i in range(40)]
    lines[7]["body"]["temperature"] = "hot"
    text = "\n".join(json.dumps(l) for l in lines)
    f = c.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    check(f.bytes == len(text) and f.filename == "in.jsonl" and f.purpose == "batch", "%s: files.create: %s" % (name, f))
    info = c.files.retrieve(f.id) if name == "openai" else c.files.info(f.id)
    check(info.id == f.id and f.id in [x.id for x in c.files.list().data], "%s: files: %s" % (name, info))
    b = c.batches.create(input_file_id=f.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"})
    end = time.monotonic() + 60
    while b.status not in ("completed", "failed", "expired", "cancelled") and time.monotonic() < end:
        time.sleep(0.05)
        b = c.batches.retrieve(b.id)
    check(b.status == "completed" and b.request_counts.completed == 39 and b.request_counts.failed == 1 and b.metadata["a"] == "b", "%s: batch: %s" % (name, b))
    out = c.files.content(b.output_file_id)
    out = [json.loads(l) for l in out.text().splitlines()] if callable(getattr(out, "text", None)) else [json.loads(l) for l in out.text.splitlines()]
    check(sorted(l["custom_id"] for l in out) == sorted("r%d" % i for i in range(40) if i != 7), "%s: output of the batch" % name)
    by_id = {l["custom_id"]: l["response"]["body"]["choices"][0]["message"]["content"] for l in out}
    alone = c.chat.completions.create(model="tiny", messages=HELLO, max_tokens=3, seed=20).choices[0].message.content
    check(by_id["r20"] == alone, "%s: a batch answers otherwise than a request" % name)
    err = c.files.content(b.error_file_id)
    err = json.loads(err.text() if callable(getattr(err, "text", None)) else err.text)
    check(err["custom_id"] == "r7" and err["response"]["status_code"] == 400, "%s: errors of the batch: %s" % (name, err))
    check(b.id in [x.id for x in c.batches.list().data], "%s: batches.list" % name)
    bad = c.files.create(file=("bad.jsonl", b'{"custom_id":"x"}\n'), purpose="batch")
    b = c.batches.create(input_file_id=bad.id, endpoint="/v1/chat/completions", completion_window="7d")
    while b.status == "validating" and time.monotonic() < end:
        b = c.batches.retrieve(b.id)
    check(b.status == "failed" and b.errors.data[0].line == 1, "%s: a batch with a bad line: %s" % (name, b))
    deleted = c.files.delete(bad.id)
    check(deleted.deleted, "%s: files.delete" % name)
    big = c.files.create(file=("big.jsonl", "\n".join(json.dumps({**l, "custom_id": "b%d" % i, "body": {**l["body"], "temperature": 1, "max_tokens": 400, "ignore_eos": True}}) for i, l in enumerate(lines * 5)).encode()), purpose="batch")
    b = c.batches.create(input_file_id=big.id, endpoint="/v1/chat/completions", completion_window="24h")
    time.sleep(0.05)
    b = c.batches.cancel(b.id)
    while b.status in ("validating", "in_progress", "cancelling") and time.monotonic() < end:
        time.sleep(0.05)
        b = c.batches.retrieve(b.id)
    check(b.status == "cancelled" and b.request_counts.total == 200, "%s: cancel: %s" % (name, b))


def main():
    s = Server(sys.argv[1:])
    test_openai(s)
    test_structured(s)
    test_tools(s)
    test_anthropic(s)
    test_responses(s)
    test_groq(s)
    test_batches(s, openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % s.port, api_key="none", max_retries=0), "openai")
    test_batches(s, groq.Groq(base_url="http://127.0.0.1:%d" % s.port, api_key="none", max_retries=0), "groq")
    check(s.stop() == 0, "status at the end: %s" % s.process.returncode)
    return 1 if faults else 0


sys.exit(main())
