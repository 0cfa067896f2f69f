#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what Tutti makes of tokenizer.json and tokenizer.model with PyPI's tokenizers and sentencepiece.

    folder.py [--tool TOOL] [--quick] [FILE.json | FILE.model | DIR ...]     exit status 1 on any difference

The FILEs are real vocabularies. Without any, every family of tokenizer.py is trained on the spot and saved as its library
saves it, and so are vocabularies over characters in the forms in which Llama, Mistral and Gemma were published, and a
SentencePiece model. Texts and needs are those of tokenizer.py. Special tokens are compared as well, with what the
post-processor adds.
"""
import argparse
import json
import os
import pathlib
import random
import re
import struct
import sys
import tempfile

import tokenizer as tk
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIGN = "\u2581"


def make_folder(where, size, **files):
    """A model of one layer of zeros around a vocabulary."""
    os.makedirs(where, exist_ok=True)
    h, f, tensors, head, at = 32, 32, {}, {}, 0
    tensors["model.embed_tokens.weight"], tensors["model.norm.weight"] = (size, h), (h,)
    for n in ("input_layernorm", "post_attention_layernorm"):
        tensors["model.layers.0.%s.weight" % n] = (h,)
    for n in "qkvo":
        tensors["model.layers.0.self_attn.%s_proj.weight" % n] = (h, h)
    for n in ("gate", "up", "down"):
        tensors["model.layers.0.mlp.%s_proj.weight" % n] = (f, h)
    for n, shape in tensors.items():
        bytes_ = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        head[n] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + bytes_]}
        at += bytes_
    text = json.dumps(head).encode()
    with open(where + "/model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + bytes(at))
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": h, "intermediate_size": f, "num_attention_heads": 2, "num_hidden_layers": 1,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "vocab_size": size}
    for name, content in dict(files, config=json.dumps(config)).items():
        path = pathlib.Path(where) / {"config": "config.json", "tokenizer": "tokenizer.json", "model": "tokenizer.model",
                                      "tokenizer_config": "tokenizer_config.json"}[name]
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)


def with_specials(hf, data):
    """Texts with added tokens in them."""
    rng = random.Random(7)
    special = [t.content.encode() for t in hf.get_added_tokens_decoder().values()][:200]
    if not special:
        return []
    beside = [b"", b"", b" ", b"  ", b"\n", b"\t ", b"_", b"9", b"x", "\u3000".encode(), "\u00a0".encode()]

    def between():
        return rng.choice(beside) + rng.choice(special) + rng.choice(beside) if rng.random() < 0.25 else b""

    mixed = [b"".join(x for w in re.split(b"( )", rng.choice(data[k])[:300]) for x in (w, between()))
             for k in (*tk.SCRIPTS, "code", "edges", "emoji", "broken") for _ in range(100)]
    return [m for m in mixed if not m.startswith(tuple(special))]  # a bos that is there already is not added here


# Added tokens with all their flags; the tuples are content, special, and names of flags.
ADDED = [("<|l|>", True, "lstrip"), ("<|r|>", True, "rstrip"), ("<|lr|>", False, "lstrip rstrip"), ("word", False, "single_word"), ("<n>", False, "normalized"),
         ("  ", False, "normalized"), ("nl r", False, "normalized lstrip rstrip"), ("sw", False, "normalized single_word")]


def add_flagged(hf):
    for content, special, flags in ADDED:
        t = AddedToken(content, special=special, **{f: f in flags.split() for f in ("lstrip", "rstrip", "single_word", "normalized")})
        (hf.add_special_tokens if special else hf.add_tokens)([t])


def one_json(name, text, tool, tmp, data, config="{}"):
    hf = Tokenizer.from_str(text)
    where = tempfile.mkdtemp(dir=tmp)
    ids = [i for i in hf.get_vocab(with_added_tokens=True).values()]
    make_folder(where, max(ids) + 1, tokenizer=text, tokenizer_config=config)
    t = tk.Tool(tool, where)
    tk.compare(name, t, data, lambda s: hf.encode(s, add_special_tokens=False).ids)
    mixed = with_specials(hf, data)
    if mixed:
        tk.compare("  with special tokens", t, {"special": mixed}, lambda s: hf.encode(s).ids, None, ["special"])


def one_model(name, content, tool, tmp, data):
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_proto=content)
    where = tempfile.mkdtemp(dir=tmp)
    make_folder(where, sp.get_piece_size(), model=content, tokenizer_config=json.dumps({"add_bos_token": False}))
    tk.compare(name, tk.Tool(tool, where), data, lambda s: sp.encode(s, out_type=int))


def spm_as_json(content, form, flagged=False):
    """A SentencePiece BPE as published in tokenizer.json: pairs in the order of what they make."""
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_proto=content)
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    vocab, merges = {p: i for i, p in enumerate(pieces)}, []
    for i, p in enumerate(pieces):
        if sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i):
            continue
        pairs = [(p[:k], p[k:]) for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab]
        merges += [(-sp.get_score(i), i, *q) for q in sorted(pairs, key=lambda q: (vocab[q[0]], vocab[q[1]]))]
    merges = [(l, r) for _, _, l, r in sorted(merges, key=lambda m: m[:2])]
    hf = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    space = normalizers.Replace(" ", SIGN)
    if form == "llama":
        hf.normalizer = normalizers.Sequence([normalizers.Prepend(SIGN), space])
    elif form == "gemma":
        hf.normalizer, hf.pre_tokenizer = space, pre_tokenizers.Split(" ", "merged_with_previous")
    else:  # metaspace: first, always, never
        hf.pre_tokenizer = pre_tokenizers.Metaspace(SIGN, prepend_scheme=form, split=form == "always")
    hf.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<s>", "</s>", "<unk>", "[INST]")])
    hf.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    if flagged:
        add_flagged(hf)
    return hf.to_str()


def trained(tool, tmp, data, quick):
    corpus = tk.sample(data, random.Random(5), 200_000 if quick else 600_000)
    for family in tk.FAMILIES:
        if family in ("tiny_aya", "kimi-k2"):  # \b, and && inside a class: refused by name
            continue
        hf, _, _ = tk.train_bpe(family, corpus, 3000)
        hf.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<|begin|>", "<|end|>", "<|e|>")])
        hf.add_tokens([AddedToken("    ", normalized=False)])
        add_flagged(hf)
        begin = hf.token_to_id("<|begin|>")
        hf.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])
        one_json("trained, " + family, hf.to_str(), tool, tmp, data, json.dumps({"bos_token": "<|begin|>"}))
    tk.train_spm(tmp, corpus, 4000, True)
    content = pathlib.Path(tmp + "/spm.model").read_bytes()
    one_model("trained, sentencepiece", content, tool, tmp, data)
    for form in ("llama", "gemma", "first", "always", "never"):
        one_json("trained, as %s has it" % form, spm_as_json(content, form, True), tool, tmp, data, json.dumps({"bos_token": "<s>"}))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="*", type=pathlib.Path)
    p.add_argument("--tool", default="build/x86_64-release/tests/toktool")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--text", type=pathlib.Path, action="append", default=[], help="compare over this file as well")
    o = p.parse_args()
    data = tk.texts(random.Random(1), o.quick)
    for path in o.text:
        data[path.name] = path.read_bytes().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as tmp:
        for path in o.files:
            if ".model" in path.name:
                content = path.read_bytes()
                one_model(path.name, content, o.tool, tmp, data)
                for form in ("llama", "first"):
                    one_json("  as tokenizer.json, " + form, spm_as_json(content, form), o.tool, tmp, data, json.dumps({"bos_token": "<s>"}))
            else:
                config = path.with_name("tokenizer_config.json")
                one_json(path.name, path.read_text(), o.tool, tmp, data, config.read_text() if config.exists() else "{}")
        if not o.files:
            trained(o.tool, tmp, data, o.quick)
    sys.exit(tk.bad_total > 0)


if __name__ == "__main__":
    main()
