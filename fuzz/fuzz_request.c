/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of request bodies: the first byte chooses chat or completions, the rest is the body. What is
 * refused must be refused by a 4xx that says why; what is accepted must be within the ranges that are
 * promised below, and its messages must come out as templates expect them.
 */
#include <string.h>
#include "serve/ask/ask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fault(const struct fault *f)
{
    must(f->status >= 400 && f->status < 500 && f->type && f->message[0]);
}

static void check_messages(const struct ask *a)
{
    struct fault f;
    json_t *list, *msg;
    size_t i;
    if (ask_messages(a->messages, &list, &f)) {
        check_fault(&f);
        return;
    }
    must(json_array_size(list) == json_array_size(a->messages));
    json_array_foreach(list, i, msg)
        must(json_is_string(json_object_get(msg, "role")) && json_is_string(json_object_get(msg, "content")));
    json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ask a;
    struct fault f;
    if (size == 0) return 0;
    enum ask_api api = data[0] & 1 ? ASK_CHAT : ASK_COMPLETION;
    if (ask_read(&a, (struct str){(const char *)data + 1, size - 1}, api, &f)) {
        check_fault(&f);
        must(!a.body && !a.bias);
        return 0;
    }
    must(a.n >= 1 && a.n <= ASK_CHOICES_MAX && a.n_top >= -1 && a.n_top <= ASK_TOP_MAX && a.max_tokens >= -1);
    must(sampler_params_check(&a.sample, NULL) == 0);
    must(a.n_stop <= STOP_STRINGS_MAX && a.n_stop_ids <= ASK_STOP_IDS_MAX);
    if (api == ASK_CHAT) check_messages(&a);
    ask_finish(&a);
    return 0;
}
