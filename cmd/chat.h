/* SPDX-License-Identifier: Apache-2.0 */
/* The chat of `tutti run MODEL`: lines from a terminal, with editing, history and /commands. */
#ifndef TUTTI_CMD_CHAT_H
#define TUTTI_CMD_CHAT_H

#include "answer.h"

int chat_run(struct talk *t); /* returns the exit status */

#endif
