#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gen-gguf-corpus.py FOLDER: writes the seed corpus of fuzz/fuzz_gguf.c: small GGUF files, first right ones that use
every value type, tensor type and layout, then ones that are wrong in one chosen place. The same files every time."""
import os
import random
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FMT = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q",
       F64: "<d"}
# tensor type id: elements per block, bytes per block
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
         11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 24: (1, 1),
         28: (1, 8), 30: (1, 2), 39: (32, 17), 40: (64, 36), 19: (256, 50)}
N4 = 244  # groups of 256 in 135 bytes; the last may be shorter


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def value(t, v):
    if t == STR:
        return string(v)
    if t == ARR:
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(value(elem, x) for x in items)
    return struct.pack(FMT[t], v)


def key(name, t, v):
    return string(name) + struct.pack("<I", t) + value(t, v)


def gguf(keys, tensors, version=3, align=32, n_keys=None, n_tensors=None, cut=None, magic=b"GGUF", patch=()):
    """tensors: (name, type, dims[, offset]); data sizes follow from them."""
    out = magic + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                              len(keys) if n_keys is None else n_keys) + b"".join(keys)
    at = 0
    for t in tensors:
        name, ty, dims = t[:3]
        offset = t[3] if len(t) > 3 else at
        out += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", ty, offset)
        block, size = TYPES.get(ty, (1, 1))
        n = 1
        for d in dims:
            n *= d
        bytes_ = n // block * size
        if ty == N4:
            rest = dims[0] % 256
            bytes_ = n // dims[0] * (dims[0] // 256 * 135 + (2 + (5 * rest // 32 + 7) // 8 + rest // 2 if rest else 0))
        at += -(-bytes_ // align) * align if n < 1 << 20 else 0
    if tensors:
        out += b"\0" * (-len(out) % align) + bytes(i * 7 & 255 for i in range(at))
    for pos, b in patch:
        out = out[:pos] + b + out[pos + len(b):]
    return out[:cut]


def good(rng):
    arch = key("general.architecture", STR, "llama")
    yield "empty", gguf([], [])
    yield "empty-v2", gguf([], [], version=2)
    yield "scalars", gguf([key(f"k.{t}", t, 1) for t in FMT] + [arch], [])
    yield "extremes", gguf([key("a", U64, 2**64 - 1), key("b", I64, -2**63), key("c", I8, -128), key("d", F32, 3e38),
                            key("e", F64, float("inf")), key("f", F32, float("nan"))], [])
    yield "arrays", gguf([key(f"a.{t}", ARR, (t, [1] * rng.randrange(5))) for t in FMT], [])
    yield "strings", gguf([key("tokenizer.ggml.tokens", ARR, (STR, ["<s>", "", "a", "\u0120the", b"\xff\xfe"])),
                           key("tokenizer.ggml.scores", ARR, (F32, [0.0, -1.0, 2.5])),
                           key("tokenizer.ggml.token_type", ARR, (I32, [3, 1, 1])), arch], [])
    yield "nested", gguf([key("n", ARR, (ARR, [(U8, [1, 2]), (STR, ["x"]), (ARR, [(BOOL, [0, 1])])]))], [])
    for ty, (block, _) in TYPES.items():
        yield f"type-{ty}", gguf([arch], [("w", ty, [block, 2])])
    yield "n4", gguf([arch, key("tutti.n4.version", U32, 1)], [("w", N4, [576, 3]), ("v", N4, [256]), ("u", N4, [32, 2])])
    yield "dims", gguf([], [("d0", 0, []), ("d1", 0, [5]), ("d2", 1, [4, 3]), ("d3", 0, [2, 2, 2]), ("d4", 24, [2, 3, 2, 2])])
    yield "aligned-8", gguf([key("general.alignment", U32, 8)], [("a", 0, [2]), ("b", 0, [2])], align=8)
    yield "aligned-256", gguf([key("general.alignment", U32, 256)], [("a", 0, [3]), ("b", 2, [32])], align=256)
    yield "gap", gguf([], [("a", 0, [8], 0), ("b", 0, [8], 64), ("c", 0, [8], 32)])
    yield "split-1", gguf([key("split.no", U16, 0), key("split.count", U16, 1), key("split.tensors.count", I32, 1)],
                          [("a", 0, [8])])
    yield "parts", parts(3, 3)
    llama = [arch, key("llama.block_count", U32, 1), key("llama.embedding_length", U32, 32),
             key("llama.attention.head_count", U32, 2), key("llama.rope.freq_base", F32, 1e4)]
    yield "llama", gguf(llama, [("token_embd.weight", 8, [32, 4]), ("output_norm.weight", 0, [32]),
                                ("blk.0.attn_q.weight", 2, [32, 32]), ("blk.0.ffn_up.weight", 39, [32, 16])])


def parts(n, total, numbers=None):
    return b"<next part>".join(
        gguf([key("split.no", U16, numbers[i] if numbers else i), key("split.count", U16, n),
              key("split.tensors.count", I32, total)], [(f"t{i}", 0, [8])]) for i in range(n))


def bad():
    yield "parts-total", parts(2, 3)
    yield "parts-order", parts(3, 3, numbers=[0, 2, 1])
    yield "parts-lack", parts(3, 3)[:-200]
    w = ("w", 0, [8, 2])
    a = key("a", U32, 1)
    yield "magic", gguf([], [], magic=b"GGUX")
    yield "version", gguf([], [], version=1)
    yield "big-endian", gguf([], [], version=0x03000000)
    yield "counts", gguf([a], [w], n_keys=2**63, n_tensors=2**62)
    yield "count-keys", gguf([a], [w], n_keys=2)
    yield "count-tensors", gguf([a], [w], n_tensors=2)
    yield "twice-key", gguf([a, a], [])
    yield "twice-tensor", gguf([], [w, w])
    yield "overlap", gguf([], [("a", 0, [16], 0), ("b", 0, [16], 32)])
    yield "offset", gguf([], [("a", 0, [8], 2**64 - 32), w])
    yield "unaligned", gguf([], [("a", 0, [8], 4)])
    yield "dims-product", gguf([], [("a", 0, [2**32, 2**32])])
    yield "dims-zero", gguf([], [("a", 0, [4, 0])])
    yield "block", gguf([], [("a", 12, [255])])
    yield "type", gguf([], [("a", 31, [256])])
    yield "n4-no-key", gguf([a], [("w", N4, [576, 3])])
    yield "n4-version", gguf([key("tutti.n4.version", U32, 2)], [("w", N4, [576, 3])])
    yield "n4-row", gguf([key("tutti.n4.version", U32, 1)], [("w", N4, [48, 2])])
    yield "align", gguf([key("general.alignment", U32, 33)], [w])
    yield "align-type", gguf([key("general.alignment", F32, 32)], [w])
    yield "split-2", gguf([key("split.no", U16, 1), key("split.count", U16, 2), key("split.tensors.count", I32, 3)], [w])
    yield "cut-key", gguf([key("a", STR, "x" * 40)], [], cut=60)
    yield "cut-data", gguf([], [w], cut=-1)
    deep = (U8, [1])
    for _ in range(7):
        deep = (ARR, [deep])
    yield "deep", gguf([key("d", ARR, deep)], [])
    yield "string-length", gguf([key("a", STR, "x")], [], patch=[(37, b"\xff" * 8)])


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(2)
    files = [("good-" + n, b) for n, b in good(rng)] + [("bad-" + n, b) for n, b in bad()]
    for name, data in files:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    print(f"{len(files)} files, {sum(len(b) for _, b in files)} bytes")


if __name__ == "__main__":
    main()
