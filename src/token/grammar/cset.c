/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points: see cset.h. */
#include "token/grammar/cset.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "base/err.h"

static int compare_range(const void *a, const void *b)
{
    const struct crange *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo ? 1 : x->hi < y->hi ? -1 : x->hi > y->hi;
}

int cset_make(struct arena *a, const struct crange *r, int n, struct cset *out)
{
    struct crange *p = ARENA_NEW(a, struct crange, (size_t)n + 1);
    int k = 0;
    if (!p) return ERR_MEMORY;
    if (n) memcpy(p, r, (size_t)n * sizeof *p);
    qsort(p, (size_t)n, sizeof *p, compare_range);
    for (int i = 0; i < n; i++) {
        if (k && p[i].lo <= p[k - 1].hi + 1) {
            if (p[i].hi > p[k - 1].hi) p[k - 1].hi = p[i].hi;
        } else {
            p[k++] = p[i];
        }
    }
    *out = (struct cset){p, k};
    return 0;
}

int cset_not(struct arena *a, struct cset s, struct cset *out)
{
    struct crange *p = ARENA_NEW(a, struct crange, (size_t)s.n + 1);
    uint32_t at = 0;
    int k = 0;
    if (!p) return ERR_MEMORY;
    for (int i = 0; i < s.n; i++) {
        if (s.r[i].lo > at) p[k++] = (struct crange){at, s.r[i].lo - 1};
        at = s.r[i].hi + 1;
    }
    if (at <= CSET_LAST) p[k++] = (struct crange){at, CSET_LAST};
    *out = (struct cset){p, k};
    return 0;
}

int cset_or(struct arena *a, struct cset x, struct cset y, struct cset *out)
{
    struct crange *p = ARENA_NEW(a, struct crange, (size_t)x.n + (size_t)y.n + 1);
    if (!p) return ERR_MEMORY;
    if (x.n) memcpy(p, x.r, (size_t)x.n * sizeof *p);
    if (y.n) memcpy(p + x.n, y.r, (size_t)y.n * sizeof *p);
    return cset_make(a, p, x.n + y.n, out);
}

int cset_and(struct arena *a, struct cset x, struct cset y, struct cset *out)
{
    struct crange *p = ARENA_NEW(a, struct crange, (size_t)x.n + (size_t)y.n + 1);
    int k = 0;
    if (!p) return ERR_MEMORY;
    for (int i = 0, j = 0; i < x.n && j < y.n;) {
        uint32_t lo = x.r[i].lo > y.r[j].lo ? x.r[i].lo : y.r[j].lo, hi = x.r[i].hi < y.r[j].hi ? x.r[i].hi : y.r[j].hi;
        if (lo <= hi) p[k++] = (struct crange){lo, hi};
        if (x.r[i].hi < y.r[j].hi)
            i++;
        else
            j++;
    }
    *out = (struct cset){p, k};
    return 0;
}

bool cset_has(struct cset s, uint32_t cp)
{
    int lo = 0, hi = s.n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (s.r[mid].hi < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s.n && s.r[lo].lo <= cp;
}

bool cset_eq(struct cset x, struct cset y)
{
    return x.n == y.n && (x.n == 0 || memcmp(x.r, y.r, (size_t)x.n * sizeof *x.r) == 0);
}

int cset_category(struct arena *a, const char *name, size_t n, struct cset *out)
{
    static const char known[] =
        "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co ";
    char key[4] = {0};
    struct crange *list = NULL;
    int count = 0, cap = 0;
    if (n < 1 || n > 2) return ERR_NOT_FOUND;
    memcpy(key, name, n);
    key[n] = ' ';
    const char *at = strstr(known, key);
    if (!at || (at != known && at[-1] != ' ')) return ERR_NOT_FOUND;
    for (uint32_t cp = 0; cp <= CSET_LAST; cp++) {
        const char *c = utf8proc_category_string((utf8proc_int32_t)cp);
        if (c[0] != name[0] || (n == 2 && c[1] != name[1])) continue;
        if (count && list[count - 1].hi + 1 == cp) {
            list[count - 1].hi = cp;
            continue;
        }
        if (!(list = arena_grow(a, list, count, &cap, sizeof *list))) return ERR_MEMORY;
        list[count++] = (struct crange){cp, cp};
    }
    *out = (struct cset){list, count};
    return 0;
}
