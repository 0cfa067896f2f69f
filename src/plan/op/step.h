/* SPDX-License-Identifier: Apache-2.0 */
/* op_step: what serving software on GPUs adds to a step; fitted on results of whole models (published.h). */
#ifndef TUTTI_PLAN_OP_STEP_H
#define TUTTI_PLAN_OP_STEP_H

#include "plan/op/op.h"

enum { STEP_HOST, STEP_SEQUENCE, STEP_KERNEL, STEP_SYNC, STEP_CONSTANTS }; /* of op_step */

#endif
