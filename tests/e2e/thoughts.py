# SPDX-License-Identifier: Apache-2.0
"""thoughts.py PROGRAM...: how `tutti run` shows thoughts, channels and calls, on a terminal and in a pipe. Models that write such
are made of tests/data/tiny.gguf by a word in its template; what they write is forced by --regex. Called by run.sh."""
import json, os, pty, re, subprocess, sys, tempfile

tutti, bad = sys.argv[1:], []
tmp = tempfile.TemporaryDirectory()
env = {k: v for k, v in os.environ.items() if k not in ('NO_COLOR', 'TERM')}
env.update(TUTTI_CACHE=tmp.name + '/cache', TERM='xterm', LC_ALL='C.UTF-8')


def model(name, comment):
    """tiny.gguf with a comment in its chat template."""
    with open('tests/data/tiny.gguf', 'rb') as f:
        b = f.read()
    at = b.index(b'{% for message in messages %}')
    n = int.from_bytes(b[at - 8:at], 'little')
    template = b[at:at + n] + b'{#' + comment.encode()
    info = b[at + n:]  # the rest of the header is behind the template; alignment is kept by whole steps of 32
    template += b' ' * (-(len(template) + 2 - n) % 32) + b'#}'
    with open(f'{tmp.name}/{name}.gguf', 'wb') as f:
        f.write(b[:at - 8] + len(template).to_bytes(8, 'little') + template + info)
    return f'{tmp.name}/{name}.gguf'


def piped(path, text, *args, **more):
    r = subprocess.run([*tutti, 'run', path, 'x', '--regex', re.sub(r'([\\|{}\[\]().*+?])', r'\\\1', text), *args], env={**env, **more},
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


def terminal(path, text, *args, **more):
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe(tutti[0], [*tutti, 'run', path, 'x', '--regex', re.sub(r'([\\|{}\[\]().*+?])', r'\\\1', text), *args], {**env, **more})
    out = b''
    while True:
        try:
            more_ = os.read(fd, 65536)
        except OSError:
            break
        if not more_:
            break
        out += more_
    os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, out.decode().replace('\r\n', '\n')


def check(what, got, want):
    if got != want:
        bad.append(what)
        print(f'thoughts: {what}: {got!r}, not {want!r}')


think, channels, plain = model('think', '<think>'), model('channels', '<|channel|><|message|>'), 'tests/data/tiny.gguf'
said = '<think>\none two\n</think>\n\nthree'
check('piped', piped(think, said), (0, 'three\n', '(thinking)\none two\n(end of thinking)\n'))
check('piped, hidden', piped(think, said, '--thoughts', 'hide'), (0, 'three\n', ''))
check('piped, raw', piped(think, said, '--thoughts', 'raw'), (0, said + '\n', ''))
check('a model that does not think', piped(plain, said), (0, said + '\n', ''))
check('terminal', terminal(think, said), (0, '\033[2mone two\n\033[22m\nthree\n'))
check('terminal without colour', terminal(think, said, NO_COLOR='1'), (0, '(thinking)\none two\n(end of thinking)\n\nthree\n'))
check('terminal, dumb', terminal(think, said, TERM='dumb'), (0, '(thinking)\none two\n(end of thinking)\n\nthree\n'))
check('terminal, hidden', terminal(think, said, '--thoughts', 'hide'), (0, 'three\n'))
check('control characters of a thought', terminal(think, '<think>a\033[31mb</think>c'), (0, '\033[2ma\ufffd[31mb\n\033[22m\nc\n'))
check('a thought that does not end', terminal(think, '<think>one'), (0, '\033[2mone\n\033[22m\n'))
check('no thought', piped(think, 'three'), (0, 'three\n', ''))

said = '<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>final<|message|>two'
check('channels, piped', piped(channels, said), (0, 'two\n', '(thinking)\none\n(end of thinking)\n'))
check('channels, terminal', terminal(channels, said), (0, '\033[2mone\n\033[22m\ntwo\n'))

tools = [{'type': 'function', 'function': {'name': 'f', 'parameters': {'type': 'object', 'properties': {'a': {'type': 'integer'}}}}}]
with open(tmp.name + '/tools.json', 'w') as f:
    json.dump(tools, f)
with open(tmp.name + '/request.json', 'w') as f:
    json.dump({'tools': tools}, f)
call = '<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>'
line = '{"name": "f", "arguments": {"a": 1}}\n'
for file in ('tools', 'request'):
    check(f'a call, {file}', piped(plain, call, '--tools', f'{tmp.name}/{file}.json'), (0, line, ''))
check('text, two calls', piped(plain, 'now:' + call + call, '--tools', tmp.name + '/tools.json'), (0, 'now:\n' + line + line, ''))
check('a thought, a call', piped(think, '<think>one</think>' + call, '--tools', tmp.name + '/tools.json'), (0, line, '(thinking)\none\n(end of thinking)\n'))
check('a call in a channel', piped(channels, '<|channel|>commentary to=functions.f<|message|>{"a":1}<|call|>', '--tools', tmp.name + '/tools.json'), (0, line, ''))
check('a call of no function', piped(plain, call.replace('"f"', '"g"'), '--tools', tmp.name + '/tools.json'), (0, call.replace('"f"', '"g"') + '\n', ''))
wordy = model('wordy', '#}{% if wordy %}many more words{% endif %}{#')
lengths = [re.search(r'prompt:\s+(\d+) tokens', piped(wordy, 'x', '-v', *args)[2])[1] for args in ([], ['--template-kwargs', '{"wordy": true}'])]
if not int(lengths[0]) < int(lengths[1]):
    bad.append('--template-kwargs')
    print(f'thoughts: --template-kwargs: prompts of {lengths} tokens')
for args, words in ((['--thoughts', 'loud'], 'show, hide or raw'), (['--template-kwargs', '[]'], 'expected a JSON object'), (['--template-kwargs', '{'], 'expected a JSON object'), (['--template-kwargs', '{}', '--receipt', tmp.name + '/r'], 'has no place'), (['--tools', tmp.name + '/none'], 'No such file'), (['--tools', plain], 'line 1'),
                    (['--raw', '--tools', tmp.name + '/tools.json'], '--raw leaves out')):
    status, out, err = piped(plain, 'x', *args)
    if status == 0 or words not in err:
        bad.append(args)
        print(f'thoughts: {args}: status {status}, {err!r}')
with open(tmp.name + '/tools.json', 'w') as f:
    json.dump([{'type': 'function'}], f)
if 'expected the name of a function' not in (err := piped(plain, 'x', '--tools', tmp.name + '/tools.json')[2]):
    bad.append('tools without a name')
    print(f'thoughts: tools without a name: {err!r}')
sys.exit(bool(bad))
