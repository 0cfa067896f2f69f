# SPDX-License-Identifier: Apache-2.0
"""Minimax polynomials with fp32 coefficients (what src/kern/arith.def holds).

remez()   weighted minimax fit by exchange, on a dense Chebyshev grid, solved in mpmath.
round32() turns a fit into fp32 coefficients one by one, lowest power first: each is rounded, and the
          rest is fitted again to what the rounding left over.
polish()  hill climb over the last bits with the function's own fp32 operation sequence; the measure
          is the largest error in ulp over a sample. The exhaustive figure comes from tests/kern.

Needs numpy and mpmath.
"""
import numpy as np
import mpmath as mp

mp.mp.prec = 200
F = np.float32


def bits(x):
    return int(np.float32(x).view(np.uint32))


def from_bits(u):
    return np.uint32(u).view(np.float32)


def f32(x):
    """Nearest fp32 of an mpmath number (through double: good enough for starting values; constants
    that must be correctly rounded are checked in the unit tests)."""
    return np.float32(float(x))


def fma(a, b, c):
    """fp32 fma in numpy. The product is exact in double; the sum is rounded twice, which differs from
    one rounding about once in 2^29 cases: fine for a search, never used for a definition."""
    return (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)


def horner(cs, x):
    """cs lowest power first."""
    h = np.broadcast_to(F(cs[-1]), x.shape)
    for c in cs[-2::-1]:
        h = fma(h, x, F(c))
    return h


def ulps(got, want):
    """|got - want| in units of the last fp32 place of want; double is precise enough (2^-29 ulp)."""
    want = np.asarray(want, dtype=np.float64)
    one = ((want.view(np.int64) >> 52 & 2047) - 23 << 52).view(np.float64)
    return np.abs(got.astype(np.float64) - want) / one


def cheb(a, b, n):
    k = np.arange(n)
    return [(mp.mpf(a) + b) / 2 + (mp.mpf(b) - a) / 2 * mp.cos(mp.pi * (2 * mp.mpf(int(i)) + 1) / (2 * n)) for i in k][::-1]


def remez(target, weight, powers, a, b, n=600, rounds=40):
    """Coefficients c with sum c_k x^powers[k] ~ target(x), minimising max weight * |error|."""
    xs = [x for x in cheb(a, b, n)]
    f = [mp.mpf(target(x)) for x in xs]
    w = [mp.mpf(weight(x)) for x in xs]
    m = len(powers)
    ref = [int((i + 0.5) * n / (m + 1)) for i in range(m + 1)]
    X = np.array([[float(x) ** p for p in powers] for x in xs])
    wf = np.array([float(v) for v in w])
    c = None
    for _ in range(rounds):
        A = mp.matrix(m + 1, m + 1)
        y = mp.matrix(m + 1, 1)
        for i, r in enumerate(ref):
            for k, p in enumerate(powers):
                A[i, k] = xs[r] ** p
            A[i, m] = (-1) ** i / (w[r] if w[r] != 0 else mp.mpf(10) ** -30)
            y[i] = f[r]
        s = mp.lu_solve(A, y)
        c = [s[k] for k in range(m)]
        err = np.array([float(w[i] * (f[i] - sum(c[k] * xs[i] ** powers[k] for k in range(m)))) for i in range(n)])
        lev = abs(float(s[m]))
        # local extrema of alternating sign, the m+1 consecutive ones that hold the largest
        ext = []
        for i in range(n):
            if err[i] == 0:
                continue
            if ext and (err[ext[-1]] > 0) == (err[i] > 0):
                if abs(err[i]) > abs(err[ext[-1]]):
                    ext[-1] = i
            else:
                ext.append(i)
        while len(ext) > m + 1:
            ext = ext[1:] if abs(err[ext[0]]) < abs(err[ext[-1]]) else ext[:-1]
        if len(ext) < m + 1:
            break
        done = ext == ref or np.max(np.abs(err)) < lev * 1.0005
        ref = ext
        if done:
            break
    return c, float(np.max(np.abs(err)))


def round32(target, weight, powers, a, b, fixed=()):
    """fp32 coefficients for powers; fixed gives leading ones that are already decided."""
    done = [F(v) for v in fixed]
    while True:
        k = len(done)

        def rest(x):
            return target(x) - sum(mp.mpf(float(v)) * x ** powers[i] for i, v in enumerate(done))
        if k == len(powers):
            break
        c, e = remez(rest, weight, powers[k:], a, b, n=300)
        if k == len(fixed):
            print("  minimax error before rounding: 2^%.2f" % np.log2(e))
        done.append(f32(c[0]))
    return done


def polish(cs, measure, rounds=6, widths=(1, -1, 2, -2, 3, -3, 5, -5, 8, -8, 13, -13, 30, -30), frozen=()):
    """measure(cs) -> figure to minimise."""
    cs = [F(c) for c in cs]
    best = measure(cs)
    print("  start %s" % (best,))
    for r in range(rounds):
        better = False
        for k in range(len(cs)):
            if k in frozen:
                continue
            for d in widths:
                t = list(cs)
                t[k] = from_bits(bits(cs[k]) + d)
                v = measure(t)
                if v < best:
                    best, cs, better = v, t, True
        if not better:
            # pairs of neighbours move together
            for k in range(len(cs) - 1):
                if k in frozen or k + 1 in frozen:
                    continue
                for d in widths[:6]:
                    for g in widths:
                        t = list(cs)
                        t[k] = from_bits(bits(cs[k]) + d)
                        t[k + 1] = from_bits(bits(cs[k + 1]) + g)
                        v = measure(t)
                        if v < best:
                            best, cs, better = v, t, True
        print("  round %d: %s" % (r, best))
        if not better:
            break
    return cs


def show(name, cs, what):
    for i, c in enumerate(cs):
        print('ARITH_CONST(%s%d, 0x%08x, "%s") /* %s */' % (name, i, bits(c), what % i if '%' in what else what, float(c).hex()))
