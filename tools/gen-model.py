#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gen-model.py OUT.gguf [options]: writes a synthetic model of the llama family, the same bytes for the same options.

Weights are random blocks of the chosen type, scaled so that a row of K weights has a standard deviation near
1/sqrt(K): activations keep a sensible size, the text that comes out is noise. The tokenizer is a real byte-level BPE,
trained on the sentences below; what is missing to the preset's vocabulary is filled with unused tokens. Tensors are
written in chunks, so an 8B model needs little memory. Needs numpy.

    tools/gen-model.py tiny.gguf --preset tiny --type Q8_0
    tools/gen-model.py big.gguf --preset 8b --type Q4_K --seed 7
"""
import argparse
import math
import re
import struct
import sys
import zlib

import numpy as np

# name: vocabulary, embedding, layers, heads, KV heads, feed-forward, context, rope base, tied output, rope kind
PRESETS = {
    "tiny": (512, 64, 2, 2, 1, 192, 2048, 10000.0, True, "plain"),
    "tinyk": (384, 256, 1, 4, 1, 256, 2048, 10000.0, True, "plain"),
    "small": (512, 256, 2, 4, 2, 512, 4096, 10000.0, False, "plain"),
    "135m": (49152, 576, 30, 9, 3, 1536, 8192, 100000.0, True, "plain"),
    "1b": (128256, 2048, 16, 32, 8, 8192, 131072, 500000.0, True, "llama3"),
    "8b": (128256, 4096, 32, 32, 8, 14336, 131072, 500000.0, False, "llama3"),
}

TEXT = """The orchestra tunes before the concert begins. Every player listens to one note and bends a string or a reed
until the difference is gone. Then the conductor raises a hand, and all of them play together: the violins, the horns,
the drums, and the quiet harp at the back. When one of them is late, the others hear it at once. When all of them are
right, nobody hears them at all; there is only the music. A computer that answers a question does something like it.
Many small parts work on many small numbers, and the answer is right only when all of them agree. The question is
short, the answer is long, and the time between the two is what people notice. This is the reason for the care that
goes into the parts. What is the time? It is ten o'clock. Where is the river? The river is behind the house, and the
house is on the hill. There are 12 boats on the river in summer and 3 in winter. for (int i = 0; i < n; i++) { sum += x[i]; }
return sum; The other thing that the players know is when not to play."""

CHAT = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' "
        "+ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NORMAL, CONTROL, UNUSED = 1, 3, 5

# --- tokenizer ----------------------------------------------------------------------------------------------------


def byte_chars():
    """The 256 characters that stand for bytes in a byte-level vocabulary: printable ones for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for b in range(256):
        if b in plain:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


def train_bpe(n_merges):
    """Merges of the most frequent neighbours, ties by order of the pair: a plain byte-pair encoding."""
    chars = byte_chars()
    words = [[chars[b] for b in w.encode()] for w in re.findall(r" ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+", TEXT)]
    merges, seen = [], set()
    while len(merges) < n_merges:
        count = {}
        for w in words:
            for pair in zip(w, w[1:]):
                count[pair] = count.get(pair, 0) + 1
        count = {p: c for p, c in count.items() if p[0] + p[1] not in seen}
        if not count:
            break
        best = max(count, key=lambda p: (count[p], p))
        merges.append(best)
        seen.add(best[0] + best[1])
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def tokenizer(n_vocab):
    chars = byte_chars()
    merges = train_bpe(n_vocab - 256 - len(SPECIAL))
    tokens = SPECIAL + [chars[b] for b in range(256)] + [a + b for a, b in merges]
    types = [CONTROL] * len(SPECIAL) + [NORMAL] * (256 + len(merges))
    for i in range(n_vocab - len(tokens)):
        tokens.append(f"<|unused_{i}|>")
        types.append(UNUSED)
    return tokens, types, [f"{a} {b}" for a, b in merges]


# --- weights: each function returns n blocks as an array of bytes, standard deviation near sigma ------------------------


def f16(x):
    return np.asarray(x, np.float32).astype(np.float16).reshape(-1, 1).view(np.uint8)


def jitter(rng, n):
    """Block scales differ: factors around 1."""
    return 0.75 + 0.5 * rng.random(n, dtype=np.float32)


