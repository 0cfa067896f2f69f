#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Closed loop of clients against any server that speaks OpenAI's /v1/completions.

Each client sends a prompt, reads the streamed answer, sends the next one. Prompts are pieces of a text, sent as token ids (the server's
/tokenize makes them once), their length log-uniform and exact, each behind a different first word, so that none begins as
another one does. --shared N puts N common tokens in front of each: a system prompt, another one for each of --groups groups of
clients. Answers have a fixed number of tokens (the end token is ignored), temperature 0 and 0.8 in turn.

  bench/serve_load.py http://127.0.0.1:8080 --text FILE [--clients 64] [--seconds 60] [--check 20] [--pid PID]

--check N asks N of the finished requests again, alone, and compares the texts. --pid: the server's process; its CPU time is
reported, since wall time means little on a machine that others use, too. Needs Python's standard library only.
"""
import argparse, asyncio, json, math, os, random, sys, time, urllib.parse, urllib.request


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(host, port, body, on_text):
    """Streams one answer; returns its text and its usage."""
    reader, writer = await asyncio.open_connection(host, port)
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    while (await reader.readline()).strip():
        pass
    text, usage, rest = [], None, b""
    while True:
        block = await reader.read(65536)
        if not block:
            break
        rest += block
        if status != 200:
            continue
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(str(event["error"]))
            usage = event.get("usage") or usage
            for choice in event.get("choices") or []:
                if choice.get("text"):
                    text.append(choice["text"])
                    on_text()
    writer.close()
    if status != 200:
        raise RuntimeError(f"status {status}: {rest[:300]!r}")
    return "".join(text), usage or {}


class Load:
    def __init__(self, o):
        self.o = o
        url = urllib.parse.urlparse(o.url)
        self.host, self.port = url.hostname, url.port or 80
        self.ids = self.tokenize(open(o.text, encoding="utf-8").read())
        if len(self.ids) < o.max_prompt + o.shared * o.groups:
            sys.exit(f"{o.text} has {len(self.ids)} tokens: too few")
        self.all, self.done, self.errors = [], [], []
        self.n_sent = 0

    def tokenize(self, text):
        body = json.dumps({"model": self.o.model, "content": text}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.o.url.rstrip("/") + "/tokenize", body, {"Content-Type": "application/json"})) as r:
            return json.load(r)["tokens"]

    def make(self, rnd, group):
        o = self.o
        n = round(math.exp(rnd.uniform(math.log(o.min_prompt), math.log(o.max_prompt))))
        first = [rnd.choice(self.ids) for _ in range(4)]
        at = rnd.randrange(len(self.ids) - n)
        self.n_sent += 1
        return {
            "model": o.model, "prompt": self.ids[o.shared * group : o.shared * (group + 1)] + (first + self.ids[at : at + n])[:n], "max_tokens": o.tokens,
            "temperature": 0 if self.n_sent % 2 else 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": rnd.getrandbits(31),
            "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}, "cache_prompt": bool(o.shared),
        }

    async def client(self, i, end):
        rnd = random.Random(self.o.seed * 1000 + i)
        while time.monotonic() < end:
            body = self.make(rnd, i % self.o.groups)
            sent = time.monotonic()
            times = []
            try:
                entry = {"body": body, "text": None, "sent": sent, "times": times, "usage": {}}
                self.all.append(entry)
                entry["text"], entry["usage"] = await ask(self.host, self.port, body, lambda: times.append(time.monotonic()))
                self.done.append(entry)
            except Exception as e:  # reported, and the run fails
                self.errors.append(repr(e))
                await asyncio.sleep(0.2)

    async def run(self):
        o = self.o
        begin, cpu = time.monotonic(), cpu_seconds(o.pid) if o.pid else 0
        end = begin + o.seconds
        tasks = [asyncio.create_task(self.client(i, end)) for i in range(o.clients)]
        await asyncio.sleep(o.seconds)
        cpu = cpu_seconds(o.pid) - cpu if o.pid else 0
        if o.cut:
            for t in tasks:
                t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.report(end, cpu)
        return await self.check()

    def report(self, end, cpu):
        """Of what came within the time of the run. A first token that had not come by then counts as if it came at that moment."""
        o = self.o
        ttft = sorted(min(d["times"][0] if d["times"] else end, end) - d["sent"] for d in self.all if d["sent"] < end)
        gaps = sorted(b - a for d in self.all for a, b in zip(d["times"], d["times"][1:]) if b < end)
        tokens = sum(1 for d in self.all for t in d["times"] if t < end)
        pieces = sum(len(d["times"]) for d in self.done)  # of whole answers
        whole = sum(d["usage"].get("completion_tokens", 0) for d in self.done)
        tokens = tokens * whole / pieces if pieces and whole else tokens  # a piece of text is not always one token
        prompts = sum(len(d["body"]["prompt"]) for d in self.all if d["times"] and d["times"][0] < end)
        late = sum(1 for d in self.all if not d["times"] or d["times"][0] >= end)
        at = lambda list, q: list[min(len(list) - 1, int(q * len(list)))] if list else float("nan")
        r = {
            "server": o.name, "clients": o.clients, "seconds": o.seconds, "answers": len(self.done), "errors": len(self.errors),
            "output_tokens_per_s": tokens / o.seconds, "prompt_tokens_per_s": prompts / o.seconds,
            "first_tokens_outstanding": late, "ttft_median_s": at(ttft, 0.5), "ttft_p99_s": at(ttft, 0.99),
            "itl_median_ms": 1e3 * at(gaps, 0.5), "itl_p99_ms": 1e3 * at(gaps, 0.99), "itl_p99_over_median": at(gaps, 0.99) / at(gaps, 0.5) if gaps else 0,
        }
        if o.pid:
            r["cpu_s"] = cpu
            r["output_tokens_per_cpu_s"] = tokens / cpu if cpu else 0
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}))
        for e in self.errors[:3]:
            print("error:", e, file=sys.stderr)

    async def check(self):
        some = random.Random(1).sample(self.done, min(self.o.check, len(self.done)))
        same = 0
        for d in some:
            text, _ = await ask(self.host, self.port, d["body"], lambda: None)
            same += text == d["text"]
            if text != d["text"]:
                print(f"differs alone: temperature {d['body']['temperature']}\n  {d['text']!r}\n  {text!r}", file=sys.stderr)
        if some:
            print(json.dumps({"server": self.o.name, "asked_again_alone": len(some), "same": same}))
        return not self.errors and same == len(some)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("url")
    p.add_argument("--text", required=True)
    p.add_argument("--name", default="tutti")
    p.add_argument("--model", default="default")
    for name, value in (("clients", 64), ("tokens", 128), ("min-prompt", 16), ("max-prompt", 2000), ("check", 0), ("seed", 1), ("shared", 0), ("groups", 1), ("pid", 0)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--cut", action="store_true", help="hang up when the time is over instead of waiting for the answers under way")
    sys.exit(0 if asyncio.run(Load(p.parse_args()).run()) else 1)


if __name__ == "__main__":
    main()
