/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page at /, its style and its script: the files of src/serve/page as they are, part of the program. They
 * hold nothing secret and need no key; what the page asks of the server does. The policy lets the browser
 * load nothing from anywhere else and run no script but this one.
 */
#include "serve/api/api.h"

#define PAGE_FILE(name, file)                                                                                          \
    __asm__(".section .rodata\n.hidden page_" #name "\n.global page_" #name "\npage_" #name ":\n.incbin \"src/serve/page/" file "\"\n"  \
            ".hidden page_" #name "_end\n.global page_" #name "_end\npage_" #name "_end:\n.byte 0\n.previous\n");      \
    extern const char page_##name[], page_##name##_end[];

PAGE_FILE(html, "index.html")
PAGE_FILE(css, "page.css")
PAGE_FILE(js, "page.js")

static void reply(struct http_request *r, const char *type, const char *begin, const char *end)
{
    struct buf b;
    buf_init(&b, API_REPLY_MAX);
    buf_append(&b, begin, (size_t)(end - begin));
    http_set_header(
        r, "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'");
    http_set_header(r, "X-Content-Type-Options", "nosniff");
    http_set_header(r, "Referrer-Policy", "no-referrer");
    http_set_header(r, "Cache-Control", "no-cache");
    call_reply(call_of(r), 200, type, &b);
}

void api_page(struct http_request *r)
{
    reply(r, "text/html; charset=utf-8", page_html, page_html_end);
}

void api_page_css(struct http_request *r)
{
    reply(r, "text/css; charset=utf-8", page_css, page_css_end);
}

void api_page_js(struct http_request *r)
{
    reply(r, "text/javascript; charset=utf-8", page_js, page_js_end);
}
