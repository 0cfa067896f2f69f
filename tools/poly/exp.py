# SPDX-License-Identifier: Apache-2.0
"""exp(r) on |r| <= ln2/2: 1 + (r + r^2 (c0 + c1 r + ...)). Usage: exp.py [degree]

r = a + b with a = x - n ln2_hi exact and b = -n ln2_lo small; what is summed last is a + (b + r^2 (...)),
then 1, so that neither the rounding of r nor that of the polynomial weighs much. With 1 + r (1 + r (...)) the rounding of the inner bracket breaks
monotonicity at 2921 of the 2^32 inputs (seen by tests/kern/mathf_all.c)."""
import sys
import numpy as np
import mpmath as mp
from fit import *

deg = int(sys.argv[1]) if len(sys.argv) > 1 else 6
ln2 = mp.log(2)
lim = ln2 / 2 * (1 + mp.mpf(2) ** -14)
hi = f32(ln2)
lo = f32(ln2 - mp.mpf(float(hi)))
log2e = f32(1 / ln2)
print("log2e %08x ln2hi %08x ln2lo %08x" % (bits(log2e), bits(hi), bits(lo)))

powers = list(range(deg - 1))
cs = round32(lambda r: (mp.e ** r - 1 - r) / r ** 2 if r else mp.mpf(1) / 2, lambda r: r * r * mp.e ** -r, powers, -lim, lim)

rng = np.random.default_rng(1)
x = np.concatenate([rng.uniform(-87, 0, 150000), rng.uniform(0, 88, 100000), rng.uniform(-1, 1, 150000),
                    rng.uniform(-.36, -.33, 50000), rng.uniform(-8, 8, 100000)]).astype(F)
want = np.exp(x.astype(np.longdouble))


def run(cs):
    M = F(12582912)
    n = (x * log2e + M) - M
    a = fma(n, -hi, x)
    b = n * -lo
    r = a + b
    p = (a + fma(r * r, horner(cs, r), b)) + F(1)
    return np.ldexp(p, n.astype(np.int32))


def measure(cs):
    u = ulps(run(cs), want)
    return float(u.max())


cs = polish(cs, measure)
show("EXP_C", cs, "exp: coefficient of r^(2+%d)")
u = ulps(run(cs), want)
print(u.max(), x[u.argmax()])
