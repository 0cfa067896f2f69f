#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A tiny folder of safetensors that runs, then the same with one thing wrong: each must be refused by one line that names it, never by
a signal, in bounded memory. Needs Python's standard library only.
"""
import json, os, resource, struct, subprocess, sys, tempfile

WIDTH, VOCAB = 32, 300
MEMORY_MAX = 4 << 30  # bytes of address space; a sanitizer's shadow and an emulator's guest take more by themselves
PLAIN = len(sys.argv) == 2 and "asan" not in sys.argv[1] and "tsan" not in sys.argv[1]
bad = 0


def tensors(**change):
    t = {"model.embed_tokens.weight": [VOCAB, WIDTH], "model.norm.weight": [WIDTH]}
    for n in ("input_layernorm", "post_attention_layernorm"):
        t["model.layers.0.%s.weight" % n] = [WIDTH]
    for n in ("q", "k", "v", "o"):
        t["model.layers.0.self_attn.%s_proj.weight" % n] = [WIDTH, WIDTH]
    for n in ("gate", "up", "down"):
        t["model.layers.0.mlp.%s_proj.weight" % n] = [WIDTH, WIDTH]
    t.update(change)
    return t


def header(shapes):
    head, at = {}, 0
    for name, shape in shapes.items():
        n = 2
        for x in shape:
            n *= x
        head[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return head, at


def shard(head, n_data):
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_data)


def made(shapes):
    return shard(*header(shapes))


TOKENIZER = json.dumps({"model": {"type": "BPE", "vocab": {chr(33 + i) if i < 94 else "t%d" % i: i for i in range(VOCAB)}, "merges": []},
                        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "added_tokens": []})
CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 1,
          "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "vocab_size": VOCAB}
GOOD = made(tensors())
HEAD, N_DATA = header(tensors())
NAMES = list(HEAD)


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))


def case(name, want, files=(), config=(), links=()):
    """want: words of the refusal; None: it runs."""
    global bad
    with tempfile.TemporaryDirectory() as folder:
        content = {"config.json": json.dumps({**CONFIG, **dict(config)}), "tokenizer.json": TOKENIZER, "model.safetensors": GOOD, **dict(files)}
        for path, text in content.items():
            if text is not None:
                with open(os.path.join(folder, path), "wb") as f:
                    f.write(text if isinstance(text, bytes) else text.encode())
        for path, to in links:
            os.symlink(to, os.path.join(folder, path))
        p = subprocess.run(sys.argv[1:] + ["digest", folder, "-p", "hi", "-n", "2", "-t", "1"], capture_output=True, text=True, timeout=120, preexec_fn=limit if PLAIN else None)
    if want is None:
        if p.returncode:
            print("folder_hostile: %s: does not run: %s" % (name, p.stderr))
            bad += 1
    elif p.returncode <= 0 or p.returncode > 100 or want not in p.stderr or p.stderr.count("\n") != 1:
        print("folder_hostile: %s: status %d, expected a line with '%s', got: %s" % (name, p.returncode, want, p.stderr[:400]))
        bad += 1


def index(names, file):
    return json.dumps({"weight_map": {n: file for n in names}})


def sharded(*parts, **more):
    files = {"model.safetensors": None}
    for i, part in enumerate(parts):
        files["%c.safetensors" % (97 + i)] = part
    return {**files, **more}


INDEX = "model.safetensors.index.json"
case("the folder itself", None)
case("tied with a head", None, {"model.safetensors": made(tensors(**{"lm_head.weight": [VOCAB, WIDTH]}))})
case("index leaves the folder", "../x.safetensors", sharded(**{INDEX: index(NAMES, "../x.safetensors")}))
case("index with an absolute path", "/etc/passwd", sharded(**{INDEX: index(NAMES, "/etc/passwd")}))
case("missing shard", "a.safetensors", sharded(**{INDEX: index(NAMES, "a.safetensors")}))
case("index names a tensor that is not there", "has no tensor", sharded(made({n: HEAD[n]["shape"] for n in NAMES[1:]}), **{INDEX: index(NAMES, "a.safetensors")}))
two = sharded(made({n: HEAD[n]["shape"] for n in NAMES[:5]}), made({n: HEAD[n]["shape"] for n in NAMES[4:]}))
two[INDEX] = json.dumps({"weight_map": {**{n: "a.safetensors" for n in NAMES[:5]}, **{n: "b.safetensors" for n in NAMES[5:]}}})
case("a tensor in two shards", "two shards", two)
case("a link to itself", "model.safetensors", {"model.safetensors": None}, links=[("model.safetensors", "model.safetensors")])
case("a link to a device", "model.safetensors", {"model.safetensors": None}, links=[("model.safetensors", "/dev/zero")])
lies = {**HEAD, NAMES[3]: {**HEAD[NAMES[3]], "data_offsets": [0, 2 * WIDTH]}}
case("overlapping data", "model.safetensors", {"model.safetensors": shard(lies, N_DATA)})
case("header of 2^63 bytes", "model.safetensors", {"model.safetensors": struct.pack("<Q", 1 << 63) + b"{}" + bytes(100)})
case("cut off", "model.safetensors", {"model.safetensors": GOOD[:-1]})
case("empty file", "model.safetensors", {"model.safetensors": b""})
many = {"t%06d" % i: {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for i in range((1 << 18) + 1)}
case("too many tensors", "at most", {"model.safetensors": shard(many, 0)})
case("unknown type", "F4", {"model.safetensors": shard({n: {**v, "dtype": "F4"} for n, v in HEAD.items()}, N_DATA)})
case("a shape against config.json", "ffn_up", {"model.safetensors": made(tensors(**{"model.layers.0.mlp.up_proj.weight": [WIDTH, 2 * WIDTH]}))})
case("a tensor without a place", "no place", {"model.safetensors": made(tensors(**{"model.layers.0.mlp.extra.weight": [WIDTH]}))})
case("a head of its own that is not there", "lm_head", config={"tie_word_embeddings": False})
case("2^40 layers", "num_hidden_layers", config={"num_hidden_layers": 2**40})
case("no heads", "num_attention_heads", config={"num_attention_heads": 0})
case("Gemma 3 without heads", "num_attention_heads", config={"architectures": ["Gemma3ForCausalLM"], "num_attention_heads": 0, "num_hidden_layers": 62, "query_pre_attn_scalar": 8,
                                                              "hidden_activation": "gelu_pytorch_tanh"})
for share in -0.5, 1e17:
    case("%g of a head rotates" % share, "partial_rotary_factor", config={"partial_rotary_factor": share})
case("a negative vocabulary", "vocab_size", config={"vocab_size": -1})
case("ids beyond any vocabulary", "t299", {"tokenizer.json": TOKENIZER.replace('"t299": 299', '"t299": 4000000000')})
case("a tokenizer 100,000 deep", "tokenizer.json", {"tokenizer.json": '{"a":' + "[" * 100000 + "]" * 100000 + "}"})
case("a tokenizer that is a list", "tokenizer.json", {"tokenizer.json": "[]"})
case("config.json is cut off", "config.json", {"config.json": json.dumps(CONFIG)[:-3]})
print("folder_hostile: %s" % ("%d cases differ" % bad if bad else "every fault has its line"))
sys.exit(bad > 0)
