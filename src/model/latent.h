/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latent: multi-head latent attention (DeepSeek V2 and V3). Keys and values of all heads are linear maps of
 * one vector c per token, of `rank` dimensions, and of a key r that rotates and that all heads share. Cached
 * are c and r, and nothing else:
 *
 *   q = nope | rope of each head, from x or a vector of q_rank
 *   c = norm(first rank of kv_a x), r = rotated(rest)
 *   q' = Wk^T q_nope                        per head, rank dimensions (Wk c would be the head's key)
 *   o' = softmax(scale (q' c + rot(q_rope) r)) c
 *   o = Wv o'                               per head
 *
 * Files have Wk^T and Wv (attn_k_b, attn_v_b), or older ones rows of both head by head (attn_kv_b): then Wk
 * is turned at load.
 */
#ifndef TUTTI_MODEL_LATENT_H
#define TUTTI_MODEL_LATENT_H

#include "model/build.h"

/* a: the normed input. Returns the heads' outputs, side by side. */
int latent_attention(struct builder *b, const struct latent *l, int a);

#endif
