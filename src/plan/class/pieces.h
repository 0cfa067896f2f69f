/* SPDX-License-Identifier: Apache-2.0 */
/* pieces: a step of a model piece by piece: what each kind of product, attention, experts, rows and messages
 * takes on one chip, and what it waits for. */
#ifndef TUTTI_PLAN_CLASS_PIECES_H
#define TUTTI_PLAN_CLASS_PIECES_H

#include "plan/class/device.h"

struct piece {
    char what[64];          /* "product 8 x 4096 x 14336": rows, outputs, inputs of one chip */
    enum device_part part;
    enum device_resource bound;
    double times;           /* of all layers */
    double seconds, floor;  /* one time */
    double ops, bytes;      /* of one chip, one time; bytes of weights and cache, or sent */
};

enum { PIECES_MAX = 32 };
/* A step of one token for `batch` sequences after `context` tokens; returns how many there are. */
int pieces_decode(struct piece out[PIECES_MAX], const struct device *d, const struct device_setup *s,
                  double batch, double context);

#endif
