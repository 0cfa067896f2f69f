/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before a kernel by `make check-fma`: every fused multiply-add that the source asks for becomes something
 * that holds no product and no sum, so that one which is left in the assembly was made by the compiler (contract
 * section 3.14: a hash alone can miss it).
 */
#if defined(__x86_64__)
#include <immintrin.h>
#define _mm256_fmadd_ps(a, b, c) _mm256_max_ps(_mm256_min_ps(a, b), c)
#define _mm256_fnmadd_ps(a, b, c) _mm256_min_ps(_mm256_max_ps(a, b), c)
#define _mm512_fmadd_ps(a, b, c) _mm512_max_ps(_mm512_min_ps(a, b), c)
#define _mm512_fnmadd_ps(a, b, c) _mm512_min_ps(_mm512_max_ps(a, b), c)
#elif defined(__aarch64__)
#include <arm_neon.h>
#define vfmaq_f32(a, b, c) vmaxq_f32(vminq_f32(b, c), a)
#define vfmsq_f32(a, b, c) vminq_f32(vmaxq_f32(b, c), a)
#endif
#define __builtin_fmaf(a, b, c) fma32_soft(a, b, c)
