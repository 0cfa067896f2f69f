/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/files: what clients give for batches, and what batches leave for them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "serve/api/list.h"
#include "serve/http/json_out.h"
#include "serve/http/multipart.h"

enum { LIST_MAX = 10000 };

static void write_file(struct buf *out, const struct store_file *f)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"object\":\"file\",\"bytes\":%" PRId64 ",\"created_at\":%" PRId64
               ",\"filename\":",
               f->id, f->n_bytes, f->created_at);
    json_quote(out, str_from(f->name));
    buf_append_z(out, ",\"purpose\":");
    json_quote(out, str_from(f->purpose));
    buf_append_z(out, ",\"status\":\"processed\",\"status_details\":null}");
}

static void set_text(char *to, size_t size, struct str from)
{
    snprintf(to, size, "%.*s", (int)(from.n < size ? from.n : size - 1), from.p ? from.p : "");
}

/* purpose and file, from the form. */
static int read_form(struct call *c, struct store_file *f, struct str *data, struct fault *fault)
{
    struct multipart m;
    struct multipart_part p;
    struct err e = {0};
    int rc = multipart_begin(&m, http_header(c->r, "Content-Type"), http_body(c->r), &e);
    data->p = NULL;
    while (!rc && (rc = multipart_next(&m, &p, &e)) == 1) {
        rc = 0;
        if (p.name.p && str_eqz(p.name, "purpose")) set_text(f->purpose, sizeof f->purpose, p.data);
        if (!p.name.p || !str_eqz(p.name, "file")) continue;
        *data = p.data;
        set_text(f->name, sizeof f->name, p.filename.p && p.filename.n ? p.filename : STR("upload"));
    }
    if (rc) return fault_field(fault, NULL, "%s", e.msg);
    if (!data->p) return fault_field(fault, "file", "'file' is missing from the form");
    if (!f->purpose[0]) return fault_field(fault, "purpose", "'purpose' is missing from the form");
    if (data->n > BATCH_FILE_MAX)
        return fault_field(fault, "file", "'file': %zu bytes; the limit is %d", data->n, BATCH_FILE_MAX);
    return 0;
}

void api_file_create(struct http_request *r)
{
    struct call *c = call_of(r);
    struct store_file f = {.owner = c->pass.owner};
    struct fault fault;
    struct str data;
    struct err e = {0};
    struct buf b;
    int fd = -1;
    if (read_form(c, &f, &data, &fault)) {
        call_fail(c, &fault);
        return;
    }
    int rc = server_files(c->s, &e);
    if (!rc && !(rc = store_begin(&c->s->files, &f, &fd, &e))) {
        if ((rc = store_write(fd, data, &e))) store_drop(&c->s->files, &f, fd);
        else rc = store_commit(&c->s->files, &f, fd, &e);
    }
    if (rc) {
        call_error(c, NULL, &e);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    write_file(&b, &f);
    call_json(c, 200, &b);
}

static int write_listed(struct call *c, const char *id, struct buf *out)
{
    const char *purpose = http_query(c->r, "purpose");
    struct store_file f;
    int rc = store_find(&c->s->files, c->pass.owner, id, &f, NULL);
    if (rc) return rc;
    if (purpose && strcmp(f.purpose, purpose) != 0) return ERR_NOT_FOUND;
    write_file(out, &f);
    return 0;
}

void api_files(struct http_request *r)
{
    call_list(call_of(r), "file-", LIST_MAX, LIST_MAX, write_listed);
}

static int find(struct call *c, struct store_file *f)
{
    struct err e = {0};
    int rc = server_files(c->s, &e);
    if (!rc) rc = store_find(&c->s->files, c->pass.owner, http_arg(c->r), f, &e);
    if (rc) call_error(c, "id", &e);
    return rc;
}

void api_file(struct http_request *r)
{
    struct call *c = call_of(r);
    struct store_file f;
    struct buf b;
    if (find(c, &f)) return;
    buf_init(&b, API_REPLY_MAX);
    write_file(&b, &f);
    call_json(c, 200, &b);
}

void api_file_content(struct http_request *r)
{
    struct call *c = call_of(r);
    struct store_file f;
    struct str data;
    struct err e = {0};
    struct buf b;
    if (find(c, &f)) return;
    if (store_map(&c->s->files, &f, &data, &e)) {
        call_error(c, "id", &e);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    buf_append_str(&b, data);
    store_unmap(data);
    call_reply(c, 200, "application/octet-stream", &b);
}

void api_file_delete(struct http_request *r)
{
    struct call *c = call_of(r);
    struct store_file f;
    struct err e = {0};
    struct buf b;
    if (find(c, &f)) return;
    if (store_remove(&c->s->files, c->pass.owner, f.id, &e)) {
        call_error(c, "id", &e);
        return;
    }
    buf_init(&b, API_REPLY_MAX);
    buf_printf(&b, "{\"id\":\"%s\",\"object\":\"file\",\"deleted\":true}", f.id);
    call_json(c, 200, &b);
}
