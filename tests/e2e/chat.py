# SPDX-License-Identifier: Apache-2.0
"""chat.py PROGRAM...: the chat of `tutti run MODEL` at a pseudo-terminal, and signals. Called by run.sh."""
import fcntl, json, os, pty, re, select, signal, subprocess, sys, tempfile, termios, time

tutti, model = sys.argv[1:], 'tests/data/tiny.gguf'
tmp = tempfile.TemporaryDirectory()
env = dict(os.environ, TUTTI_CACHE=tmp.name + '/cache', HOME=tmp.name, TERM='xterm', LC_ALL='C.UTF-8')
bad = []
PATIENCE_S = 60
PROMPT = r'\n>>> '  # a fresh one; a redrawn one follows no newline


def check(ok, what):
    if not ok:
        bad.append(what)
        print('chat:', what)


class Chat:
    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, b'\x28\0\xa0\0\0\0\0\0')  # 40 lines of 160
            os.execvpe(tutti[0], tutti + ['run', model, *args], env)
        self.seen = ''

    def until(self, pattern):
        """Reads until pattern appears in what is new; returns the new text."""
        end = time.time() + PATIENCE_S
        while not (m := re.search(pattern, self.seen, re.S)):
            if time.time() > end or not select.select([self.fd], [], [], end - time.time())[0]:
                check(False, f'no {pattern!r} in {self.seen[-600:]!r}')
                return self.seen
            try:
                self.seen += os.read(self.fd, 65536).decode(errors='replace')
            except OSError:
                check(False, f'ended before {pattern!r}: {self.seen[-600:]!r}')
                return self.seen
        text, self.seen = self.seen[:m.end()], self.seen[m.end():]
        return text

    def send(self, text):
        os.write(self.fd, text.encode())

    def line(self, text, pattern=PROMPT):
        self.send(text + '\r')
        return self.until(pattern)

    def status(self):
        end = time.time() + PATIENCE_S
        while time.time() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors='replace')
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        return 'hangs'


c = Chat('-n', '8')
check('/help' in c.until(PROMPT), 'no greeting')
text = c.line('/help')
for word in ('/clear', '/system', '/set', '/info', '/save', '/exit', 'Ctrl-C'):
    check(word in text, f'/help lacks {word}')
check("no command '/nonsense'" in c.line('/nonsense'), 'an unknown command is not refused')
check('temperature' in c.line('/set'), '/set shows nothing')
check('must be 0..100' in c.line('/set temperature 200'), '/set takes a temperature of 200')
check("'heat' is no parameter" in c.line('/set heat 1'), '/set takes a parameter that is none')
c.line('/set top-k 3')
check(re.search(r'top_k +3', c.line('/set')), '/set top-k 3 is not kept')
check('helpful' in c.line('/system'), 'no default system message')
c.line('/system be brief')
check('be brief' in c.line('/system'), '/system is not kept')
c.line('the work goes on')
c.line('\ud55c\uad6d\uc5b4 caf\u00e9x\x7f')
c.send('"""one\r')
c.until(r'\.\.\. ')
c.line('two"""')
c.send('\033[200~three\rfour\n  five\033[201~')  # pasted: one message of three lines
c.line('')
check(re.search(r'messages +8', c.line('/info')), '/info does not count 8 messages')
saved = tmp.name + '/talk.json'
c.line('/save ' + saved)
check('cannot write' in c.line('/save ' + saved), '/save writes over a file')
talk = json.load(open(saved))
check([m['role'] for m in talk] == ['system'] + ['user', 'assistant'] * 4, f'roles: {talk}')
said = [m['content'] for m in talk if m['role'] == 'user']
want = ['the work goes on', '\ud55c\uad6d\uc5b4 caf\u00e9', 'one\ntwo', 'three\nfour\n  five']
check(said == want, f'messages: {said}')
c.line('/clear')
check(re.search(r'messages +0', c.line('/info')), '/clear does not forget')
c.line('/set max_tokens 0')
c.line('/set temperature 1')
c.send('\033[A')  # history: the last line, edited
c.line('\x15/set seed 5')
text = c.line('/set')
check(re.search(r'seed +5\b', text), f'editing a line from the history: {text!r}')

