// SPDX-License-Identifier: Apache-2.0
// The page of `tutti serve`: one conversation with a model. It talks to the server that it came from and to nobody else. What a model
// or a user wrote becomes text nodes only (see markdown below), so no answer can run a script or load anything.
"use strict";

const $ = (id) => document.getElementById(id);
const FIGURES_MS = 2000; // between two looks at /metrics
const INLINE_MAX = 20000; // characters of a paragraph that is looked at for emphasis
const NEAR_END_PX = 60;  // so near to its end the conversation scrolls along

let messages = [];       // {role, content}
let running = null;      // AbortController of the answer that is being written
let models = [];
let open = false;        // the server is reachable

// --- the server ---------------------------------------------------------------------------------

function headers() {
  const key = sessionStorage.getItem("key");
  const h = {"Content-Type": "application/json"};
  if (key) h.Authorization = "Bearer " + key;
  return h;
}

async function failure(reply) {
  if (reply.status === 401) $("keyform").hidden = false;
  let text = "";
  try {
    text = (await reply.json()).error.message;
  } catch {
    text = reply.statusText;
  }
  return new Error(text || "status " + reply.status);
}

async function get(path) {
  const reply = await fetch(path, {headers: headers()});
  if (!reply.ok) throw await failure(reply);
  return reply;
}

// Calls take(object) for each event of a stream.
async function readEvents(reply, take) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue; // comments keep the line alive
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      take(JSON.parse(data));
    }
  }
}

// --- Markdown: text to nodes, without HTML --------------------------------------------------------

function element(name, children, attributes) {
  const e = document.createElement(name);
  for (const c of [].concat(children || [])) e.append(c); // strings become text nodes
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  return e;
}

// `code`, **bold**, *italic*, ~~gone~~, [text](address). The rest is text.
const INLINE = /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?)\*\*|__(?=\S)(.+?)__|\*(?=\S)([^*]+?)\*|(?<!\w)_(?=\S)([^_]+?)_(?!\w)|~~(.+?)~~|\[([^\]]+)\]\(([^)\s]+)\)/s;

function inline(text) {
  if (text.length > INLINE_MAX) return [text]; // the pattern's worst case grows with the square
  const out = [];
  let m;
  while ((m = INLINE.exec(text))) {
    if (m.index) out.push(text.slice(0, m.index));
    if (m[2] !== undefined) out.push(element("code", m[2]));
    else if (m[3] || m[4]) out.push(element("strong", inline(m[3] || m[4])));
    else if (m[5] || m[6]) out.push(element("em", inline(m[5] || m[6])));
    else if (m[7]) out.push(element("s", inline(m[7])));
    else if (/^(https?:|mailto:)/i.test(m[9])) out.push(element("a", inline(m[8]), {href: m[9], rel: "noopener noreferrer nofollow", target: "_blank"}));
    else out.push(m[0]); // no other kind of address
    text = text.slice(m.index + m[0].length);
  }
  if (text) out.push(text);
  return out;
}