def codes(rng, n, k, sd, low, high):
    return np.clip(np.rint(rng.standard_normal((n, k), dtype=np.float32) * sd), low, high).astype(np.int32)


def any_bytes(rng, n, k):
    return np.frombuffer(rng.bytes(n * k), np.uint8).reshape(n, k)


def q_f32(rng, n, sigma):
    return (rng.standard_normal((n, 1), dtype=np.float32) * sigma).astype("<f4").view(np.uint8)


def q_f16(rng, n, sigma):
    return f16(rng.standard_normal(n, dtype=np.float32) * sigma)


def q_bf16(rng, n, sigma):
    x = rng.standard_normal(n, dtype=np.float32) * np.float32(sigma)
    return (x.astype("<f4").view(np.uint32) >> 16).astype("<u2").reshape(-1, 1).view(np.uint8)


def q8_0(rng, n, sigma):
    q = codes(rng, n, 32, 40, -127, 127).astype(np.int8).view(np.uint8)
    return np.hstack([f16(sigma / 40 * jitter(rng, n)), q])


def sign(rng, n):
    return np.where(rng.random(n) < 0.5, np.float32(-1), np.float32(1))


def pack4(q):
    """32 codes of 4 bits: element i in the low half of byte i, element i + 16 in its high half."""
    return (q[:, :16] | q[:, 16:] << 4).astype(np.uint8)


def pack5(q):
    """The fifth bits of 32 codes, bit i for element i."""
    high = ((q >> 4 & 1).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1)
    return high.astype("<u4").reshape(-1, 1).view(np.uint8)


def q4_0(rng, n, sigma):
    q = codes(rng, n, 32, 2.7, -8, 7) + 8
    return np.hstack([f16(sigma / 2.7 * jitter(rng, n) * sign(rng, n)), pack4(q)])


def q4_1(rng, n, sigma):
    q = np.clip(codes(rng, n, 32, 2.7, -8, 7) + 8, 0, 15)
    d = sigma / 2.7 * jitter(rng, n)
    return np.hstack([f16(d), f16(-8 * d), pack4(q)])


def q5_0(rng, n, sigma):
    q = codes(rng, n, 32, 5.4, -16, 15) + 16
    return np.hstack([f16(sigma / 5.4 * jitter(rng, n) * sign(rng, n)), pack5(q), pack4(q & 15)])


def q5_1(rng, n, sigma):
    q = codes(rng, n, 32, 5.4, -16, 15) + 16
    d = sigma / 5.4 * jitter(rng, n)
    return np.hstack([f16(d), f16(-16 * d), pack5(q), pack4(q & 15)])


def q2_k(rng, n, sigma):
    scale = rng.integers(6, 13, (n, 16)).astype(np.uint8)  # code * scale * d - scale * 1.5 d: mean 0
    d = sigma / 1.118 / 9 * jitter(rng, n)
    return np.hstack([scale | scale << 4, any_bytes(rng, n, 64), f16(d), f16(1.5 * d)])


def q3_k(rng, n, sigma):
    d = sigma / (18.5 * 2.35) * jitter(rng, n)
    return np.hstack([any_bytes(rng, n, 32), any_bytes(rng, n, 64), any_bytes(rng, n, 12), f16(d)])


def pack_scales(s, m):
    """Eight scales and eight minima of 6 bits in 12 bytes, as Q4_K and Q5_K keep them."""
    s, m = s.astype(np.uint8), m.astype(np.uint8)
    first = s[:, :4] | (s[:, 4:] >> 4) << 6
    second = m[:, :4] | (m[:, 4:] >> 4) << 6
    third = (s[:, 4:] & 15) | (m[:, 4:] & 15) << 4
    return np.hstack([first, second, third])


def q4_k(rng, n, sigma):
    s = rng.integers(30, 64, (n, 8))
    d = sigma / 4.61 / 47 * jitter(rng, n)
    return np.hstack([f16(d), f16(7.5 * d), pack_scales(s, s), any_bytes(rng, n, 128)])


def q5_k(rng, n, sigma):
    s = rng.integers(30, 64, (n, 8))
    d = sigma / 9.23 / 47 * jitter(rng, n)
    return np.hstack([f16(d), f16(15.5 * d), pack_scales(s, s), any_bytes(rng, n, 32), any_bytes(rng, n, 128)])


