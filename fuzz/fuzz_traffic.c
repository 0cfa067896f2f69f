/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a phrase that describes traffic. What is taken can be drawn; what is refused has a message of
 * one line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "plan/sim/traffic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct traffic t;
    struct err e = {0};
    double v;
    char *text = malloc(size + 1);
    must(text);
    memcpy(text, data, size);
    text[size] = 0;
    int rc = traffic_read(&t, text, &e);
    must(rc == 0 || (e.code == rc && *e.msg && !strchr(e.msg, '\n')));
    if (rc == 0) {
        struct sim_load l;
        must(t.rate > 0 && t.prompt >= 1 && t.answer >= 1 && traffic_longest(&t) >= 2);
        if (traffic_requests(&t, t.rate, 1, 1, 20, &l, &e) == 0) must(l.n == 20);
        sim_load_finish(&l);
    }
    if (traffic_seconds(&v, text, "ttft", &e) == 0) must(v > 0);
    if (traffic_watts(&v, text, "power", &e) == 0) must(v > 0);
    if (traffic_dollars(&v, text, "budget", &e) == 0) must(v > 0);
    free(text);
    return 0;
}
