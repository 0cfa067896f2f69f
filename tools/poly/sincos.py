# SPDX-License-Identifier: Apache-2.0
"""sin(t pi/4) = t * S(t^2), cos(t pi/4) = 1 + t^2 * C(t^2) on |t| <= 1; absolute error."""
import sys
import numpy as np
import mpmath as mp
from fit import *

ns, nc = (int(v) for v in sys.argv[1:3]) if len(sys.argv) > 2 else (4, 4)
q = mp.pi / 4


def s_of(u):
    t = mp.sqrt(u)
    return mp.sin(q * t) / t if u else q


def c_of(u):
    return (mp.cos(q * mp.sqrt(u)) - 1) / u if u else -q * q / 2


rng = np.random.default_rng(2)
t = np.concatenate([rng.uniform(0, 1, 150000), rng.uniform(.9, 1, 50000), [1.0, 0.0]]).astype(F)
u = t * t
tl = t.astype(np.longdouble) * np.longdouble("0.785398163397448309615660845819875721")
ws, wc = np.sin(tl), np.cos(tl)
S = round32(s_of, lambda u: mp.sqrt(u), list(range(ns)), 0, 1)
C = round32(c_of, lambda u: u, list(range(nc)), 0, 1)
S = polish(S, lambda cs: float(np.abs((horner(cs, u) * t).astype(np.longdouble) - ws).max()))
C = polish(C, lambda cs: float(np.abs(fma(horner(cs, u), u, F(1)).astype(np.longdouble) - wc).max()))
show("SIN_C", S, "sin(t pi/4): coefficient of t^(1+2*%d)")
show("COS_C", C, "cos(t pi/4): coefficient of t^(2+2*%d)")
es = np.abs((horner(S, u) * t).astype(np.longdouble) - ws).max()
ec = np.abs(fma(horner(C, u), u, F(1)).astype(np.longdouble) - wc).max()
print("max abs error sin 2^%.3f cos 2^%.3f; cos(1) = %08x sin(1) = %08x" % (np.log2(es), np.log2(ec), bits(fma(horner(C, F([1])), F([1]), F(1))[0]), bits(horner(S, F([1]))[0])))
