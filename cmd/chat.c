/* SPDX-License-Identifier: Apache-2.0 */
/* See chat.h. */
#include "chat.h"

int chat_run(struct talk *t)
{
    return args_fault(t->doc, "chat comes soon; give a PROMPT");
}
