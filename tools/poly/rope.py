# SPDX-License-Identifier: Apache-2.0
"""Expected RoPE steps, from mpmath at 400 bits: prints the table of tests/unit/test_rope.c.

theta is the real number that the metadata define (kern/rope.h); every parameter is an fp32.
"""
import numpy as np
import mpmath as mp

mp.mp.prec = 400
f = lambda v: mp.mpf(float(np.float32(v)))


def thetas(d, base, kind, factor=1, orig=0, low=1, high=4, fast=32, slow=1, factors=None):
    out = []
    base, factor, orig, low, high, fast, slow = map(f, (base, factor, orig, low, high, fast, slow))
    if kind == "YARN":
        pair = lambda rot: d * mp.log(orig / (rot * 2 * mp.pi)) / (2 * mp.log(base))
        start = max(0, int(mp.floor(pair(fast))))
        end = min(d - 1, int(mp.ceil(pair(slow))))
    for i in range(d // 2):
        t = base ** (-mp.mpf(2 * i) / d)
        if factors:
            t /= f(factors(i))
        if kind == "LINEAR":
            t /= factor
        elif kind == "LLAMA3":
            wave = 2 * mp.pi / t
            if wave > orig / low:
                t /= factor
            elif wave >= orig / high:
                k = (orig / wave - low) / (high - low)
                t = (1 - k) * t / factor + k * t
        elif kind == "YARN":
            y = (mp.mpf(i) - start) / max(mp.mpf(1) / 1000, end - start)
            mix = 1 - min(1, max(0, y))
            t = t / factor * (1 - mix) + t * mix
        out.append(t)
    return out


def step(t):
    return int(mp.floor(t / (2 * mp.pi) * mp.mpf(2) ** 64 + mp.mpf(1) / 2)) % 2 ** 64


def attn(kind, factor):
    if kind != "YARN" or factor <= 1:
        return 0x3f800000
    v = 1 + mp.log(f(factor)) / 10
    e = int(mp.floor(mp.log(v, 2)))
    m = int(mp.nint(v * mp.mpf(2) ** (23 - e)))  # nint is ties to even
    return (e + 127 << 23) + (m - (1 << 23))


def digest(steps):
    h = 0xcbf29ce484222325
    for s in steps:
        h = (h ^ s) * 0x100000001b3 % 2 ** 64
        h ^= h >> 29
    return h


cases = [("PLAIN", 1, 0, 0), ("PLAIN", 1, 0, 1), ("LINEAR", 4, 0, 0), ("LINEAR", 1.7, 0, 0), ("LLAMA3", 8, 8192, 0), ("LLAMA3", 32, 8192, 0),
         ("YARN", 4, 32768, 0), ("YARN", 40, 4096, 0), ("YARN", 1.3, 2048, 1)]
for base in (10000, 100000, 500000, 1000000):
    for d in (64, 80, 96, 128, 256):
        for kind, factor, orig, ff in cases:
            s = [step(t) for t in thetas(d, base, kind, factor, orig, factors=(lambda i: 1 + i / 4) if ff else None)]
            print("    {%d, %d, ROPE_%s, %s, %d, %d, 0x%08x, 0x%016x, 0x%016x}," % (d, base, kind, repr(float(factor)) + "f", orig, ff, attn(kind, factor), s[d // 4], digest(s)))
