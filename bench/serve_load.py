#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Closed loop of clients against any server that speaks OpenAI's /v1/completions.

Each client sends a prompt, reads the streamed answer, sends the next one. Prompts are pieces of a text, sent as token ids (the server's
/tokenize makes them once), their length log-uniform and exact, each behind different first words, so that none begins as
another one does. --shared N puts N common tokens in front of each: a system prompt, another one for each of --groups groups of
clients. Answers have a fixed number of tokens (the end token is ignored), each client asks at temperature 0 and 0.8 in turn. What a client
sends depends on --seed and its number only, so two servers get the same load.

  bench/serve_load.py URL --text FILE --start 'tutti serve m=FILE -p 8080 --any-model' [--seconds 300] [--cut] [--check all]

--start runs the server itself (otherwise one must be there), and reports its CPU time. --check asks N, or all, of the answers
again after the load, one at a time, and compares the texts; with --start of a server that was started anew, so that no cache knows
them. Of answers that --cut cut off, what came is compared. The exit status is 1 if a request failed or an answer differs.

Tokens are counted as the server tells them with each piece (token_ids, timings.predicted_n), of unfinished answers, too; a server that
tells nothing has its pieces of text counted, times the tokens per piece of its finished answers. Needs Python's standard library only.
"""
import argparse, asyncio, json, math, os, random, shlex, subprocess, sys, tempfile, time, urllib.error, urllib.parse, urllib.request


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Started:
    """The server of --start, from ready to stopped."""

    def __init__(self, command, url):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 120
        while not self.ready(url):
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                self.process.kill()
                sys.exit(f"the server does not answer at {url}: {self.log.read()[-2000:].decode(errors='replace')}")
            time.sleep(0.1)

    @staticmethod
    def ready(url):
        try:
            return urllib.request.urlopen(url.rstrip("/") + "/health", timeout=2).status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Answer:
    def __init__(self, body):
        self.body, self.sent = body, time.monotonic()
        self.text, self.usage, self.whole = "", {}, False
        self.pieces = []  # (when, tokens so far as the server tells them, or None)
        self.told = 0

    def take(self, event):
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or []:
            ids = choice.get("token_ids")
            n = event.get("timings", {}).get("predicted_n")
            if ids is not None or n is not None:
                self.told = n if n is not None else self.told + len(ids)
            if choice.get("text") or ids:
                self.text += choice.get("text") or ""
                self.pieces.append((time.monotonic(), self.told or None))

    def tokens_until(self, end, per_piece):
        came = [n for t, n in self.pieces if t < end]
        return 0 if not came else came[-1] if came[-1] else len(came) * per_piece


async def ask(host, port, a):
    """Streams one answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        data = json.dumps(a.body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
        rest = b""
        while block := await reader.read(65536):
            rest += block
            if status != 200:
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    a.whole = True
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    raise RuntimeError(str(event["error"]))
                a.take(event)
        if status != 200:
            raise RuntimeError(f"status {status}: {rest[:300]!r}")
        if not a.whole:
            raise RuntimeError("the stream ended without [DONE]")
        n = a.usage.get("completion_tokens", a.body["max_tokens"])
        if n != a.body["max_tokens"]:
            raise RuntimeError(f"{n} tokens came, {a.body['max_tokens']} were asked for")
    finally:
        writer.close()


def at(values, q):
    return values[min(len(values) - 1, int(q * len(values)))]


class Load:
    def __init__(self, o):
        self.o = o
        url = urllib.parse.urlparse(o.url)
        self.host, self.port = url.hostname, url.port or 80
        self.ids = self.tokenize(open(o.text, encoding="utf-8").read())
        if len(self.ids) < o.max_prompt + o.shared * o.groups:
            sys.exit(f"{o.text} has {len(self.ids)} tokens: too few")
        self.all, self.done, self.errors = [], [], []

    def tokenize(self, text):
        body = json.dumps({"model": self.o.model, "content": text}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.o.url.rstrip("/") + "/tokenize", body, {"Content-Type": "application/json"})) as r:
            return json.load(r)["tokens"]

    def make(self, rnd, group, turn):
        o = self.o
        n = round(math.exp(rnd.uniform(math.log(o.min_prompt), math.log(o.max_prompt))))
        first = [rnd.choice(self.ids) for _ in range(4)]
        at = rnd.randrange(len(self.ids) - n)
        return {
            "model": o.model, "prompt": self.ids[o.shared * group : o.shared * (group + 1)] + (first + self.ids[at : at + n])[:n], "max_tokens": o.tokens,
            "temperature": 0.8 if turn % 2 else 0, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": rnd.getrandbits(31),
            "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}, "cache_prompt": bool(o.shared),
            "return_token_ids": True, "timings_per_token": True,
        }

    async def client(self, i, end):
        rnd, turn = random.Random(self.o.seed * 1000 + i), i
        while time.monotonic() < end:
            a = Answer(self.make(rnd, i % self.o.groups, turn))
            turn += 1
            self.all.append(a)
            try:
                await ask(self.host, self.port, a)
                self.done.append(a)
            except Exception as e:  # reported, and the run fails
                self.errors.append(repr(e))
                await asyncio.sleep(0.2)

    def per_piece(self):
        whole = sum(a.usage.get("completion_tokens", 0) for a in self.done)
        return whole / sum(len(a.pieces) for a in self.done) if whole else 1

    async def watch(self, begin, end):
        while time.monotonic() < end:
            await asyncio.sleep(max(0, min(10, end - time.monotonic())))
            now = time.monotonic()
            tokens = sum(a.tokens_until(now, self.per_piece()) for a in self.all)
            print(f"{self.o.name}: {now - begin:.0f} of {self.o.seconds:.0f} s, {len(self.done)} answers, {len(self.errors)} errors, {tokens / (now - begin):.1f} tokens/s", file=sys.stderr, flush=True)

    async def run(self, pid):
        o = self.o
        begin, cpu = time.monotonic(), cpu_seconds(pid) if pid else 0
        end = begin + o.seconds
        tasks = [asyncio.create_task(self.client(i, end)) for i in range(o.clients)]
        await self.watch(begin, end)
        cpu = cpu_seconds(pid) - cpu if pid else 0
        if o.cut:
            for t in tasks:
                t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.report(begin, end, cpu)

    def report(self, begin, end, cpu):
        """Of what came within the time of the run. A first token that had not come by then counts as if it came at that moment."""
        o, per = self.o, self.per_piece()
        times = [[t for t, _ in a.pieces] for a in self.all]
        ttft = sorted(min(t[0] if t else end, end) - a.sent for a, t in zip(self.all, times) if a.sent < end)
        gaps = sorted(b - a for t in times for a, b in zip(t, t[1:]) if b < end) or [0]
        tokens = sum(a.tokens_until(end, per) for a in self.all)
        late_half = tokens - sum(a.tokens_until((begin + end) / 2, per) for a in self.all)
        prompts = sum(len(a.body["prompt"]) for a, t in zip(self.all, times) if t and t[0] < end)
        r = {
            "server": o.name, "clients": o.clients, "seconds": o.seconds, "answers": len(self.done), "errors": len(self.errors),
            "output_tokens_per_s": tokens / o.seconds, "in_the_second_half": 2 * late_half / o.seconds, "prompt_tokens_per_s": prompts / o.seconds,
            "first_tokens_outstanding": sum(1 for t in times if not t or t[0] >= end), "ttft_median_s": at(ttft, 0.5), "ttft_p99_s": at(ttft, 0.99),
            "itl_median_ms": 1e3 * at(gaps, 0.5), "itl_p99_ms": 1e3 * at(gaps, 0.99), "itl_p99_over_median": at(gaps, 0.99) / at(gaps, 0.5) if at(gaps, 0.5) else None,
        }
        if cpu:
            r["cpu_s"] = cpu
            r["output_tokens_per_cpu_s"] = tokens / cpu
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}), flush=True)
        for e in self.errors[:3]:
            print("error:", e, file=sys.stderr)

    async def check(self, fresh):
        """Asks again, one at a time: of finished answers the whole text, of cut ones what came."""
        some = [a for a in self.all if a.whole or a.text]
        if self.o.check != "all":
            some = random.Random(1).sample(some, min(int(self.o.check), len(some)))
        same, cut, begin = 0, sum(1 for a in some if not a.whole), time.monotonic()
        for i, a in enumerate(some):
            alone = Answer(a.body)
            try:
                await ask(self.host, self.port, alone)
            except Exception as e:
                print("error alone:", repr(e), file=sys.stderr)
            ok = alone.whole and (alone.text == a.text if a.whole else alone.text.startswith(a.text))
            same += ok
            if not ok:
                print(f"differs alone: temperature {a.body['temperature']}\n  {a.text!r}\n  {alone.text!r}", file=sys.stderr)
            if i % 50 == 49:
                print(f"{self.o.name}: {i + 1} of {len(some)} asked again, {same} the same, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        print(json.dumps({"server": self.o.name, "asked_again_alone": len(some), "of_answers": len(self.done), "cut_off_and_compared_so_far": cut, "same": same, "server_was_started_anew": fresh}), flush=True)
        return same == len(some)


async def main(o):
    server = Started(o.start, o.url) if o.start else None
    load = Load(o)
    await load.run(server.process.pid if server else o.pid)
    ok = not load.errors
    if o.check != "0":
        if server:
            server.stop()
            server = Started(o.start, o.url)
        ok = await load.check(server is not None) and ok
    if server:
        server.stop()
    return ok


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("url")
    p.add_argument("--text", required=True)
    p.add_argument("--start", metavar="COMMAND", help="the server, started here; its port is that of the URL")
    p.add_argument("--name", default="tutti")
    p.add_argument("--model", default="default")
    p.add_argument("--check", default="0", metavar="N|all")
    for name, value in (("clients", 64), ("tokens", 128), ("min-prompt", 16), ("max-prompt", 2000), ("seed", 1), ("shared", 0), ("groups", 1), ("pid", 0)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--cut", action="store_true", help="hang up when the time is over instead of waiting for the answers under way")
    sys.exit(0 if asyncio.run(main(p.parse_args())) else 1)
