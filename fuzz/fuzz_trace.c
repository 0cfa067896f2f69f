/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a trace of requests from a stranger. What is taken can be simulated; what is refused has a
 * message of one line. */
#include <stdint.h>
#include <string.h>
#include "given_file.h"
#include "plan/sim/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_load l;
    struct err e = {0};
    char path[GIVEN_PATH];
    int fd = given_file(path, data, size);
    int rc = sim_load_read(&l, path, &e);
    close(fd);
    must(rc == 0 || (e.code == rc && *e.msg && !strchr(e.msg, '\n') && !l.requests));
    for (int i = 0; i < l.n; i++) {
        const struct sim_request *r = &l.requests[i];
        must(r->prompt >= 1 && r->answer >= 1 && r->prefix >= 0 && r->prefix <= r->prompt && r->group <= l.n);
        must(r->arrive_ns >= (i ? l.requests[i - 1].arrive_ns : 0));
    }
    sim_load_finish(&l);
    return 0;
}
