# SPDX-License-Identifier: Apache-2.0
"""erf(x) = x + x Q(x^2) below the split; 1 - exp(G(x)), G = log erfc, from the split to 3.93.
Usage: erf.py [split] [coefficients of Q] [coefficients of G]"""
import sys
import numpy as np
import mpmath as mp
from fit import *

split = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
n = int(sys.argv[2]) if len(sys.argv) > 2 else 7
g = int(sys.argv[3]) if len(sys.argv) > 3 else 7


def q_of(u):
    x = mp.sqrt(u)
    return mp.erf(x) / x - 1 if u else 2 / mp.sqrt(mp.pi) - 1


def longdouble(v):
    h = float(v)
    return np.longdouble(h) + np.longdouble(float(v - mp.mpf(h)))


Q = round32(q_of, lambda u: mp.sqrt(u) / mp.erf(mp.sqrt(u)) if u else mp.mpf(1), list(range(n)), 0, mp.mpf(split) ** 2)
rng = np.random.default_rng(5)
x = np.concatenate([rng.uniform(1e-4, split, 20000), rng.uniform(split * .5, split, 10000)]).astype(F)
u = x * x
want = np.array([longdouble(mp.erf(mp.mpf(float(v)))) for v in x])
Q = polish(Q, lambda cs: float(ulps(fma(horner(cs, u), x, x), want).max()))
show("ERF_C", Q, "erf: coefficient of x^(1+2*%d)")

G = round32(lambda x: mp.log(mp.erfc(x)), lambda x: mp.erfc(x), list(range(g)), split, mp.mpf("3.93"))
x2 = np.concatenate([rng.uniform(split, 3.93, 20000), rng.uniform(split, split + .5, 10000)]).astype(F)
want2 = np.array([longdouble(mp.erf(mp.mpf(float(v)))) for v in x2])


def run(cs):
    return F(1) - np.exp(horner(cs, x2).astype(np.float64)).astype(F)


G = polish(G, lambda cs: float(ulps(run(cs), want2).max()))
show("ERFC_C", G, "log erfc: coefficient of x^%d")