def q6_k(rng, n, sigma):
    s = (rng.integers(20, 110, (n, 16)) * np.where(rng.random((n, 16)) < 0.5, -1, 1)).astype(np.int8).view(np.uint8)
    d = sigma / 18.5 / 70 * jitter(rng, n)
    return np.hstack([any_bytes(rng, n, 128), any_bytes(rng, n, 64), s, f16(d)])


def iq4_nl(rng, n, sigma):
    return np.hstack([f16(sigma / 71 * jitter(rng, n) * sign(rng, n)), any_bytes(rng, n, 16)])


def iq4_xs(rng, n, sigma):
    d = sigma / 71 / 18.5 * jitter(rng, n)
    return np.hstack([f16(d), any_bytes(rng, n, 2), any_bytes(rng, n, 4), any_bytes(rng, n, 128)])


def mxfp4(rng, n, sigma):
    e = round(128 + math.log2(sigma / 5.85)) + rng.integers(-1, 2, (n, 1))
    return np.hstack([e.astype(np.uint8), any_bytes(rng, n, 16)])


def nvfp4(rng, n, sigma):
    e = 8 * round(7 + math.log2(sigma / 4.4)) + rng.integers(0, 8, (n, 4))
    return np.hstack([e.astype(np.uint8), any_bytes(rng, n, 32)])


def iq(size, at, rms):
    """Any bytes but for the scale at byte `at`; rms: of a weight with scale 1."""
    def make(rng, n, sigma):
        b = any_bytes(rng, n, size).copy()
        b[:, at:at + 2] = f16(sigma / rms * jitter(rng, n))
        return b
    return make


def iq1_m(rng, n, sigma):
    b, d = any_bytes(rng, n, 56).copy(), f16(sigma / 7.6 * jitter(rng, n)).view("<u2")[:, 0]
    for i in range(4):
        b[:, 49 + 2 * i] = b[:, 49 + 2 * i] & 15 | (d >> 4 * i & 15) << 4
    return b


