#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""paired.py OURS.txt THEIRS.txt: mean KLD of both, and the paired difference with its 95 % interval by token and by window."""
import sys
import numpy as np

a, b = (np.loadtxt(p) for p in sys.argv[1:3])
n = min(len(a), len(b)) // 255 * 255
d = a[:n, 1] - b[:n, 1]
w = d.reshape(-1, 255).mean(1)
half = 1.96 * d.std(ddof=1) / n**0.5
half_w = 1.96 * w.std(ddof=1) / len(w) ** 0.5 if len(w) > 1 else float("nan")
print(f"ours {a[:n, 1].mean():.4e}  theirs {b[:n, 1].mean():.4e}  difference {d.mean():+.3e} +- {half:.1e} by token, {half_w:.1e} by window")
print("no worse" if d.mean() - half <= 0 else "WORSE", f"({n} tokens; perplexity {np.exp(a[:n, 0].mean()):.4f} and {np.exp(b[:n, 0].mean()):.4f})")
