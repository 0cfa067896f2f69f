/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the datasheets in the tree: see sheet_data.c. */
#ifndef TUTTI_CHIP_SHEET_DATA_H
#define TUTTI_CHIP_SHEET_DATA_H

struct sheet_data {
    const char *chip, *text, *end;
};
extern const struct sheet_data sheet_data[]; /* ends with a NULL name */

#endif
