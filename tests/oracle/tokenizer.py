#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Tutti's tokenizer with Python's: PyPI tokenizers, sentencepiece and bytes.decode.

    tokenizer.py [--tool TOOL] [--gguf FILE ...] [--quick]     exit status 1 on any difference
    tokenizer.py --write-cases DIR                             the small vocabularies and expected ids of the unit test

Needs tokenizers, sentencepiece, gguf, numpy, django (its translations are the natural text of ten scripts).
Each vocabulary is compared over: the ten scripts, English and source code, emoji, random Unicode, numbers and white
space, and broken UTF-8, whose reference is Python's decode(errors='replace') before the encoder.
"""
import argparse
import ast
import glob
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SCRIPTS = {"Latin": "de", "Cyrillic": "ru", "Greek": "el", "Arabic": "ar", "Hebrew": "he", "Devanagari": "hi",
           "Thai": "th", "Chinese": "zh_Hans", "Japanese": "ja", "Korean": "ko"}
SCRIPT_BYTES = 150_000
TEXT_MIN = 1_000_000

# --- what each pre-tokenizer is, in the terms of PyPI's tokenizers ------------------------------------------------

S = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = S + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
UP, LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
P = r"[^\r\n\p{L}\p{N}]?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = P + UP + "*" + LOW + "+" + S + "?|" + P + UP + "+" + LOW + "*" + S + r"?|\p{N}{1,3}" + REST
TEKKEN = P + UP + "*" + LOW + "+|" + P + UP + "+" + LOW + r"*|\p{N}" + REST
UPK, LOWK = UP[:-1] + r"&&[^\p{Han}]]", LOW[:-1] + r"&&[^\p{Han}]]"
KIMI = (r"[\p{Han}]+|" + P + UPK + "*" + LOWK + "+" + S + "?|" + P + UPK + "+" + LOWK + "*" + S + r"?|\p{N}{1,3}" +
        REST.replace("/]", "]"))
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
             r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
           r"\s+(?!\S)|\s+")
SEED = S + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
EXAONE_MOE = (S + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|"
              r"\s*[\r\n]|\s+(?!\S)|\s+")
QWEN35 = S + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
JAIS2 = (S + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" +
         "|".join(r"\s{%d}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}")
BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"
CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
WIDE = "[一-龥ࠀ-一가-\ud7ff]+"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(*before, regex=False):
    return pre_tokenizers.Sequence([*before, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)])


def digits(individual):
    return pre_tokenizers.Digits(individual_digits=individual)


FAMILIES = {  # name: (pre-tokenizer, whole words are taken without merging, normalizer)
    "gpt-2": (byte_level(regex=True), False, None),
    "mpt": (byte_level(regex=True), False, normalizers.NFC()),
    "smollm": (byte_level(digits(True), regex=True), False, None),
    "llama-bpe": (byte_level(split(LLAMA3)), True, None),
    "jais-2": (byte_level(split(JAIS2)), False, None),
    "qwen2": (byte_level(split(QWEN2)), False, normalizers.NFC()),
    "stablelm2": (byte_level(split(QWEN2)), False, None),
    "qwen35": (byte_level(split(QWEN35)), False, None),
    "gpt-4o": (byte_level(split(GPT4O)), False, None),
    "tekken": (byte_level(split(TEKKEN)), True, None),
    "tiny_aya": (byte_level(split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT4O)), False, None),
    "deepseek-coder": (byte_level(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(WIDE), digits(True)),
                       False, None),
    "deepseek-v3": (byte_level(split(r"\p{N}{1,3}"), split(CJK), split(DEEPSEEK3)), False, None),
    "falcon": (pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False), split("[0-9][0-9][0-9]")]),
               False, None),
    "bloom": (byte_level(split(BLOOM)), False, None),
    "viking": (byte_level(split(BLOOM), split(r"\p{N}")), False, None),
    "kimi-k2": (byte_level(split(KIMI)), False, None),
    "superbpe": (byte_level(split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))")), False, None),
    "bailingmoe": (byte_level(split(BAILING)), False, None),
    "seed-coder": (byte_level(split(SEED)), False, None),
    "exaone-moe": (byte_level(split(EXAONE_MOE)), False, None),
}
ALIAS = {"starcoder": "smollm", "refact": "smollm", "command-r": "smollm", "llama3": "llama-bpe", "olmo": "mpt",
         "deepseek-r1-qwen": "stablelm2", "grok-2": "stablelm2"}

# --- texts ----------------------------------------------------------------------------------------------------------


def translations(lang):
    import django
    root = os.path.dirname(django.__file__)
    text = []
    for path in sorted(glob.glob(root + "/**/locale/%s/LC_MESSAGES/*.po" % lang, recursive=True)):
        for block in re.findall(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', open(path, encoding="utf8").read(), re.M):
            s = "".join(ast.literal_eval(l) for l in block.splitlines() if l)
            if s:
                text.append(s)
    return text


def texts(rng, quick):
    """name -> list of bytes"""
    import django
    out = {}
    for script, lang in SCRIPTS.items():
        lines = translations(lang)
        words = sorted({w for l in lines for w in l.split() if not w.isascii()})
        n = sum(len(l.encode()) for l in lines)
        while n < SCRIPT_BYTES:  # the same words in new company
            l = " ".join(rng.choice(words) for _ in range(rng.randint(1, 30))) + rng.choice([".", "", "\n", "! ", "。"])
            lines.append(l)
            n += len(l.encode())
        out[script] = [l.encode() for l in lines]
    code = []
    for path in sorted(glob.glob(os.path.dirname(django.__file__) + "/db/models/*.py"))[:12 if quick else 40]:
        src = open(path, "rb").read()
        code += [src] + [src[i:i + 700].decode(errors="ignore").encode() for i in range(0, len(src), 700)]
    out["code"] = code
    out["English"] = [l.encode() for l in (django.__doc__ or "", *(re.findall(r'"""(.*?)"""', b"".join(code).decode(), re.S)))]
    emoji = [*range(0x1F300, 0x1FAFF), *range(0x2600, 0x27BF), 0x200D, 0xFE0F, *range(0x1F3FB, 0x1F400),
             *range(0x1F1E6, 0x1F200), 0x20, 0x20, 0x61, 0x39]
    out["emoji"] = ["".join(chr(rng.choice(emoji)) for _ in range(rng.randint(1, 60))).encode() for _ in range(600)]
    every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    assigned = [c for c in every if unicodedata.category(chr(c)) not in ("Cn", "Co")]
    mixed = [ord(c) for c in " \t\n\r'sStTrREeVvMmLlDdſK.,!?/\\_-09()\u00a0\u2028\u180e\u3000\u0085\u200b한字あ語ไทا́é"]

    def jumble(pool, n):
        return "".join(chr(rng.choice(pool) if rng.random() < 0.7 else rng.choice(mixed)) for _ in range(n)).encode()

    out["random"] = [jumble(rng.choice((every, assigned, assigned)), rng.randint(1, 300)) for _ in range(400 if quick else 1500)]
    rng.shuffle(every)
    out["every"] = ["".join(map(chr, every[i:i + 2000])).encode() for i in range(0, len(every), 2000)]
    small = [ord(c) for c in "  \n\r\t'stSTreve019½Ⅻ٣aBé中́_.-/\u00a0"]
    out["edges"] = [("".join(chr(rng.choice(small)) for _ in range(rng.randint(0, 24)))).encode()
                    for _ in range(8000 if quick else 30000)]
    out["numbers"] = [(rng.choice(["", "a", " ", "x_"]) + "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 40))) +
                       rng.choice(["", " ", "b", ".5", "½", "٣٤٥", "_", "中"])).encode() for _ in range(3000)]
    broken = [bytes(rng.choice((rng.randrange(256), 0xE2, 0xF0, 0xED, 0x80, 0x9F, 0x41, 0xC0, 0xF4)) for _ in range(rng.randint(1, 60)))
              for _ in range(3000)]
    for lines in list(out.values())[:12]:
        for l in rng.sample(lines, min(60, len(lines))):
            b = bytearray(l[:400])
            for _ in range(rng.randint(1, 4)):
                if b:
                    i = rng.randrange(len(b))
                    rng.choice((lambda: b.__delitem__(i), lambda: b.__setitem__(i, rng.randrange(256)), lambda: b.insert(i, 0xC3)))()
            broken.append(bytes(b))
    out["broken"] = broken
    return out


# --- the two sides --------------------------------------------------------------------------------------------------


class Tool:
    def __init__(self, tool, vocab):
        self.tool, self.vocab = tool, vocab

    def run(self, mode, items, *options):
        inp = b"".join(struct.pack("=I", len(i) // (4 if mode == "decode" else 1)) + i for i in items)
        r = subprocess.run([self.tool, self.vocab, mode, *options], input=inp, capture_output=True)
        if r.returncode != 0:
            sys.exit("toktool: " + r.stderr.decode())
        out, at = [], 0
        for _ in items:
            n, = struct.unpack_from("=I", r.stdout, at)
            size = n * (4 if mode == "encode" else 1)
            out.append(r.stdout[at + 4:at + 4 + size])
            at += 4 + size
        return out

    def encode(self, items, *options):
        return [list(struct.unpack("=%di" % (len(b) // 4), b)) for b in self.run("encode", items, *options)]

    def decode(self, ids):
        return self.run("decode", [struct.pack("=%di" % len(i), *i) for i in ids])


def write_vocab(path, model, tokens, types, scores, merges, **keys):
    with open(path, "w") as f:
        print("model", model, file=f)
        for k, v in keys.items():
            if v is not None:
                print(k, v, file=f)
        print("tokens", len(tokens), file=f)
        for t, ty, sc in zip(tokens, types, scores):
            print(ty, repr(float(sc)), t.hex(), file=f)
        if merges:
            print("merges", len(merges), file=f)
            for l, r in merges:
                print((l + " " + r).encode().hex(), file=f)


bad_total = 0


def compare(name, tool, data, reference, decode_bytes=None, options=()):
    global bad_total
    n_text = n_bytes = n_ids = n_bad = 0
    for kind, items in data.items():
        got = tool.encode(items, *options)
        back = tool.decode(got)
        for raw, ids, text in zip(items, got, back):
            clean = raw.decode("utf-8", errors="replace")
            want = reference(clean)
            n_text += 1
            n_bytes += len(raw)
            n_ids += len(ids)
            ok = ids == want
            if ok and decode_bytes is not None:
                ok = decode_bytes(ids) == text
            if not ok:
                n_bad += 1
                if n_bad <= 3:
                    print("  DIFFERS in %s: %r\n    got  %s\n    want %s\n    back %r" % (kind, raw[:120], ids[:40], want[:40], text[:80]))
    bad_total += n_bad
    print("%-28s %6d texts %8d bytes %8d ids  %d differences" % (name, n_text, n_bytes, n_ids, n_bad), flush=True)


def byte_stand_ins():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, n = {chr(b): b for b in plain}, 0
    for b in range(256):
        if b not in plain:
            table[chr(256 + n)] = b
            n += 1
    return table


STAND_INS = byte_stand_ins()


def joiner(tokens, types, chars):
    """ids -> text as bytes.decode makes it of all pieces joined"""
    piece = []
    for t, ty in zip(tokens, types):
        s = t.decode("utf-8", errors="surrogateescape")
        if ty in (2, 3):
            piece.append(b"")
        elif chars and ty == 6:
            piece.append(bytes([int(s[3:5], 16)]))
        elif chars:
            piece.append(s.replace("▁", " ").encode("utf-8", errors="surrogateescape"))
        elif ty == 4 or any(c not in STAND_INS for c in s):
            piece.append(t)
        else:
            piece.append(bytes(STAND_INS[c] for c in s))
    return lambda ids: b"".join(piece[i] for i in ids).decode("utf-8", errors="replace").encode()


def hf_bpe(vocab, merges, pre, whole, norm):
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=whole))
    t.pre_tokenizer = pre
    if norm:
        t.normalizer = norm
    return t


def from_gguf(path, tmp, tool, data):
    from gguf import GGUFReader
    r = GGUFReader(path)

    def get(key):
        f = r.fields.get("tokenizer.ggml." + key)
        return None if f is None else f.contents()

    model, pre = get("model"), get("pre")
    field = r.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[i]) for i in field.data]
    types = [int(x) for x in get("token_type") or [1] * len(tokens)]
    scores = get("scores") or [0.0] * len(tokens)
    merges = [tuple(m.split(" ")) for m in get("merges") or []]
    name = "%s (%s)" % (os.path.basename(path)[:40], pre)
    family = FAMILIES.get(ALIAS.get(pre, pre))
    if model == "gemma4":
        family = (pre_tokenizers.Split(" ", "merged_with_previous"), False, normalizers.Replace(" ", "▁"))
    elif model != "gpt2" or family is None:
        print("%-28s skipped: no reference for model %s, pre-tokenizer %s" % (name, model, pre))
        return
    vpath = os.path.join(tmp, "gguf.vocab")
    write_vocab(vpath, model, tokens, types, scores, merges, pre=pre, bos=get("bos_token_id"), eos=get("eos_token_id"),
                add_bos=0, add_eos=0)
    vocab = {t.decode(): i for i, t in enumerate(tokens) if types[i] not in (3, 4)}
    vocab.update({t.decode(): i for i, t in enumerate(tokens) if types[i] in (3, 4) and t.decode() not in vocab})
    if model == "gemma4":  # user-defined pieces are written with spaces in the file
        vocab.update({t.decode().replace(" ", "▁"): i for i, t in enumerate(tokens) if types[i] == 4})

    def reference(added):
        if model == "gemma4":
            hf = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
            hf.pre_tokenizer, _, hf.normalizer = family
        else:
            hf = hf_bpe(vocab, merges, *family)
        hf.add_tokens([tokenizers.AddedToken(t.decode(), special=ty == 3, normalized=False)
                       for t, ty in zip(tokens, types) if ty in added])
        return lambda s: hf.encode(s, add_special_tokens=False).ids

    join = joiner(tokens, types, model == "gemma4")
    compare(name, Tool(tool, vpath), data, reference((4,)), join)
    # The same with special tokens in trusted text.
    rng = random.Random(7)
    special = [t for t, ty in zip(tokens, types) if ty in (3, 4) and b"unused" not in t][:200]
    mixed = [b"".join(x for w in re.split(b"( )", rng.choice(data[k])[:300]) for x in (w, rng.choice(special) if rng.random() < 0.2 else b""))
             for k in (*SCRIPTS, "code", "edges", "emoji", "broken") for _ in range(150)]
    compare("  with special tokens", Tool(tool, vpath), {"special": mixed}, reference((2, 3, 4)), None, ["special"])


def sample(data, rng, n_bytes):
    """Natural text to train on."""
    lines = [l for k in (*SCRIPTS, "code", "English") for l in data[k]]
    rng.shuffle(lines)
    out, n = [], 0
    for l in lines:
        out.append(l.decode())
        n += len(l)
        if n > n_bytes:
            break
    return out


def train_bpe(family, corpus, size):
    pre, whole, norm = FAMILIES[family]
    t = hf_bpe({}, [], pre, whole, norm)
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    import json
    j = json.loads(t.to_str())["model"]
    vocab, merges = j["vocab"], [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in j["merges"]]
    return hf_bpe(vocab, merges, pre, whole, norm), vocab, merges


def trained_bpe(family, tmp, tool, data, corpus, size):
    hf, vocab, merges = train_bpe(family, corpus, size)
    tokens = [t.encode() for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    types = [1] * len(tokens)
    path = os.path.join(tmp, "trained.vocab")
    write_vocab(path, "gpt2", tokens, types, [0] * len(tokens), merges, pre=family)
    compare("trained, " + family, Tool(tool, path), data, lambda s: hf.encode(s, add_special_tokens=False).ids,
            joiner(tokens, types, False))


def train_spm(tmp, corpus, size, byte_fallback, user=()):
    import sentencepiece as spm
    corpus_path = os.path.join(tmp, "spm.txt")
    with open(corpus_path, "w") as f:
        f.writelines(l.replace("\0", "") + "\n" for t in corpus for l in t.splitlines() if 0 < len(l.encode()) < 4000)
    spm.SentencePieceTrainer.train(input=corpus_path, model_prefix=tmp + "/spm", vocab_size=size, model_type="bpe",
                                   byte_fallback=byte_fallback, normalization_rule_name="identity",
                                   remove_extra_whitespaces=False, character_coverage=0.995, minloglevel=2,
                                   user_defined_symbols=list(user), num_threads=1)
    sp = spm.SentencePieceProcessor(model_file=tmp + "/spm.model")
    tokens, types, scores = [], [], []
    for i in range(sp.get_piece_size()):
        tokens.append(sp.id_to_piece(i).encode())
        types.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i)
                     else 4 if sp.id_to_piece(i) in user else 1)
        scores.append(sp.get_score(i))
    return sp, tokens, types, scores


def trained_spm(tmp, tool, data, corpus, size, byte_fallback):
    sp, tokens, types, scores = train_spm(tmp, corpus, size, byte_fallback)
    path = os.path.join(tmp, "spm.vocab")
    write_vocab(path, "llama", tokens, types, scores, [], bos=1, eos=2, unk=0)
    join = joiner(tokens, types, True)

    def back(ids):
        s = join(ids)
        return s[1:] if s.startswith(b" ") else s

    # sentencepiece reads a text up to a NUL as C++ would, and takes U+2581 for a space: both sides agree on the latter
    compare("sentencepiece, %s" % ("bytes" if byte_fallback else "unknown"), Tool(tool, path), data,
            lambda s: sp.encode(s, out_type=int), back)


def random_ids(tmp, tool, rng):
    """Decoding: any ids at all, so that code points break everywhere."""
    table = {b: c for c, b in STAND_INS.items()}
    tokens = [table[b].encode() for b in range(256)] + ["".join(table[b] for b in bytes(rng.choices(
        (0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xC3, 0xA9, 0x41, 0xED, 0xA0), k=rng.randint(2, 5)))).encode() for _ in range(500)]
    types = [1] * len(tokens)
    path = os.path.join(tmp, "bytes.vocab")
    write_vocab(path, "gpt2", tokens, types, [0] * len(tokens), [], pre="gpt-2")
    ids = [[rng.randrange(len(tokens)) for _ in range(rng.randint(1, 80))] for _ in range(20000)]
    join, n_bad = joiner(tokens, types, False), 0
    for i, got in zip(ids, Tool(tool, path).decode(ids)):
        if got != join(i):
            n_bad += 1
            if n_bad <= 3:
                print("  DIFFERS %s: got %r want %r" % (i, got, join(i)))
    global bad_total
    bad_total += n_bad
    print("%-28s %6d lists  %d differences" % ("decoding random ids", len(ids), n_bad), flush=True)


# --- small cases of the unit test -----------------------------------------------------------------------------------


OWN_TEXTS = """The cat sat by the window, didn't it? She'll say: "I'VE seen 12,345 of them!"
Die Übung kostet 3,50 Euro; das Mädchen lief über die große Straße.
Сегодня утром мы пили чай на кухне и смотрели на снег.
Το πρωί ήπιαμε καφέ στην αυλή και μιλήσαμε για τη θάλασσα.
شربنا القهوة في الصباح ثم ذهبنا إلى السوق.
שתינו קפה בבוקר והלכנו לשוק הגדול.
सुबह हमने चाय पी और बाज़ार गए।
ตอนเช้าเราดื่มชาแล้วไปตลาด
早上我们喝了茶，然后去了市场。
朝、お茶を飲んでから市場へ行きました。カタカナも。
아침에 우리는 차를 마시고 시장에 갔습니다.
for (int i = 0; i < n; i++) {\n    sum += x[i] * 0x1F; // total\n}\n\n
def f(self, a=None):\n\treturn {"k": a or []}  \n
👩‍👩‍👧‍👦 is a family, 🇫🇷 a flag, 👍🏽 a thumb ☕️
  two  spaces   three    four \t tab\r\nline\n\n\n end   
3.14159 ½ Ⅻ ٣٤٥ १२३ 1234567890 100,000
é ö ñ 각 'S 'ſ 'LL it's IT'S
a b c　d᠎e​f gh""".replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


def write_cases(where, rng, data):
    corpus = sample(data, rng, 300_000)
    keep = [l.encode() for l in OWN_TEXTS.split("\n") if l] + [OWN_TEXTS[:600].encode()]
    keep += [k for k in data["random"] + data["emoji"] if len(k) < 120][:40]
    keep += rng.sample(data["edges"], 60) + rng.sample(data["numbers"], 20)
    keep += [k for k in data["broken"][:3000] if k][:50]  # the random ones
    keep = [k for k in keep if b"\0" not in k]
    with open(os.path.join(where, "texts.hex"), "w") as f:
        f.writelines(k.hex() + "\n" for k in keep)

    def expect(name, encode):
        with open(os.path.join(where, name + ".ids"), "w") as f:
            f.writelines(" ".join(map(str, encode(k.decode("utf-8", errors="replace")))) + "\n" for k in keep)

    for family in ("smollm", "llama-bpe", "qwen2", "gpt-4o", "deepseek-v3"):
        hf, vocab, merges = train_bpe(family, corpus, 900)
        tokens = [t.encode() for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
        write_vocab(os.path.join(where, family + ".vocab"), "gpt2", tokens, [1] * len(tokens), [0] * len(tokens), merges, pre=family)
        expect(family, lambda s: hf.encode(s, add_special_tokens=False).ids)
    for name, fallback in (("spm-bytes", True), ("spm-unknown", False)):
        with tempfile.TemporaryDirectory() as tmp:
            sp, tokens, types, scores = train_spm(tmp, corpus, 1500, fallback)
            write_vocab(os.path.join(where, name + ".vocab"), "llama", tokens, types, scores, [], bos=1, eos=2, unk=0)
            expect(name, lambda s: sp.encode(s, out_type=int))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--tool", default="build/x86_64-release/tests/toktool")
    a.add_argument("--gguf", nargs="*", default=[])
    a.add_argument("--only", nargs="*", help="families to train (default: all)")
    a.add_argument("--quick", action="store_true")
    a.add_argument("--write-cases", metavar="DIR")
    a = a.parse_args()
    rng = random.Random(20261121)
    data = texts(rng, a.quick)
    n = sum(len(l) for s in SCRIPTS for l in data[s])
    print("tokenizers %s; %d bytes in %d scripts, %d in all" % (tokenizers.__version__, n, len(SCRIPTS),
                                                              sum(len(l) for v in data.values() for l in v)))
    assert n >= TEXT_MIN
    if a.write_cases:
        write_cases(a.write_cases, rng, data)
        return 0
    corpus = sample(data, rng, 1_500_000)
    with tempfile.TemporaryDirectory() as tmp:
        random_ids(tmp, a.tool, rng)
        for path in a.gguf:
            from_gguf(path, tmp, a.tool, data)
        for family in FAMILIES if a.only is None else a.only:
            trained_bpe(family, tmp, a.tool, data, corpus, 8000)
        for fallback in (True, False):
            trained_spm(tmp, a.tool, data, corpus, 8000, fallback)
    print("differences: %d" % bad_total)
    return 1 if bad_total else 0


if __name__ == "__main__":
    sys.exit(main())