def pairs(rng, n, k):
    """k ternary codes in two bits each, four in a byte; which is where does not matter."""
    q = rng.integers(0, 3, (n, k // 4, 4))
    return (q << [0, 2, 4, 6]).sum(-1).astype(np.uint8)


def q1_0(rng, n, sigma):
    return np.hstack([f16(sigma * jitter(rng, n)), any_bytes(rng, n, 16)])


def q2_0(rng, n, sigma):
    return np.hstack([f16(sigma * 1.22 * jitter(rng, n)), pairs(rng, n, 64)])


def tq1_0(rng, n, sigma):
    return np.hstack([any_bytes(rng, n, 52), f16(sigma * 1.22 * jitter(rng, n))])


def tq2_0(rng, n, sigma):
    return np.hstack([pairs(rng, n, 256), f16(sigma * 1.22 * jitter(rng, n))])


# name: id, elements per block, bytes per block, general.file_type, maker
TYPES = {
    "F32": (0, 1, 4, 0, q_f32), "F16": (1, 1, 2, 1, q_f16), "BF16": (30, 1, 2, 32, q_bf16),
    "Q4_0": (2, 32, 18, 2, q4_0), "Q4_1": (3, 32, 20, 3, q4_1), "Q5_0": (6, 32, 22, 8, q5_0),
    "Q5_1": (7, 32, 24, 9, q5_1), "Q8_0": (8, 32, 34, 7, q8_0), "Q2_K": (10, 256, 84, 10, q2_k),
    "Q3_K": (11, 256, 110, 12, q3_k), "Q4_K": (12, 256, 144, 15, q4_k), "Q5_K": (13, 256, 176, 17, q5_k),
    "Q6_K": (14, 256, 210, 18, q6_k), "IQ4_NL": (20, 32, 18, 25, iq4_nl), "IQ4_XS": (23, 256, 136, 30, iq4_xs),
    "MXFP4": (39, 32, 17, 38, mxfp4), "NVFP4": (40, 64, 36, 39, nvfp4), "Q1_0": (41, 128, 18, 40, q1_0),
    "Q2_0": (42, 64, 18, 41, q2_0), "TQ1_0": (34, 256, 54, 36, tq1_0), "TQ2_0": (35, 256, 66, 37, tq2_0),
    "IQ1_S": (19, 256, 50, 24, iq(50, 0, 7.6)), "IQ1_M": (29, 256, 56, 31, iq1_m),
    "IQ2_XXS": (16, 256, 66, 19, iq(66, 0, 63)), "IQ2_XS": (17, 256, 74, 20, iq(74, 0, 63)),
    "IQ2_S": (22, 256, 82, 28, iq(82, 0, 63)), "IQ3_XXS": (18, 256, 98, 23, iq(98, 0, 160)),
    "IQ3_S": (21, 256, 110, 26, iq(110, 0, 160)),
}

# --- GGUF ---------------------------------------------------------------------------------------------------------

ALIGN = 32
U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(t, v):
    if t == STR:
        return string(v)
    if t == ARR:
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(value(elem, x) for x in items)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B"}[t], v)


def key(name, t, v):
    return string(name) + struct.pack("<I", t) + value(t, v)


def tensors(o):
    """(name, type, dims with the contiguous one first, standard deviation or None for a tensor of its own)"""
    n_vocab, n_embd, n_layer, n_head, n_kv, n_ff = o.shape
    head = n_embd // n_head
    out = []

    def matrix(name, k, rows):
        kind = o.type if k % TYPES[o.type][1] == 0 else o.fallback
        out.append((name, kind, (k, rows), 1 / math.sqrt(k)))

    def vector(name, n, what):
        out.append((name, "F32", (n,), what))

    matrix("token_embd.weight", n_embd, n_vocab)
    for i in range(n_layer):
        b = f"blk.{i}."
        vector(b + "attn_norm.weight", n_embd, "norm")
        for part, rows in (("q", n_head * head), ("k", n_kv * head), ("v", n_kv * head)):
            matrix(b + f"attn_{part}.weight", n_embd, rows)
            if o.bias:
                vector(b + f"attn_{part}.bias", rows, "bias")
        matrix(b + "attn_output.weight", n_head * head, n_embd)
        vector(b + "ffn_norm.weight", n_embd, "norm")
        matrix(b + "ffn_gate.weight", n_embd, n_ff)
        matrix(b + "ffn_up.weight", n_embd, n_ff)
        matrix(b + "ffn_down.weight", n_ff, n_embd)
    if o.rope == "llama3":
        vector("rope_freqs.weight", head // 2, "rope")
    vector("output_norm.weight", n_embd, "norm")
    if not o.tied:
        matrix("output.weight", n_embd, n_vocab)
    return out


def rope_factors(o, n):
    """Frequency divisors of Llama 3.1: 1 for fast dimensions, `factor` for slow ones, a ramp between."""
    factor, low, high, old = o.rope_factor, 1.0, 4.0, 8192
    out = []
    for i in range(n):
        wave = 2 * math.pi * o.rope_base ** (i / n)
        if wave < old / high:
            out.append(1.0)
        elif wave > old / low:
            out.append(factor)
        else:
            smooth = (old / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, "<f4")


def keys(o):
    n_vocab, n_embd, n_layer, n_head, n_kv, n_ff = o.shape
    tokens, types, merges = tokenizer(n_vocab)
    name = f"synthetic {o.preset} {o.type}"
    out = [
        key("general.architecture", STR, "llama"), key("general.type", STR, "model"), key("general.name", STR, name),
        key("general.license", STR, "apache-2.0"), key("general.file_type", U32, TYPES[o.type][3]),
        key("general.quantization_version", U32, 2),
        key("llama.block_count", U32, n_layer), key("llama.context_length", U32, o.context),
        key("llama.embedding_length", U32, n_embd), key("llama.feed_forward_length", U32, n_ff),
        key("llama.attention.head_count", U32, n_head), key("llama.attention.head_count_kv", U32, n_kv),
        key("llama.attention.layer_norm_rms_epsilon", F32, 1e-5), key("llama.vocab_size", U32, n_vocab),
        key("llama.rope.dimension_count", U32, n_embd // n_head), key("llama.rope.freq_base", F32, o.rope_base),
    ]
    if o.rope in ("linear", "yarn"):
        out += [key("llama.rope.scaling.type", STR, o.rope), key("llama.rope.scaling.factor", F32, o.rope_factor)]
    if o.rope == "yarn":
        out.append(key("llama.rope.scaling.original_context_length", U32, int(o.context / o.rope_factor)))
    out += [
        key("tokenizer.ggml.model", STR, "gpt2"), key("tokenizer.ggml.pre", STR, "smollm"),
        key("tokenizer.ggml.tokens", ARR, (STR, tokens)), key("tokenizer.ggml.token_type", ARR, (I32, types)),
        key("tokenizer.ggml.merges", ARR, (STR, merges)), key("tokenizer.ggml.bos_token_id", U32, 1),
        key("tokenizer.ggml.eos_token_id", U32, 2), key("tokenizer.ggml.unknown_token_id", U32, 0),
        key("tokenizer.ggml.padding_token_id", U32, 2), key("tokenizer.ggml.add_bos_token", BOOL, 0),
        key("tokenizer.ggml.add_space_prefix", BOOL, 0), key("tokenizer.chat_template", STR, CHAT),
    ]
    return out


def tensor_bytes(kind, dims):
    _, block, size, _, _ = TYPES[kind]
    n = math.prod(dims)
    if dims[0] % block:
        sys.exit(f"gen-model: rows of {dims[0]} do not divide into {kind} blocks of {block}; choose another --fallback")
    return n // block * size


def write_data(f, o, name, kind, dims, what):
    rng = np.random.Generator(np.random.PCG64([o.seed, zlib.crc32(name.encode())]))
    if what == "norm":
        f.write((1 + 0.1 * rng.standard_normal(dims[0])).astype("<f4").tobytes())
    elif what == "bias":
        f.write((0.1 * rng.standard_normal(dims[0])).astype("<f4").tobytes())
    elif what == "rope":
        f.write(rope_factors(o, dims[0]).tobytes())
    else:
        _, block, size, _, make = TYPES[kind]
        left, chunk = math.prod(dims) // block, (1 << 22) // block
        while left:
            n = min(left, chunk)
            data = make(rng, n, what)
            assert data.shape == (n, size) and data.dtype == np.uint8
            f.write(data.tobytes())
            left -= n


def write_file(o, plan, meta):
    at, info = 0, b""
    for name, kind, dims, _ in plan:
        info += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TYPES[kind][0], at)
        at += -(-tensor_bytes(kind, dims) // ALIGN) * ALIGN
    with open(o.out, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(plan), len(meta)) + b"".join(meta) + info)
        for name, kind, dims, what in plan:
            f.write(b"\0" * (-f.tell() % ALIGN))
            write_data(f, o, name, kind, dims, what)
        f.write(b"\0" * (-f.tell() % ALIGN))
        return f.tell()


def write_model(o):
    plan = tensors(o)
    size = write_file(o, plan, keys(o))
    other = sorted({kind for _, kind, _, what in plan if isinstance(what, float) and kind != o.type})
    print(f"{o.out}: {size} bytes, {len(plan)} tensors, {o.type}" + (f", {', '.join(other)} where rows do not divide" if other else ""))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--preset", choices=PRESETS, default="tiny")
    p.add_argument("--type", choices=TYPES, default="Q8_0", help="of all matrices")
    p.add_argument("--fallback", choices=TYPES, default="Q8_0", help="where a row is no whole number of blocks")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rope", choices=("plain", "linear", "yarn", "llama3"))
    p.add_argument("--rope-factor", type=float, default=8.0)
    p.add_argument("--rope-base", type=float)
    p.add_argument("--layers", type=int)
    p.add_argument("--vocab", type=int)
    p.add_argument("--context", type=int)
    p.add_argument("--tied", action=argparse.BooleanOptionalAction)
    p.add_argument("--bias", action="store_true", help="attention biases")
    o = p.parse_args()
    n_vocab, n_embd, n_layer, n_head, n_kv, n_ff, context, base, tied, rope = PRESETS[o.preset]
    o.shape = (o.vocab or n_vocab, n_embd, o.layers or n_layer, n_head, n_kv, n_ff)
    o.context = o.context or context
    o.rope_base = o.rope_base or base
    o.rope = o.rope or rope
    o.tied = tied if o.tied is None else o.tied
    if o.shape[0] < 256 + len(SPECIAL):
        sys.exit(f"gen-model: the vocabulary needs at least {256 + len(SPECIAL)} tokens")
    write_model(o)


if __name__ == "__main__":
    main()