const FENCE = /^\s{0,3}(```+|~~~+)\s*(\S*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((c) => c.trim());
}

// Cuts text into blocks {kind, lines}; the last one may still grow.
function blocks(text) {
  const out = [];
  const lines = text.split("\n");
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    const fence = FENCE.exec(line);
    const begin = i;
    if (!line.trim()) {
      i++;
    } else if (fence) {
      for (i++; i < lines.length && !lines[i].trim().startsWith(fence[1]); i++);
      out.push({kind: "code", lines: lines.slice(begin + 1, i)});
      i++;
    } else if (HEADING.test(line) || RULE.test(line)) {
      out.push({kind: RULE.test(line) ? "rule" : "heading", lines: [line]});
      i++;
    } else if (line.startsWith(">")) {
      while (i < lines.length && lines[i].startsWith(">")) i++;
      out.push({kind: "quote", lines: lines.slice(begin, i)});
    } else if (ITEM.test(line)) {
      while (i < lines.length && (ITEM.test(lines[i]) || /^\s+\S/.test(lines[i]) || (!lines[i].trim() && ITEM.test(lines[i + 1] || "")))) i++;
      out.push({kind: "list", lines: lines.slice(begin, i)});
    } else if (line.includes("|") && TABLE_RULE.test(lines[i + 1] || "")) {
      while (i < lines.length && lines[i].includes("|")) i++;
      out.push({kind: "table", lines: lines.slice(begin, i)});
    } else {
      while (i < lines.length && lines[i].trim() && (i === begin || !(FENCE.test(lines[i]) || HEADING.test(lines[i]) || ITEM.test(lines[i]) || lines[i].startsWith(">")))) i++;
      out.push({kind: "text", lines: lines.slice(begin, i)});
    }
  }
  return out;
}

function list(lines) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const out = element(ordered ? "ol" : "ul", [], ordered ? {start: String(parseInt(first[2], 10))} : {});
  for (let i = 0; i < lines.length;) {
    const item = ITEM.exec(lines[i]);
    const inner = [];
    const li = element("li", inline(item ? item[3] : lines[i].trim()));
    for (i++; i < lines.length; i++) {
      const next = ITEM.exec(lines[i]);
      if (next && next[1].length <= first[1].length) break;
      inner.push(lines[i].slice(Math.min(first[1].length + 2, /^\s*/.exec(lines[i])[0].length)));
    }
    if (inner.some((l) => l.trim())) li.append(...blocks(inner.join("\n")).map(node));
    out.append(li);
  }
  return out;
}

function table(lines) {
  const row = (line, name) => element("tr", cells(line).map((c) => element(name, inline(c))));
  return element("table", [element("thead", row(lines[0], "th")), element("tbody", lines.slice(2).map((l) => row(l, "td")))]);
}

function node(block) {
  const text = block.lines.join("\n");
  switch (block.kind) {
  case "code": return element("pre", element("code", text), {tabindex: "0"});
  case "heading": return element("h" + Math.min(6, HEADING.exec(text)[1].length + 2), inline(HEADING.exec(text)[2]));
  case "rule": return element("hr");
  case "quote": return element("blockquote", blocks(block.lines.map((l) => l.replace(/^> ?/, "")).join("\n")).map(node));
  case "list": return list(block.lines);
  case "table": return table(block.lines);
  default: return element("p", inline(text));
  }
}

// Shows text in a node; blocks that did not change since the last call are left alone.
function show(where, text) {
  const now = blocks(text);
  const old = where.blocks || [];
  let same = 0;
  while (same < now.length && same < old.length && now[same].kind === old[same].kind && now[same].lines.join("\n") === old[same].lines.join("\n")) same++;
  while (where.children.length > same) where.lastChild.remove();
  where.append(...now.slice(same).map(node));
  where.blocks = now;
}

// --- the conversation -----------------------------------------------------------------------------

function addEntry(role, text) {
  const body = element("div", [], {class: "body"});
  const entry = element("li", [element("h2", role === "user" ? "You" : "Answer", {class: "who"}), body], {class: role});
  if (role === "user") body.append(text);
  $("log").append(entry);
  entry.scrollIntoView({block: "end"});
  return {entry, body};
}

function number(id) {
  const v = $(id).value.trim();
  return v === "" ? undefined : Number(v);
}

function request() {
  const system = $("system").value.trim();
  return {
    model: $("model").value,
    messages: (system ? [{role: "system", content: system}] : []).concat(messages),
    temperature: number("temperature"),
    top_p: number("top_p"),
    max_tokens: number("max_tokens"),
    seed: number("seed"),
    stream: true,
    stream_options: {include_usage: true},
  };
}

function rate(n, seconds) {
  return seconds > 0 ? (n / seconds).toFixed(1) + " tokens/s" : "";
}

function setRunning(controller) {
  running = controller;
  $("send").hidden = !!controller;
  $("stop").hidden = !controller;
  $("log").setAttribute("aria-busy", String(!!controller));
}

async function answer() {
  const {entry, body} = addEntry("assistant");
  const talk = messages; // a new chat may begin meanwhile
  const begin = performance.now();
  let text = "", first = 0, n = 0, usage = null, end = "", waiting = false;
  const draw = () => {
    const log = $("log");
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
    waiting = false;
    show(body, text);
    if (follow) log.scrollTop = log.scrollHeight;
    if (running && n > 1) $("state").textContent = rate(n - 1, (performance.now() - first) / 1000);
  };
  setRunning(new AbortController());
  entry.classList.add("writes");
  $("news").textContent = "";
  try {
    const reply = await fetch("v1/chat/completions", {method: "POST", headers: headers(), body: JSON.stringify(request()), signal: running.signal});
    if (!reply.ok) throw await failure(reply);
    await readEvents(reply, (event) => {
      if (event.error) throw new Error(event.error.message);
      const choice = (event.choices || [])[0];
      if (event.usage) usage = event.usage;
      if (event.x_groq && event.x_groq.usage) usage = event.x_groq.usage;
      if (!choice) return;
      if (choice.finish_reason) end = choice.finish_reason;
      if (!choice.delta || !choice.delta.content) return;
      first = first || performance.now();
      n++;
      text += choice.delta.content;
      if (!waiting) requestAnimationFrame(draw);
      waiting = true;
    });
  } catch (e) {
    end = e.name === "AbortError" ? "stopped" : "error";
    if (end === "error") body.after(element("p", e.message, {class: "bad", role: "alert"}));
  }
  const now = performance.now();
  setRunning(null);
  entry.classList.remove("writes");
  show(body, text);
  if (text) talk.push({role: "assistant", content: text});
  else if (end === "error") talk.pop(); // the question may be asked again
  const tokens = usage ? usage.completion_tokens : n;
  const seconds = usage && usage.completion_time ? usage.completion_time : (now - (first || now)) / 1000;
  const speed = rate(Math.max(0, tokens - 1), seconds);
  const parts = [tokens + " tokens", speed, first ? "first after " + ((first - begin) / 1000).toFixed(2) + " s" : "", end === "length" ? "the limit of tokens was reached" : "", end === "stopped" ? "stopped" : ""];
  $("news").textContent = end === "error" ? "The answer failed." : parts.filter(Boolean).join(" \u00b7 ");
  $("state").textContent = speed || "ready";
  $("text").focus();
}

function send(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || running) return;
  messages.push({role: "user", content: text});
  addEntry("user", text);
  $("text").value = "";
  grow();
  answer();
}

function grow() {
  const t = $("text");
  t.style.height = "auto";
  t.style.height = t.scrollHeight + 2 + "px";
}

// --- model and server -----------------------------------------------------------------------------

function fill(dl, pairs) {
  dl.replaceChildren(...pairs.filter(([, v]) => v !== undefined && v !== "").flatMap(([k, v]) => [element("dt", k), element("dd", String(v))]));
}

function showModel() {
  const m = models.find((x) => x.id === $("model").value);
  const meta = (m && m.meta) || {};
  fill($("about"), m ? [
    ["Name", m.id], ["Architecture", meta.arch], ["Context", m.context_window && m.context_window.toLocaleString("en") + " tokens"],
    ["Layers", meta.n_layer], ["Width", meta.n_embd], ["Vocabulary", meta.vocab && meta.vocab.toLocaleString("en")], ["Fingerprint", meta.system_fingerprint],
  ] : []);
}

async function loadModels() {
  const list = await (await get("v1/models")).json();
  const chosen = $("model").value;
  models = list.data;
  $("model").replaceChildren(...models.map((m) => element("option", m.id, {value: m.id})));
  if (models.some((m) => m.id === chosen)) $("model").value = chosen;
  $("keyform").hidden = true;
  showModel();
  return models.every((m) => m.active !== false);
}

// Sums of all series of a name, whatever their labels.
function readMetrics(text) {
  const sum = {};
  for (const line of text.split("\n")) {
    const m = /^([a-z_:]+)(\{[^}]*\})? (\S+)$/i.exec(line);
    if (m) sum[m[1]] = (sum[m[1]] || 0) + Number(m[3]);
  }
  return sum;
}

let last = null; // {at, answer}

async function figures() {
  const m = readMetrics(await (await get("metrics")).text());
  const at = performance.now();
  const answer = m.tutti_answer_tokens_total || 0;
  const speed = last ? (answer - last.answer) / ((at - last.at) / 1000) : 0;
  last = {at, answer};
  const mean = (name) => (m[name + "_count"] ? ((1000 * m[name + "_sum"]) / m[name + "_count"]).toFixed(0) + " ms" : "");
  const whole = (v) => Math.round(v || 0).toLocaleString("en");
  fill($("figures"), [
    ["Answers now", whole(m.tutti_requests_running)], ["Waiting", whole(m.tutti_requests_waiting)], ["Tokens/s now", speed.toFixed(1)],
    ["Cache pages", m.tutti_kv_pages ? Math.round((100 * (m.tutti_kv_pages_used || 0)) / m.tutti_kv_pages) + " % in use" : ""],
    ["First token, mean", mean("tutti_time_to_first_token_seconds")], ["Between tokens", mean("tutti_inter_token_latency_seconds")],
    ["Prompt tokens", whole(m.tutti_prompt_tokens_total)], ["of them cached", whole(m.tutti_cached_tokens_total)], ["Answer tokens", whole(answer)],
    ["Connections", whole(m.tutti_connections)],
  ]);
}

async function watch() {
  try {
    if (!open) {
      open = await loadModels();
      if (!running) $("state").textContent = open ? "ready" : "the model is loading";
    }
    if (document.visibilityState === "visible") await figures();
  } catch (e) {
    open = false;
    if (!running) $("state").textContent = e instanceof TypeError ? "no connection" : e.message;
  }
  setTimeout(watch, FIGURES_MS);
}

// --- what the user does ---------------------------------------------------------------------------

$("ask").addEventListener("submit", send);
$("text").addEventListener("input", grow);
$("text").addEventListener("keydown", (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) send(e);
});
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && running) running.abort();
});
$("stop").addEventListener("click", () => running && running.abort());
$("new").addEventListener("click", () => {
  if (running) running.abort();
  messages = [];
  $("log").replaceChildren();
  $("news").textContent = "";
  $("text").focus();
});
$("model").addEventListener("change", showModel);
$("keyform").addEventListener("submit", (e) => {
  e.preventDefault();
  sessionStorage.setItem("key", $("key").value.trim());
  $("key").value = "";
  open = false;
  loadModels().then(() => $("text").focus(), (fault) => ($("state").textContent = fault.message));
});
if (matchMedia("(max-width: 50rem)").matches) for (const d of document.querySelectorAll("aside details")) d.open = false;
$("text").focus();
watch();
