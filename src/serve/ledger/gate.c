/* SPDX-License-Identifier: Apache-2.0 */
/* See gate.h: the gate that is open to all. */
#include "serve/ledger/gate.h"

static int enter_freely(void *ud, const struct gate_request *q, struct gate_pass *p, struct gate_refusal *no)
{
    (void)ud, (void)q, (void)no;
    *p = (struct gate_pass){0};
    return 0;
}

static int admit_freely(void *ud, struct gate_pass *p, const struct gate_load *l, struct gate_refusal *no)
{
    (void)ud, (void)p, (void)l, (void)no;
    return 0;
}

static void leave_freely(void *ud, struct gate_pass *p, const struct gate_done *d)
{
    (void)ud, (void)p, (void)d;
}

const struct gate gate_open = {enter_freely, admit_freely, leave_freely, NULL};
