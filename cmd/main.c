/* SPDX-License-Identifier: Apache-2.0 */
/* tutti: dispatches to one file per command. */
#include <stdio.h>

int main(void)
{
    puts("tutti " TUTTI_VERSION);
    return 0;
}
