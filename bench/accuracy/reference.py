#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""reference.py MODEL TEXT OUT.npy [--windows N]: the f64 reference of doc/arithmetic.md, section 8.

A llama-family GGUF with its weights dequantised, run in float64 by numpy, independent of the engine but for the token
ids (./tutti tokenize --ids). Windows of 512 without overlap; log-probabilities of positions 256..510 of each are
written as float32 [windows * 255][n_vocab], the form that `tutti ppl --kld` reads. Needs PyPI's gguf and numpy.
"""
import argparse, subprocess
import numpy as np
import gguf
from gguf.quants import dequantize

WINDOW = 512


def model(path):
    r = gguf.GGUFReader(path)
    key = lambda k, d=None: r.fields["llama." + k].contents() if "llama." + k in r.fields else d
    tensors = {t.name: t for t in r.tensors}

    def weight(name):
        t = tensors[name]
        kind = t.tensor_type.name
        x = np.array(t.data) if kind in ("F32", "F16") else dequantize(t.data, t.tensor_type)
        return x.astype(np.float64).reshape([int(n) for n in reversed(t.shape)])

    return key, weight, tensors


def norm(x, g, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g


def rope(x, cos, sin):  # adjacent pairs: GGUF permutes q and k for them
    y = np.empty_like(x)
    a, b = x[..., 0::2], x[..., 1::2]
    y[..., 0::2], y[..., 1::2] = a * cos - b * sin, a * sin + b * cos
    return y


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model"), ap.add_argument("text"), ap.add_argument("out")
    ap.add_argument("--windows", type=int, default=32)
    ap.add_argument("--tutti", default="./tutti")
    a = ap.parse_args()
    out = subprocess.run([a.tutti, "tokenize", a.model, "--ids", "--file", a.text], check=True, capture_output=True, text=True)
    ids = np.array(out.stdout.split(), np.int64)
    n = min(a.windows, len(ids) // WINDOW)
    ids = ids[: n * WINDOW].reshape(n, WINDOW)
    key, weight, tensors = model(a.model)
    heads = key("attention.head_count")
    kv = key("attention.head_count_kv", heads)
    eps = key("attention.layer_norm_rms_epsilon")
    embd = weight("token_embd.weight")
    dim = embd.shape[1] // heads
    angle = np.arange(WINDOW)[:, None] * key("rope.freq_base", 10000.0) ** (-np.arange(0, dim, 2) / dim)[None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    mask = np.triu(np.full((WINDOW, WINDOW), -np.inf), 1)
    x = embd[ids]
    for i in range(key("block_count")):
        w = lambda name: weight(f"blk.{i}.{name}.weight")
        h = norm(x, w("attn_norm"), eps)
        wq, wk, wv, wo = w("attn_q"), w("attn_k"), w("attn_v"), w("attn_output")
        for j in range(n):
            q = rope((h[j] @ wq.T).reshape(WINDOW, heads, dim), cos, sin)
            k = rope((h[j] @ wk.T).reshape(WINDOW, kv, dim), cos, sin).repeat(heads // kv, 1)
            v = (h[j] @ wv.T).reshape(WINDOW, kv, dim).repeat(heads // kv, 1)
            s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dim) + mask
            p = np.exp(s - s.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            x[j] += np.einsum("hqk,khd->qhd", p, v).reshape(WINDOW, -1) @ wo.T
        h = norm(x, w("ffn_norm"), eps)
        gate, up, down = w("ffn_gate"), w("ffn_up"), w("ffn_down")
        for j in range(n):
            g = h[j] @ gate.T
            x[j] += (g / (1 + np.exp(-g)) * (h[j] @ up.T)) @ down.T
        print(f"layer {i}", flush=True)
    head = weight("output.weight") if "output.weight" in tensors else embd
    x = norm(x, weight("output_norm.weight"), eps)
    logp = np.lib.format.open_memmap(a.out, "w+", np.float32, (n * 255, head.shape[0]))
    nll = []
    for j in range(n):
        z = x[j, WINDOW // 2 : WINDOW - 1] @ head.T
        z -= z.max(-1, keepdims=True)
        z -= np.log(np.exp(z).sum(-1, keepdims=True))
        logp[j * 255 : (j + 1) * 255] = z
        nll.append(-z[np.arange(255), ids[j, WINDOW // 2 + 1 :]])
    logp.flush()
    print(f"windows {n} perplexity {np.exp(np.mean(nll)):.4f}")


main()
