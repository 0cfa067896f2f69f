# SPDX-License-Identifier: Apache-2.0
"""kill.py TIMES PROGRAM...: what kill.sh runs. Clients ask in a closed loop, half of them by streams; the server is killed, starts
again over the same ledger, and so on. In the end every request whose reply was seen whole is in the ledger exactly once."""
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from serve_common import Server, check, faults, wait_until

times, program = int(sys.argv[1]), sys.argv[2:]
CLIENTS = 12


class Client(threading.Thread):
    def __init__(self, server, key, i):
        super().__init__(daemon=True)
        self.server, self.key, self.i = server, key, i
        self.whole, self.bad = [], []
        self.quit = False

    def run(self):
        n = 0
        while not self.quit:
            n += 1
            stream = (self.i + n) % 2 == 0
            body = {"model": "tiny", "prompt": "client %d asks %d times" % (self.i, n), "max_tokens": 1 + 13 * n % 40, "stream": stream, "ignore_eos": True}
            try:
                status, head, data = self.server.request("POST", "/v1/completions", body, {"Authorization": "Bearer " + self.key})
            except (OSError, ValueError, IndexError):
                return  # killed in the middle
            if status != 200:
                self.bad.append((status, data))
                return
            if data.endswith(b"data: [DONE]\n\n") if stream else len(data) == int(head.get("content-length", -1)):
                self.whole.append(head["x-request-id"])


def load(server, key):
    """Until some replies were whole, and a random while longer."""
    clients = [Client(server, key, i) for i in range(CLIENTS)]
    for c in clients:
        c.start()
    wait_until(lambda: sum(len(c.whole) for c in clients) >= CLIENTS // 2, 30)
    time.sleep(random.random() / 2)
    return clients


def main(tmp):
    ledger = os.path.join(tmp, "ledger.db")
    key = subprocess.run([*program, "keys", "create", "--ledger", ledger], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([*program, "keys", "signing"], capture_output=True, check=True)
    answered, starts, before = [], [], 0
    for i in range(times):
        begin = time.monotonic()
        server = Server(program, "--require-key", "--ledger", ledger, "--receipts", "--threads", "1")
        starts.append(time.monotonic() - begin)
        clients = load(server, key)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        for c in clients:
            c.quit = True
        for c in clients:
            c.join(30)
            check(not c.bad, "a client got %s" % c.bad[:1])
            answered += c.whole
        check(len(answered) > before, "kill %d came before any answer" % i)
        before = len(answered)
    db = sqlite3.connect(ledger)
    check(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "the ledger is damaged")
    rows = [r[0] for r in db.execute("SELECT request FROM requests")]
    missing = set(answered) - set(rows)
    check(not missing, "%d of %d answered requests are not in the ledger" % (len(missing), len(answered)))
    check(len(answered) == len(set(answered)) and len(rows) == len(set(rows)), "a request is there twice")
    sums = db.execute("SELECT SUM(n_requests), SUM(n_prompt), SUM(n_answer) FROM daily").fetchone()
    single = db.execute("SELECT COUNT(*), SUM(n_prompt), SUM(n_answer) FROM requests").fetchone()
    check(sums == single, "the day's sums %s are not those of the requests %s" % (sums, single))
    used = json.loads(subprocess.run([*program, "usage", "--ledger", ledger, "--json", "--by", "key"], capture_output=True, text=True, check=True).stdout)
    check(used[0]["requests"] == len(rows), "usage says %s, there are %d rows" % (used, len(rows)))
    check(sorted(starts)[0] < 1, "a restart takes %.2f s at best" % sorted(starts)[0])
    print("kill: %d kills, %d whole replies, %d rows (%d were cut off after they were written), restart %.2f s median, %.2f s worst"
          % (times, len(answered), len(rows), len(rows) - len(answered), sorted(starts)[len(starts) // 2], max(starts)))


with tempfile.TemporaryDirectory() as tmp:
    main(tmp)
sys.exit(1 if faults else 0)
