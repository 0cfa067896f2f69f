# SPDX-License-Identifier: Apache-2.0
"""What the tests of the server share: a server of their own on a free port, and raw requests to it."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

# What the user of this machine has is not touched.
home = tempfile.TemporaryDirectory()
os.environ.update(XDG_DATA_HOME=home.name, TUTTI_CACHE=home.name + "/cache")
for name in "TUTTI_LEDGER", "TUTTI_SIGNING", "TUTTI_ISA":
    os.environ.pop(name, None)

MODEL = "tests/data/tiny.gguf"
faults = []


def fault(text):
    faults.append(text)
    print("serve: " + text, flush=True)


def check(ok, text):
    if not ok:
        fault(text)
    return ok


class Server:
    def __init__(self, program, *options, model=MODEL, wait=True):
        self.log = []
        with open(program[-1], "rb") as f:
            # The thread sanitizer keeps four bytes for each of the program, and clocks of what is locked.
            self.shadow = 5 if b"__tsan_init" in f.read() else 1
        self.process = subprocess.Popen([*program, "serve", model, "--port", "0", *options], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.port = None
        self.ready = threading.Event()
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait and not self.ready.wait(60):
            raise RuntimeError("the server is not ready: %s" % self.log)

    def _read(self):
        for line in self.process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": "text", "text": line}
            self.log.append(entry)
            if entry["event"] == "listening":
                self.url = entry["url"]
                self.port = int(entry["url"].rsplit(":", 1)[1])
                self.listening.set()
            if entry["event"] == "ready":
                self.ready.set()
        self.ready.set()
        self.listening.set()

    def events(self, name):
        return [e for e in self.log if e["event"] == name]

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def rss_mb(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0

    def stop(self, sig=signal.SIGTERM, timeout=30):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(timeout)
        self.reader.join(5)
        return status

    def connect(self, receive=0):
        s = socket.socket()
        s.settimeout(240)
        if receive:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.connect(("127.0.0.1", self.port))
        return s

    def request(self, method, path, body=None, headers=None):
        """Status, headers (names in lower case) and body of one request."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        head = {"Host": "127.0.0.1:%d" % self.port, "Connection": "close"}
        if body is not None:
            head.update({"Content-Type": "application/json", "Content-Length": str(len(body))})
        head.update(headers or {})
        text = "%s %s HTTP/1.1\r\n%s\r\n" % (method, path, "".join("%s: %s\r\n" % h for h in head.items()))
        with self.connect() as s:
            s.sendall(text.encode() + (body or b""))
            data = b""
            while True:
                part = s.recv(65536)
                if not part:
                    break
                data += part
        top, _, rest = data.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        got = {k.lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:])}
        if got.get("transfer-encoding") == "chunked":
            rest = unchunk(rest)
        return int(lines[0].split()[1]), got, rest

    def json(self, method, path, body=None, headers=None):
        status, head, text = self.request(method, path, body, headers)
        return status, json.loads(text) if text else None

    def metric(self, name):
        for line in self.request("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(name + "{") or line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return None


def unchunk(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            break
        out, data = out + data[:n], data[n + 2:]
    return out


def sse(data):
    """The events of a stream: parsed data lines, "[DONE]" as it is."""
    out = []
    for block in data.decode().split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: "):
                out.append("[DONE]" if line == "data: [DONE]" else json.loads(line[6:]))
    return out


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
