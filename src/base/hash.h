/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash of a byte string for tables whose keys come from outside: SipHash-2-4 under a key that is drawn once
 * per process, so that nobody can prepare a file whose names all collide. The value differs from run to run
 * and must never reach a result.
 */
#ifndef TUTTI_BASE_HASH_H
#define TUTTI_BASE_HASH_H

#include <stdint.h>
#include "base/str.h"

uint64_t hash_str(struct str s);

#endif
