#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""llama.py MODEL TEXT REF.npy OUT.txt [--kv f16|q8_0] [--flash] [--windows N]: llama.cpp beside the project.

Runs the same windows through PyPI's llama-cpp-python and writes one line per scored position: nll and KLD against the
reference, as `tutti ppl --per-token` does; paired.py compares the two.
"""
import argparse, subprocess
import numpy as np
import llama_cpp

WINDOW = 512


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model"), ap.add_argument("text"), ap.add_argument("ref"), ap.add_argument("out")
    ap.add_argument("--kv", default="f16", choices=("f16", "q8_0"))
    ap.add_argument("--flash", action="store_true")
    ap.add_argument("--windows", type=int, default=32)
    ap.add_argument("--tutti", default="./tutti")
    a = ap.parse_args()
    out = subprocess.run([a.tutti, "tokenize", a.model, "--ids", "--file", a.text], check=True, capture_output=True, text=True)
    ids = np.array(out.stdout.split(), np.int64)
    ref = np.load(a.ref, mmap_mode="r").reshape(-1, WINDOW // 2 - 1, np.load(a.ref, mmap_mode="r").shape[-1])
    kind = llama_cpp.GGML_TYPE_Q8_0 if a.kv == "q8_0" else llama_cpp.GGML_TYPE_F16
    m = llama_cpp.Llama(a.model, n_ctx=WINDOW, n_batch=WINDOW, n_ubatch=WINDOW, logits_all=True, type_k=kind, type_v=kind,
                        flash_attn=a.flash or a.kv == "q8_0", verbose=False)
    with open(a.out, "w") as f:
        for w in range(min(a.windows, len(ids) // WINDOW, len(ref))):
            win = ids[w * WINDOW : (w + 1) * WINDOW]
            m.reset()
            m.eval(win.tolist())
            z = m.scores[WINDOW // 2 : WINDOW - 1].astype(np.float64)
            z -= z.max(-1, keepdims=True)
            z -= np.log(np.exp(z).sum(-1, keepdims=True))
            r = np.array(ref[w], np.float64)
            kld = (np.exp(r) * (r - z)).sum(-1)
            for nll, k in zip(-z[np.arange(255), win[WINDOW // 2 + 1 :]], kld):
                f.write(f"{nll:.9g} {k:.9g}\n")


main()