# Ctrl-C: gives a line up, stops an answer, twice leaves.
c.send('half a li')
c.until('half a li')  # the editor has the terminal now: a Ctrl-C before that is no key
c.send('\x03')
check('again' in c.until(PROMPT), 'Ctrl-C at the prompt says nothing')
c.line('/info')
time.sleep(0.5)
c.send('\x03')
c.until(PROMPT)
time.sleep(0.5)
c.send('\x03')
check(c.status() == 0, 'Ctrl-C twice at the prompt does not leave with 0')

history = env['TUTTI_CACHE'] + '/history'
check(os.stat(history).st_mode & 0o777 == 0o600, 'the history can be read by others')
c = Chat()
c.until(PROMPT)
c.line('\033[A\033[A\033[A')  # '/set seed 5' of the session before
check(re.search(r'seed +5\b', c.line('/set')), 'the history of the session before')
check('\033[?2004l' in c.line('/exit', r'2004l'), 'bracketed paste stays on')
check(c.status() == 0, '/exit')

c = Chat()
c.until(PROMPT)
c.send('\x04')
check((s := c.status()) == 0, f'Ctrl-D leaves with {s}, expected 0: {c.seen!r}')

c = Chat()
c.until(PROMPT)
os.kill(c.pid, signal.SIGTERM)
check(c.status() == 143, 'SIGTERM at the prompt does not end with 143')
check(termios.tcgetattr(c.fd)[3] & termios.ECHO, 'SIGTERM leaves the terminal without echo')


def blocked(*args):
    """Runs until the pipe is full, so that a signal surely meets an answer under way."""
    r, w = os.pipe()
    fcntl.fcntl(w, 1031, 4096)  # F_SETPIPE_SZ
    p = subprocess.Popen(tutti + ['run', model, *args], stdout=w, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    os.close(w)
    end, left, quiet = time.time() + PATIENCE_S, b'', 0
    while quiet < 5 and time.time() < end:  # full: what waits in the pipe has stopped growing
        time.sleep(0.1)
        now = fcntl.ioctl(r, termios.FIONREAD, b'\0' * 4)
        quiet = quiet + 1 if now == left and any(now) else 0
        left = now
    return p, r


for sig, want in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
    p, r = blocked('x', '--raw', '--ignore-end', '--temperature', '1.5', '--top-p', '1', '--top-k', '0', '--min-p', '0')
    p.send_signal(sig)
    try:
        status = p.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        p.kill()
        status = 'hangs'
    note = p.stderr.read()
    check(status == want and not note, f'{sig.name} during an answer: status {status}, expected {want}, and {note}')
    os.close(r)

# Ctrl-C stops an answer of the chat, not the chat; what was said stays in the conversation.
c = Chat('--ignore-end', '--temperature', '1.5', '--top-p', '1', '--top-k', '0', '--min-p', '0', '--threads', '1')
c.until(PROMPT)
for _ in range(3):  # the tiny model may be done before the key arrives
    c.send('the work\r')
    c.until(r'the work\r\n.+')
    c.send('\x03')
    text = c.until(PROMPT)
    if '(stopped)' in text:
        break
    c.line('/clear')
else:
    print('chat: Ctrl-C in an answer *skipped*: every answer was done before the key arrived')
if '(stopped)' in text:
    check(re.search(r'messages +2', c.line('/info')), 'a stopped answer is not kept')
c.send('\x04')
check(c.status() == 0, 'the chat does not go on after a stopped answer')

print('chat:', 'failed' if bad else 'ok')
sys.exit(bool(bad))
