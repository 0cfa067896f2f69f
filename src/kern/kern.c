/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernels were compiled in, which of them this machine can run, and the choice: see kern.h. */
#include "kern/kern.h"

#include "kern/attn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include "kern/amx_cpu.h"
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

extern const struct elem_kern elem_kern_ref, elem_kern_avx2, elem_kern_avx512, elem_kern_neon;
extern matmul_fn matmul_ref, matmul_avx2, matmul_avxvnni, matmul_avx512, matmul_amx;
extern matmul_fn matmul_neon, matmul_dotprod, matmul_i8mm;

#if defined(__x86_64__)
/* Feature bits count only if the operating system saves the registers (XCR0). */
static uint64_t xcr0(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a | (uint64_t)d << 32;
}

static bool has_avx2(void)
{
    uint32_t a, b, c, d, c1;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (c1 & bit_FMA) && (c1 & bit_F16C) && (b & bit_AVX2) && (xcr0() & 0x06) == 0x06;
}

static bool has_avxvnni(void)
{
    uint32_t a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static bool has_avx512(void)
{
    const uint32_t want = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    uint32_t a, b, c, d;
    if (!has_avx2() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (b & want) == want && (c & bit_AVX512VNNI) && (xcr0() & 0xe6) == 0xe6;
}

static bool has_amx(void)
{
    return has_avx512() && amx_cpu_usable(xcr0());
}
#elif defined(__aarch64__)
/* The bits of AT_HWCAP and AT_HWCAP2 are the kernel's ABI; older headers lack the second name. */
static bool has_dotprod(void)
{
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
}

static bool has_i8mm(void)
{
    return has_dotprod() && (getauxval(AT_HWCAP2) >> 13 & 1); /* HWCAP2_I8MM */
}
#endif

static bool always(void)
{
    return true;
}

static const struct {
    struct kern k;
    bool (*usable)(void);
} sets[] = {
    {{"ref", &elem_kern_ref, matmul_ref, &attn_kern_ref}, always},
#if defined(__x86_64__)
    {{"avx2", &elem_kern_avx2, matmul_avx2, &attn_kern_avx2}, has_avx2},
    {{"avxvnni", &elem_kern_avx2, matmul_avxvnni, &attn_kern_avx2}, has_avxvnni},
    {{"avx512", &elem_kern_avx512, matmul_avx512, &attn_kern_avx512}, has_avx512},
    {{"amx", &elem_kern_avx512, matmul_amx, &attn_kern_avx512}, has_amx},
#elif defined(__aarch64__)
    {{"neon", &elem_kern_neon, matmul_neon, &attn_kern_neon}, always},
    {{"dotprod", &elem_kern_neon, matmul_dotprod, &attn_kern_neon}, has_dotprod},
    {{"i8mm", &elem_kern_neon, matmul_i8mm, &attn_kern_neon}, has_i8mm},
#endif
};

int kern_count(void)
{
    return (int)(sizeof sets / sizeof *sets);
}

const struct kern *kern_at(int i)
{
    return &sets[i].k;
}

bool kern_usable(int i)
{
    return sets[i].usable();
}

const struct kern *kern_select(const char *isa, struct err *e)
{
    if (!isa) isa = getenv("TUTTI_ISA");
    char names[128] = "";
    for (int i = kern_count() - 1; i >= 0; i--) {
        if (!kern_usable(i)) continue;
        if (!isa || !*isa || strcmp(isa, sets[i].k.name) == 0) return &sets[i].k;
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, " %s", sets[i].k.name);
    }
    err(e, ERR_USAGE, "instruction set '%s' is unknown or this machine lacks it; it has:%s", isa ? isa : "", names);
    return NULL;
}
