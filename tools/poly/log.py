# SPDX-License-Identifier: Apache-2.0
"""log(1+f) = f + f^2 (-1/2 + f Q(f)) on [sqrt(1/2)-1, sqrt(2)-1]. Usage: log.py [coefficients of Q]"""
import sys
import numpy as np
import mpmath as mp
from fit import *

n = int(sys.argv[1]) if len(sys.argv) > 1 else 7
a, b = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1


def q_of(f):
    if abs(f) < mp.mpf(2) ** -40:
        return mp.mpf(1) / 3 - f / 4
    return (mp.log(1 + f) - f + f * f / 2) / f ** 3


Q = round32(q_of, lambda f: abs(f ** 3 / mp.log(1 + f)) if f else mp.mpf(0), list(range(n)), a, b)
hi = f32(mp.log(2))
lo = f32(mp.log(2) - mp.mpf(float(hi)))
rng = np.random.default_rng(3)
m = np.concatenate([rng.uniform(.7072, 1.4142, 200000), rng.uniform(.96, 1.04, 50000)]).astype(F)
f = m - F(1)
e = np.concatenate([np.zeros(100000), rng.integers(-3, 4, 150000)]).astype(F)
rng.shuffle(e)
want = np.log(m.astype(np.longdouble)) + e.astype(np.longdouble) * np.longdouble("0.693147180559945309417232121458176568")


def run(cs):
    s = f * f
    h = horner(cs, f)
    h = fma(h, f, F(-0.5))
    p = fma(h, s, f)
    return fma(e, hi, fma(e, lo, p))


Q = polish(Q, lambda cs: float(ulps(run(cs), want).max()))
show("LOG_C", Q, "log: coefficient of f^(3+%d)")
