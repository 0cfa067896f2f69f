/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: prices and assumptions of a stranger (tutti plan --price). What is taken gives costs that are
 * numbers; what is refused has a message of one line. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "given_file.h"
#include "plan/search/economy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct economy m;
    struct err e = {0};
    char path[GIVEN_PATH];
    int fd = given_file(path, data, size);
    int rc = economy_open(&m, path, &e);
    close(fd);
    if (rc) {
        must(e.code == rc && *e.msg && !strchr(e.msg, '\n'));
        return 0;
    }
    struct device d = {.buy = 30000, .rent = 2, .tdp = 700, .figures.chip = "h100"};
    for (int pay = ECONOMY_CHEAPER; pay <= ECONOMY_BUY; pay++) {
        struct economy_cost c = economy_of(&m, &d, 8, 500, (enum economy_pay)pay);
        must(isfinite(c.watts_limit) && c.watts_limit >= 0 && (isnan(c.hour) || c.hour >= 0) &&
             c.watts_mean >= 0 && c.power >= 0 && c.hosting >= 0);
    }
    must(strlen(m.date) < sizeof m.date);
    economy_close(&m);
    return 0;
}
