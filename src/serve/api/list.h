/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what the store holds, newest first, a page at a time: ?after=ID&limit=N, has_more. */
#ifndef TUTTI_SERVE_API_LIST_H
#define TUTTI_SERVE_API_LIST_H

#include "serve/api/api.h"

/* Writes the object of that id; not 0: it does not belong to this list. */
typedef int list_item(struct call *c, const char *id, struct buf *out);
/* The whole reply: objects whose ids begin with prefix. */
void call_list(struct call *c, const char *prefix, size_t limit_default, size_t limit_max, list_item *write);

#endif
