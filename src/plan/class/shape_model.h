/* SPDX-License-Identifier: Apache-2.0 */
/* shape_model: the shape of a model file, and the width of its numbers as the contract computes with them. */
#ifndef TUTTI_PLAN_CLASS_SHAPE_MODEL_H
#define TUTTI_PLAN_CLASS_SHAPE_MODEL_H

#include "model/model.h"
#include "plan/class/device.h"

void shape_from_model(struct shape *s, struct device_precision *p, const struct model *m);
/* path: a GGUF file or a pulled name. */
int shape_of_model(struct shape *s, struct device_precision *p, const char *path, struct err *e);

#endif
