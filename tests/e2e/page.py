# SPDX-License-Identifier: Apache-2.0
"""page.py PROGRAM...: what page.sh runs. With --shots MODEL it makes the screenshots of doc/ instead (make page-shots)."""
import json
import os
import signal
import sys
import time
from urllib.parse import urlsplit
from playwright.sync_api import sync_playwright
from serve_common import Server, check, fault, faults, wait_until

BODY = "#log li.assistant:last-child .body"
# An answer that tries everything: what must become elements, and what must stay text.
TRICKS = """# Head *line*

Plain **bold** _it_ `co<de>` ~~old~~ [good](https://example.org/x) [bad](javascript:alert(1)) <img src=x onerror=alert(1)>
<script>alert(2)</script>

- one
- two
  1. deep
> quoted

| a | b |
|---|:-:|
| 1 | **2** |

---
```html
<b>not bold</b> **nor this**
```
"""


def start(program, *options, **more):
    started.append(Server(program, *options, **more))
    return started[-1]


def events(*pieces):
    out = ""
    for p in pieces:
        out += "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}]}) + "\n\n"
    out += "data: " + json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + "\n\n"
    return out + "data: [DONE]\n\n"


def ready(page):
    page.wait_for_function("() => document.querySelector('#state').textContent === 'ready'", timeout=90000)


def ask(page, text):
    page.fill("#text", text)
    page.press("#text", "Enter")


def pulse(server):
    """The server works for a moment and is halted again: else its answer may be over before a browser that waits for a busy machine has looked."""
    server.process.send_signal(signal.SIGCONT)
    time.sleep(0.03)
    server.process.send_signal(signal.SIGSTOP)


def check_stream(page, server):
    """Sends a message, sees the answer grow, stops it by button and by key; the server stops as well."""
    page.fill("#temperature", "0")
    page.fill("#max_tokens", "")
    ask(page, "hello there")
    lengths = []
    grown = "n => (document.querySelector('%s') || {textContent: ''}).textContent.length > n" % BODY
    for _ in range(4):
        seen = lengths[-1] if lengths else 0
        end = time.monotonic() + 90
        while not page.evaluate(grown, seen) and time.monotonic() < end:
            pulse(server)
        lengths.append(page.evaluate("document.querySelector('%s').textContent.length" % BODY))
    check(lengths == sorted(lengths) and lengths[-1] > lengths[0], "the answer does not grow: %s" % lengths)
    check(page.is_visible("#stop") and not page.is_visible("#send"), "while an answer is written there is Stop instead of Send")
    page.wait_for_function("() => document.querySelector('#state').textContent.includes('tokens/s')")
    page.click("#stop")
    server.process.send_signal(signal.SIGCONT)
    page.wait_for_selector("#send:visible")
    news = page.inner_text("#news")
    check("stopped" in news and "tokens/s" in news, "after Stop the page says '%s'" % news)
    check(page.evaluate("document.activeElement.id") == "text", "after an answer the cursor is not in the message field")
    ask(page, "again")
    page.wait_for_function("() => document.querySelectorAll('#log li').length === 4 && document.querySelector('%s').textContent.length > 10" % BODY)
    page.keyboard.press("Escape")
    page.wait_for_selector("#send:visible")
    page.wait_for_function("() => [...document.querySelectorAll('#figures dt')].some(d => d.textContent === 'Answers now' && d.nextSibling.textContent === '0')", timeout=90000)
    page.click("#new")
    check(page.locator("#log li").count() == 0, "New chat leaves entries")


def check_tricks(page):
    page.route("**/v1/chat/completions", lambda r: r.fulfill(status=200, content_type="text/event-stream", body=events(*[TRICKS[i:i + 7] for i in range(0, len(TRICKS), 7)])))
    ask(page, "<b>tricks</b>")
    page.wait_for_selector("#send:visible")
    html = page.inner_html(BODY)
    for tag in ("h3", "strong", "em", "code", "s", "ul", "ol", "blockquote", "table", "hr", "pre"):
        check(page.locator(BODY + " " + tag).count() >= 1, "Markdown gives no <%s>: %s" % (tag, html))
    for tag in ("img", "script", "pre b", "pre strong"):
        check(page.locator(BODY + " " + tag).count() == 0, "text became <%s>" % tag)
    links = page.eval_on_selector_all(BODY + " a", "all => all.map(a => a.getAttribute('href'))")
    check(links == ["https://example.org/x"], "links: %s" % links)
    check("<img src=x" in page.inner_text(BODY) and "javascript:" in page.inner_text(BODY), "what is no Markdown is not shown as text")
    check(page.inner_text("#log li.user .body") == "<b>tricks</b>", "the user's text is not shown as it is")
    page.unroute("**/v1/chat/completions")
    page.click("#new")


