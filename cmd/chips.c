/* SPDX-License-Identifier: Apache-2.0 */
/* tutti chips: the chips that are known, and every figure of one with unit, evidence class and source. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "chip/chip.h"
#include "chip/lpu/isa.h"
#include "cmd.h"
#include "common.h"

static const struct args_doc doc = {
    "chips", "[NAME]", "list chips, or the datasheet of one: figures, units, evidence, sources",
    "Without NAME: what can execute a program here. With the name of a simulated chip: every figure of its datasheet. Class 'published' is "
    "read in the source named; 'assumed' is a choice of this project where nothing is public; 'measured' is measured by this project."};

static void print_list(void)
{
    for (int i = 0; chip_at(i); i++) printf("%-6s %s\n", chip_at(i)->name, chip_at(i)->summary);
}

static void print_sheet(const struct sheet *s)
{
    for (int i = 0; i < s->n_about; i++) printf("%-8s %s\n", s->about[i].key, s->about[i].text);
    for (int i = 0; i < s->n; i++) {
        const struct sheet_figure *f = &s->figures[i];
        const struct sheet_item *it = &s->items[i];
        char name[64];
        if (i == 0 || strcmp(f->section, s->figures[i - 1].section) != 0) putchar('\n');
        snprintf(name, sizeof name, "%s.%s", f->section, f->key);
        printf("%-28s %12.10g %-8s %-9s  %s\n", name, it->value, f->unit, evidence_name[it->evidence], it->source);
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
        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:s, s:s, s:s}", "section", f->section, "figure", f->key, "value", it->value,
                                              "unit", f->unit, "evidence", evidence_name[it->evidence], "source", it->source));
    }
    json_object_set_new(root, "figures", list);
    return root;
}

int cmd_chips(int argc, char **argv)
{
    bool json = false, instructions = false;
    const char *path = NULL;
    int status;
    const struct arg table[] = {
        {"json", 0, ARG_FLAG, &json, NULL, "print JSON", 0, 0},
        {"sheet", 0, ARG_STR, &path, "FILE", "read this datasheet instead of the one built in", 0, 0},
        {"instructions", 0, ARG_FLAG, &instructions, NULL, "print its instructions as a table instead", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at > 1) return args_fault(&doc, "takes at most one NAME; see tutti chips --help");
    if (at == argc && !json) {
        print_list();
        return 0;
    }
    json_t *root = NULL;
    if (at == argc) {
        root = json_array();
        for (int i = 0; chip_at(i); i++) json_array_append_new(root, json_pack("{s:s, s:s}", "name", chip_at(i)->name, "summary", chip_at(i)->summary));
    } else {
        struct lpu_arch a;
        struct err e = {0};
        int i = 0;
        while (chip_at(i) && strcmp(chip_at(i)->name, argv[at]) != 0) i++;
        if (!chip_at(i)) return args_fault(&doc, "chip '%s' is unknown; 'tutti chips' lists the known ones", argv[at]);
        if (strcmp(argv[at], "lpu") != 0) {
            printf("%s: %s; real, so it has no datasheet here\n", chip_at(i)->name, chip_at(i)->summary);
            return 0;
        }
        if (lpu_arch_open(&a, path, &e)) return common_fail(&doc, &e);
        if (instructions)
            print_instructions(&a);
        else if (json)
            root = sheet_json(&a.sheet);
        else
            print_sheet(&a.sheet);
        lpu_arch_close(&a);
    }
    if (root) {
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
    }
    return 0;
}
