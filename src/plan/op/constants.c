/* SPDX-License-Identifier: Apache-2.0 */
/* See constants.h. */
#include "plan/op/constants.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

__asm__(
    ".section .rodata\n.hidden constants_text\n.global constants_text\nconstants_text:\n.incbin \"data/fit/gpu.json\"\n"
    ".byte 0\n.previous\n");
extern const char constants_text[];

static int read_value(struct constants_set *s, int i, const json_t *all, struct err *e)
{
    const struct op_constant *k = &s->op->constants[i];
    const json_t *v = json_object_get(all, k->name);
    if (!json_is_number(v)) return err(e, ERR_FORMAT, "constant '%s' is missing, or no number", k->name);
    s->value[i] = json_number_value(v);
    if (!(s->value[i] >= k->lo && s->value[i] <= k->hi))
        return err(e, ERR_FORMAT, "%s is %g, outside %g..%g %s", k->name, s->value[i], k->lo, k->hi, k->unit);
    return 0;
}

static int read_set(struct constants_set *s, const json_t *item, struct err *e)
{
    const char *op = json_string_value(json_object_get(item, "op"));
    const json_t *words = json_object_get(item, "words"), *all = json_object_get(item, "constants");
    int rc = 0;
    s->chip = json_string_value(json_object_get(item, "chip"));
    s->framework = json_string_value(json_object_get(item, "framework"));
    if (!op || !s->chip || !s->framework) return err(e, ERR_FORMAT, "'op', 'chip' and 'framework' must be texts");
    for (int i = 0; op_all[i]; i++)
        if (!strcmp(op, op_all[i]->name)) s->op = op_all[i];
    if (!s->op) return err(e, ERR_FORMAT, "no operator '%s'", op);
    for (size_t i = 0; i < OP_GROUP_MAX && s->op->group[i]; i++)
        if (!(s->words[i] = json_string_value(json_array_get(words, i))))
            return err(e, ERR_FORMAT, "'words' lacks the text for '%s'", s->op->group[i]);
    for (int i = 0; !rc && i < s->op->n_constants; i++) rc = read_value(s, i, all, e);
    if (!rc && json_object_size(all) != (size_t)s->op->n_constants)
        rc = err(e, ERR_FORMAT, "%zu constants, but '%s' has %d", json_object_size(all), op, s->op->n_constants);
    return rc;
}

int constants_open(struct constants *c, const char *path, struct err *e)
{
    json_error_t why;
    const char *name = path ? path : "data/fit/gpu.json";
    int rc = 0;
    *c = (struct constants){0};
    c->text = path ? json_load_file(path, JSON_REJECT_DUPLICATES, &why)
                   : json_loads(constants_text, JSON_REJECT_DUPLICATES, &why);
    if (!c->text) return err(e, ERR_FORMAT, "%s:%d: %s", name, why.line, why.text);
    size_t n = json_array_size(c->text);
    if (!json_is_array(c->text) || n > CONSTANTS_SETS_MAX)
        rc = err(e, ERR_FORMAT, "%s: expected a list of at most %d sets", name, CONSTANTS_SETS_MAX);
    else if (!(c->sets = calloc(n + 1, sizeof *c->sets)))
        rc = err(e, ERR_MEMORY, "out of memory");
    for (; !rc && (size_t)c->n < n; c->n++)
        if ((rc = read_set(&c->sets[c->n], json_array_get(c->text, (size_t)c->n), e)))
            err_prefix(e, "%s: set %d: ", name, c->n + 1);
    if (rc) constants_close(c);
    return rc;
}

void constants_close(struct constants *c)
{
    free(c->sets);
    json_decref(c->text);
    *c = (struct constants){0};
}

/* How far the word of a set is from the one that is asked for: the same, a type that it is like, or the like
 * of no type. */
enum { SAME, LIKE, LIKE_TOO, ANY, FAR = 100, FARTHEST = 6, FAMILY = 5 };
static int rank_of(const char *word, const char *asked)
{
    const struct op_type *t = op_type(asked);
    if (!strcmp(word, asked) || (t && !strcmp(word, t->name))) return SAME;
    /* "power_law_1.01" is near power_law_1.2 */
    if (!t && !op_type(word)) return strncmp(word, asked, FAMILY) ? ANY : LIKE_TOO;
    if (!t) return FAR;
    for (int i = 0; i < 2; i++)
        if (t->like[i] && !strcmp(t->like[i], word)) return LIKE + i;
    return FAR;
}

static bool fits(const struct constants_set *s, const struct op_model *op, const char *framework,
                 const char *const *words, int rank)
{
    if (s->op != op || (framework && strcmp(s->framework, framework))) return false;
    for (int i = 0; i < OP_GROUP_MAX && op->group[i]; i++) rank -= rank_of(s->words[i], words[i]);
    return rank >= 0;
}

bool constants_of_type(const struct constants_set *s, const char *const *words)
{
    return fits(s, s->op, NULL, words, SAME);
}

bool constants_of(const struct constants_set *s, const struct gpu *g, const char *const *words)
{
    return figures_has_name(&g->aliases, s->chip) && constants_of_type(s, words);
}

/* nearest: no set whose words are nearer. */
static const struct constants_set *find(const struct constants *c, const struct op_model *op,
                                        const struct gpu *g, const char *framework, const char *const *words,
                                        int nearest)
{
    for (int any = 0; any < 2 * (FARTHEST + 1); any++)
        for (int at = -1; at < g->like.n; at++)
            for (int i = 0; i < c->n; i++)
                if (fits(&c->sets[i], op, any & 1 ? NULL : framework, words, any / 2) &&
                    (nearest == SAME || !fits(&c->sets[i], op, NULL, words, nearest - 1)) &&
                    (at < 0 ? figures_has_name(&g->aliases, c->sets[i].chip)
                            : !strcmp(g->like.name[at], c->sets[i].chip)))
                    return &c->sets[i];
    return NULL;
}

const struct constants_set *constants_find(const struct constants *c, const struct op_model *op,
                                           const struct gpu *g, const char *framework,
                                           const char *const *words)
{
    return find(c, op, g, framework, words, SAME);
}

const struct constants_set *constants_find_other(const struct constants *c, const struct op_model *op,
                                                 const struct gpu *g, const char *framework,
                                                 const char *const *words)
{
    return find(c, op, g, framework, words, LIKE);
}

json_t *constants_json(const struct constants_set *s, long rows)
{
    json_t *words = json_array(), *all = json_object();
    bool bad = !words || !all;
    for (int i = 0; i < OP_GROUP_MAX && s->op->group[i]; i++)
        bad |= json_array_append_new(words, json_string(s->words[i]));
    for (int i = 0; i < s->op->n_constants; i++)
        bad |= json_object_set_new(all, s->op->constants[i].name, json_real(s->value[i]));
    json_t *j = json_pack("{s:s, s:s, s:s, s:o, s:I, s:o}", "op", s->op->name, "chip", s->chip, "framework",
                          s->framework, "words", words, "rows", (json_int_t)rows, "constants", all);
    if (j && bad) json_decref(j);
    return bad ? NULL : j;
}
