/* SPDX-License-Identifier: Apache-2.0 */
/* tutti chips: the chips that are known, and every figure of one with unit, evidence class and source. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "chip/chip.h"
#include "chip/lpu/isa.h"
#include "cmd.h"
#include "common.h"
#include "plan/class/device.h"

static const struct args_doc doc = {
    "chips", "[NAME]", "list chips, or the datasheet of one: figures, units, evidence, sources",
    "Without NAME: what can execute a program here, and the GPUs whose times the planner knows. With the name of a simulated chip: every figure of its datasheet. Class 'published' is "
    "read in the source named; 'assumed' is a choice of this project where nothing is public; 'measured' is measured by this project."};

static bool executes(const char *name)
{
    int i = 0;
    while (chip_at(i) && strcmp(chip_at(i)->name, name) != 0) i++;
    return chip_at(i) != NULL;
}

/* Sheet i if no chip of this program executes it: the planner knows its times only. NULL after the last. */
static const char *timed_only(int *i)
{
    while (sheet_chip(*i) && executes(sheet_chip(*i))) ++*i;
    return sheet_chip(*i);
}

static void print_list(void)
{
    struct figures f;
    for (int i = 0; chip_at(i); i++) printf("%-10s %s\n", chip_at(i)->name, chip_at(i)->summary);
    puts("\nTimes only (tutti sim, tutti validate):");
    for (int i = 0; timed_only(&i); i++) {
        if (figures_open(&f, sheet_chip(i), NULL, NULL)) continue;
        printf("%-10s %-9s %s\n", f.chip, sheet_about(&f.sheet, "class"), sheet_about(&f.sheet, "name"));
        figures_close(&f);
    }
}

static void print_sheet(const struct sheet *s)
{
    for (int i = 0; i < s->n_about; i++) printf("%-8s %s\n", s->about[i].key, s->about[i].text);
    for (int i = 0; i < s->n; i++) {
        const struct sheet_figure *f = &s->figures[i];
        const struct sheet_item *it = &s->items[i];
        char name[64], value[32] = "n/p";
        if (!it->source) continue; /* not a figure of this chip */
        if (i == 0 || strcmp(f->section, s->figures[i - 1].section) != 0) putchar('\n');
        snprintf(name, sizeof name, "%s.%s", f->section, f->key);
        bool known = !isnan(it->value);
        if (known) snprintf(value, sizeof value, "%.10g", it->value);
        printf("%-28s %12s %-8s %-9s  %s", name, value, f->unit, known ? evidence_name[it->evidence] : "-", it->source);
        if (!known) printf("; give it by --assume %s=VALUE", name);
        putchar('\n');
    }
}

/* The table of doc/lpu.md. */
static void print_instructions(const struct lpu_arch *a)
{
    static const char *const unit[] = {"ICU", "MEM", "MEM", "MXM", "MXM", "MXM", "SXM", "VXM", "VXM", "VXM", "VXM"};
    printf("| instruction | unit | delay | evidence | what |\n| --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < LPU_OPS; i++) {
        const struct lpu_op_info *o = &lpu_op_info[i];
        char delay[16] = "";
        if (o->delay >= 0) snprintf(delay, sizeof delay, "%d", a->d[o->delay]);
        printf("| `%s` | %s | %s | %s | %s |\n", o->mnemonic, unit[o->unit], delay, o->evidence, o->what);
    }
}

static json_t *sheet_json(const struct sheet *s)
{
    json_t *root = json_object(), *list = json_array();
    for (int i = 0; i < s->n_about; i++) json_object_set_new(root, s->about[i].key, json_string(s->about[i].text));
    for (int i = 0; i < s->n; i++) {
        const struct sheet_figure *f = &s->figures[i];
        const struct sheet_item *it = &s->items[i];
        if (!it->source) continue;
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:o, s:s, s:o, s:s}", "section", f->section, "figure", f->key, "value",
                      isnan(it->value) ? json_null() : json_real(it->value), "unit", f->unit, "evidence",
                      isnan(it->value) ? json_null() : json_string(evidence_name[it->evidence]), "source",
                      it->source));
    }
    json_object_set_new(root, "figures", list);
    return root;
}

static json_t *list_json(void)
{
    struct figures f;
    json_t *root = json_array();
    for (int i = 0; chip_at(i); i++)
        json_array_append_new(root, json_pack("{s:s, s:s, s:b}", "name", chip_at(i)->name, "summary",
                                              chip_at(i)->summary, "executes", 1));
    for (int i = 0; timed_only(&i); i++) {
        if (figures_open(&f, sheet_chip(i), NULL, NULL)) continue;
        json_array_append_new(root, json_pack("{s:s, s:s, s:s, s:b}", "name", f.chip, "summary",
                                              sheet_about(&f.sheet, "name"), "class",
                                              sheet_about(&f.sheet, "class"), "executes", 0));
        figures_close(&f);
    }
    return root;
}

static int show_lpu(const char *path, bool instructions, json_t **json, struct err *e)
{
    struct lpu_arch a;
    int rc = lpu_arch_open(&a, path, e);
    if (rc) return rc;
    if (instructions) print_instructions(&a);
    else if (json) *json = sheet_json(&a.sheet);
    else print_sheet(&a.sheet);
    lpu_arch_close(&a);
    return 0;
}

static int show_sheet(const char *name, json_t **json, struct err *e)
{
    struct figures f;
    int rc = figures_open(&f, name, NULL, e);
    if (rc) return rc;
    if (json) *json = sheet_json(&f.sheet);
    else print_sheet(&f.sheet);
    figures_close(&f);
    return 0;
}

/* json: where to put the sheet instead of printing it, or NULL. */
static int show(const char *name, const char *path, bool instructions, json_t **json, struct err *e)
{
    if (strcmp(name, "lpu") == 0) return show_lpu(path, instructions, json, e);
    if (executes(name)) {
        printf("%s executes programs here; it is no simulated chip and has no datasheet\n", name);
        return 0;
    }
    return show_sheet(path ? path : name, json, e);
}

int cmd_chips(int argc, char **argv)
{
    bool json = false, instructions = false;
    const char *path = NULL;
    struct err e = {0};
    json_t *root = NULL;
    int status;
    const struct arg table[] = {
        {"json", 0, ARG_FLAG, &json, NULL, "print JSON", 0, 0},
        {"sheet", 0, ARG_STR, &path, "FILE", "read this datasheet instead of the one built in", 0, 0},
        {"instructions", 0, ARG_FLAG, &instructions, NULL, "print its instructions as a table instead", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at > 1) return args_fault(&doc, "takes at most one NAME; see tutti chips --help");
    if (at < argc) {
        if (show(argv[at], path, instructions, json ? &root : NULL, &e)) return common_fail(&doc, &e);
    } else if (json) {
        root = list_json();
    } else {
        print_list();
    }
    if (root) {
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
    }
    return 0;
}
