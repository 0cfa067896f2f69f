/* SPDX-License-Identifier: Apache-2.0 */
/* See api/list.h. */
#include "serve/api/list.h"

#include <stdlib.h>
#include <string.h>
#include "serve/http/json_out.h"

static int read_limit(const struct call *c, size_t max, size_t *limit, struct fault *f)
{
    const char *text = http_query(c->r, "limit");
    char *end = NULL;
    if (!text) return 0;
    long n = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1; /* LONG_MAX if it has too many digits */
    if (n < 0 || *end || (size_t)n > max)
        return fault_field(f, "limit", "'limit': expected a whole number in 0..%zu, got \"%.20s\"", max,
                           text);
    *limit = (size_t)n;
    return 0;
}

void call_list(struct call *c, const char *prefix, size_t limit_default, size_t limit_max, list_item *write)
{
    const char *after = http_query(c->r, "after");
    char (*ids)[STORE_ID_MAX] = NULL;
    const char *first = NULL, *last = NULL;
    size_t n = 0, shown = 0, limit = limit_default;
    bool more = false;
    struct err e = {0};
    struct fault f;
    struct buf b, item;
    if (read_limit(c, limit_max, &limit, &f)) {
        call_fail(c, &f);
        return;
    }
    if (server_files(c->s, &e) || store_list(&c->s->files, prefix, &ids, &n, &e)) {
        call_error(c, NULL, &e);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    buf_init(&item, API_REPLY_MAX);
    buf_append_z(&b, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n && !more; i++) {
        buf_clear(&item);
        if ((after && strcmp(ids[i], after) >= 0) || write(c, ids[i], &item)) continue;
        if ((more = shown == limit)) break;
        if (shown++) buf_append_char(&b, ',');
        else first = ids[i];
        last = ids[i];
        buf_append_str(&b, buf_str(&item));
        if (item.failed) b.failed = item.failed;
    }
    buf_finish(&item);
    buf_append_z(&b, "],\"first_id\":");
    json_quote_or_null(&b, first);
    buf_append_z(&b, ",\"last_id\":");
    json_quote_or_null(&b, last);
    buf_printf(&b, ",\"has_more\":%s}", more ? "true" : "false");
    free(ids);
    call_json(c, 200, &b);
}