def check_faults(page):
    body = json.dumps({"error": {"message": "the <i>queue</i> is full", "type": "x"}})
    page.route("**/v1/chat/completions", lambda r: r.fulfill(status=429, content_type="application/json", body=body))
    ask(page, "x")
    page.wait_for_selector("#log [role=alert]")
    check(page.inner_text("#log [role=alert]") == "the <i>queue</i> is full", "a fault is shown as '%s'" % page.inner_text("#log [role=alert]"))
    page.unroute("**/v1/chat/completions")
    page.click("#new")


def check_names(page):
    """Everything that takes input has a name, and Tab reaches it."""
    bad = page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea')]
        .filter(e => !(e.textContent.trim() && e.tagName === 'BUTTON') && !(e.labels && e.labels.length)).map(e => e.id)""")
    check(not bad, "without a name: %s" % bad)
    reached = set()
    page.focus("body")
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    check({"model", "new", "log", "text", "send", "system", "temperature", "seed"} <= reached, "Tab reaches only %s" % sorted(reached))


def check_key(browser, program):
    """A server that wants a key: the page loads, asks for it, and works with it."""
    import subprocess
    key = subprocess.run([*program, "keys", "create", "--name", "page"], capture_output=True, text=True, check=True).stdout.strip()
    server = start(program, "--require-key", "--isa", "ref")
    page = browser.new_page()
    page.goto(server.url + "/")
    page.wait_for_selector("#keyform:visible", timeout=90000)
    page.fill("#key", "tk_wrong")
    page.press("#key", "Enter")
    page.wait_for_function("() => document.querySelector('#state').textContent.includes('key')")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector("#keyform", state="hidden")
    ready(page)
    ask(page, "x")
    page.wait_for_function("() => (document.querySelector('%s') || {textContent: ''}).textContent.length > 0" % BODY, timeout=90000)
    page.close()
    check(server.stop() == 0, "the server with a key ended badly")


def run(browser, program):
    server = start(program, "--isa", "ref")  # slow enough to be seen
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    asked, errors = [], []
    page.set_default_timeout(90000)
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" and "429" not in m.text else None)
    page.on("dialog", lambda d: fault("a script of the answer ran"))
    page.goto(server.url + "/")
    ready(page)
    check(page.inner_text("#about").find("2,048 tokens") > 0, "model information: %s" % page.inner_text("#about"))
    page.wait_for_function("() => document.querySelector('#figures').textContent.includes('Answer tokens')")
    check_stream(page, server)
    check_tricks(page)
    check_faults(page)
    check_names(page)
    page.set_viewport_size({"width": 360, "height": 640})
    ask(page, "x")
    page.wait_for_function("() => document.querySelector('%s').textContent.length > 10" % BODY)
    page.keyboard.press("Escape")
    page.wait_for_selector("#send:visible")
    check(page.evaluate("document.scrollingElement.scrollWidth") <= 360, "on a phone the page is wider than the screen")
    check(page.evaluate("document.querySelector('#send').getBoundingClientRect().bottom") <= 640, "on a phone Send is out of sight")
    outside = [u for u in asked if urlsplit(u).netloc != urlsplit(server.url).netloc and not u.startswith("data:")]
    check(not outside, "asked of others: %s" % outside)
    check(not errors, "errors of the page: %s" % errors)
    page.close()
    check(wait_until(lambda: server.metric("tutti_requests_running") == 0, 5), "answers go on after the page was closed")
    check(server.stop() == 0, "the server ended badly")


def shots(browser, program, model):
    server = start(program, "--ctx", "2048", "--threads", "1", model=model)
    for name, width, height in (("page", 1200, 760), ("page-phone", 390, 760)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(server.url + "/")
        ready(page)
        page.fill("#temperature", "0")
        page.fill("#max_tokens", "120")
        ask(page, "What makes the sky blue? Answer with a short list.")
        page.wait_for_selector("#send:visible", timeout=200000)
        page.wait_for_function("() => document.querySelector('#figures').textContent.includes('Between tokens')", timeout=90000)
        page.evaluate("document.querySelector('#log').scrollTop = 0")
        page.screenshot(path="doc/%s.png" % name)
        page.close()
    server.stop()


started = []
with sync_playwright() as p:
    chromium = p.chromium.launch(executable_path=os.environ["TUTTI_BROWSER"], args=["--no-sandbox", "--disable-gpu"])
    try:
        if sys.argv[1] == "--shots":
            shots(chromium, sys.argv[3:], sys.argv[2])
        else:
            run(chromium, sys.argv[1:])
            check_key(chromium, sys.argv[1:])
    finally:
        for server in started:
            if server.process.poll() is None:
                server.process.kill()
    chromium.close()
sys.exit(1 if faults else 0)
