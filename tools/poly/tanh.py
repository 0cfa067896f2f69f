# SPDX-License-Identifier: Apache-2.0
"""tanh(x) = x + x^3 Q(x^2) for |x| < split. Usage: tanh.py [split] [coefficients]"""
import sys
import numpy as np
import mpmath as mp
from fit import *

split = float(sys.argv[1]) if len(sys.argv) > 1 else 0.625
n = int(sys.argv[2]) if len(sys.argv) > 2 else 5


def q_of(u):
    if u < mp.mpf(2) ** -40:
        return -mp.mpf(1) / 3 + u * 2 / 15
    x = mp.sqrt(u)
    return (mp.tanh(x) - x) / (x * u)


def w_of(u):
    x = mp.sqrt(u)
    return x * u / mp.tanh(x) if u else mp.mpf(0)


Q = round32(q_of, w_of, list(range(n)), 0, mp.mpf(split) ** 2)
rng = np.random.default_rng(4)
x = np.concatenate([rng.uniform(1e-4, split, 150000), rng.uniform(split * .7, split, 50000)]).astype(F)
u = x * x
want = np.tanh(x.astype(np.longdouble))
run = lambda cs: fma(horner(cs, u) * u, x, x)
Q = polish(Q, lambda cs: float(ulps(run(cs), want).max()))
show("TANH_C", Q, "tanh: coefficient of x^(3+2*%d)")
