/* SPDX-License-Identifier: Apache-2.0 */
/* See figures.h. */
#include "plan/op/figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "chip/lpu/arch.h"
#include "plan/op/chip_name.h"

static const struct sheet_figure about[FIGURES] = {
#define FIGURE(section, key, unit, min, max, whole) {#section, #key, unit, min, max, whole, true},
#include "plan/op/figures.def"
};

const struct sheet_figure *figures_about(enum figure i)
{
    return &about[i];
}

static void take_names(struct figures_names *out, const char *list)
{
    for (const char *p = list + strspn(list, ", "); *p && out->n < FIGURES_NAMES_MAX; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ",");
        snprintf(out->name[out->n++], FIGURES_NAME_MAX, "%.*s", (int)n, p);
        p += n;
    }
}

bool figures_has_name(const struct figures_names *names, const char *name)
{
    for (int i = 0; i < names->n; i++)
        if (!strcmp(names->name[i], name)) return true;
    return false;
}

/* The sheet of the simulated LPU has figures of its own (chip/lpu/figures.def): what they mean here. */
static int open_lpu(struct figures *f, const char *path, struct err *e)
{
    static const struct {
        enum figure to;
        enum lpu_figure from;
        double factor;
    } same[] = {
        {FIGURE_chip_clock, LPU_chip_clock, 1},         {FIGURE_array_count, LPU_mxm_planes, 1},
        {FIGURE_array_rows, LPU_mxm_rows, 1},           {FIGURE_array_columns, LPU_mxm_columns, 1},
        {FIGURE_peak_int8, LPU_derived_int8_peak, 1},   {FIGURE_memory_size, LPU_derived_sram, 1048576e-9},
        {FIGURE_power_tdp, LPU_power_tdp, 1},           {FIGURE_power_static, LPU_energy_leakage, 1},
        {FIGURE_energy_sram, LPU_energy_sram_byte, 1.0 / 8}, {FIGURE_energy_link, LPU_energy_link_byte, 1.0 / 8},
        {FIGURE_energy_op8, LPU_energy_mac_int8, 0.5},  {FIGURE_link_hop, LPU_c2c_hop, 1},
    };
    struct lpu_arch a;
    int rc = lpu_arch_open(&a, path, e);
    if (rc) return rc;
    if ((rc = sheet_read(&f->sheet, a.sheet.file, STR(""), about, FIGURES, e))) {
        lpu_arch_close(&a);
        return rc;
    }
    struct sheet *s = &f->sheet;
#define TAKE(to, from, number) s->items[to] = a.sheet.items[from], s->items[to].value = (number)
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        TAKE(same[i].to, same[i].from, lpu_value(&a, same[i].from) * same[i].factor);
    double clock = 1e6 * lpu_value(&a, LPU_chip_clock);
    /* two byte planes, two passes */
    TAKE(FIGURE_peak_fp16, LPU_derived_int8_peak, lpu_value(&a, LPU_derived_int8_peak) / 4);
    TAKE(FIGURE_energy_op16, LPU_energy_mac_int8, 2 * lpu_value(&a, LPU_energy_mac_int8));
    TAKE(FIGURE_memory_rate, LPU_derived_sram_bandwidth, 1e-9 * clock * lpu_value(&a, LPU_derived_sram_bandwidth));
    TAKE(FIGURE_stream_rate, LPU_derived_stream_bandwidth, 1e-9 * clock * lpu_value(&a, LPU_derived_stream_bandwidth));
    TAKE(FIGURE_link_node, LPU_c2c_node, lpu_value(&a, LPU_c2c_node));
    TAKE(FIGURE_link_rate, LPU_c2c_link_rate,
         lpu_value(&a, LPU_c2c_link_rate) * (lpu_value(&a, LPU_c2c_node) - 1)); /* a link to each */
#undef TAKE
    for (int i = 0; i < FIGURES && !rc; i++)
        if (s->items[i].source &&
            !(s->items[i].source = arena_strdup(&s->arena, str_from(s->items[i].source))))
            rc = ERR_MEMORY;
    for (int i = 0; i < a.sheet.n_about && !rc; i++) {
        s->about[i].key = arena_strdup(&s->arena, str_from(a.sheet.about[i].key));
        s->about[i].text = arena_strdup(&s->arena, str_from(a.sheet.about[i].text));
        if (!s->about[i].key || !s->about[i].text) rc = ERR_MEMORY;
        s->n_about = i + 1;
    }
    lpu_arch_close(&a);
    if (rc) sheet_close(s);
    return rc ? err(e, rc, "out of memory") : 0;
}

static int open_sheet(struct figures *f, const char *chip, const char *path, struct err *e)
{
    struct sheet head;
    int rc = sheet_open(&head, chip, path, NULL, 0, e);
    if (rc) return rc;
    bool lpu = *sheet_about(&head, "figures");
    sheet_close(&head);
    if ((rc = lpu ? open_lpu(f, path, e) : sheet_open(&f->sheet, chip, path, about, FIGURES, e))) return rc;
    snprintf(f->chip, sizeof f->chip, "%s", chip);
    take_names(&f->aliases, sheet_about(&f->sheet, "aliases"));
    take_names(&f->like, sheet_about(&f->sheet, "like"));
    return 0;
}

static int open_path(struct figures *f, const char *path, struct err *e)
{
    char chip[FIGURES_NAME_MAX];
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    snprintf(chip, sizeof chip, "%.*s", (int)strcspn(base, "."), base);
    return open_sheet(f, chip, path, e);
}

/* Makers sell one chip with memories of several sizes: one that is named must be about the sheet's. */
static int check_memory(struct figures *f, const char *name, struct err *e)
{
    double gb = chip_name_gb(name), has = figures_value(f, FIGURE_memory_size);
    if (gb <= 0 || isnan(has) || fabs(gb / has - 1) < 0.15) return 0;
    return err(e, ERR_NOT_FOUND, "no chip '%s'; '%s' has %g GB of memory, another size is another chip", name,
               f->chip, has);
}

static int open_known(struct figures *f, const char *name, struct err *e)
{
    const char *spelt = NULL; /* a chip that this may be another spelling of */
    char known[512] = "";
    for (int i = 0; sheet_chip(i); i++) {
        struct sheet head;
        struct figures_names aliases = {.n = 0};
        int rc = sheet_open(&head, sheet_chip(i), NULL, NULL, 0, e);
        if (rc) return rc;
        take_names(&aliases, sheet_about(&head, "aliases"));
        sheet_close(&head);
        if (!strcmp(sheet_chip(i), name) || figures_has_name(&aliases, name))
            return open_sheet(f, sheet_chip(i), NULL, e);
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", sheet_chip(i));
        bool same = chip_name_same(sheet_chip(i), name);
        for (int k = 0; k < aliases.n && !same; k++) same = chip_name_same(aliases.name[k], name);
        if (same && !spelt) spelt = sheet_chip(i);
    }
    if (spelt) {
        int rc = open_sheet(f, spelt, NULL, e);
        return rc ? rc : check_memory(f, name, e);
    }
    return err(e, ERR_NOT_FOUND, "no chip '%s'; known: %s; or give the path of a datasheet", name, known);
}

/* "x220:memory.rate=40" is said of x220 only. 0 too where it is of another chip. */
static int assume(struct figures *f, const char *text, struct err *e)
{
    size_t n = strcspn(text, ":=");
    if (text[n] != ':') return sheet_assume(&f->sheet, text, e);
    if (strlen(f->chip) == n && !strncmp(f->chip, text, n)) return sheet_assume(&f->sheet, text + n + 1, e);
    for (int i = 0; sheet_chip(i); i++)
        if (strlen(sheet_chip(i)) == n && !strncmp(sheet_chip(i), text, n)) return 0;
    return err(e, ERR_NOT_FOUND, "'%s': no chip '%.*s'; 'tutti chips' lists them", text, (int)n, text);
}

int figures_open(struct figures *f, const char *name, const char *const *assumed, struct err *e)
{
    *f = (struct figures){0};
    int rc = strchr(name, '/') || strstr(name, ".ini") ? open_path(f, name, e) : open_known(f, name, e);
    for (int i = 0; !rc && assumed && assumed[i]; i++) rc = assume(f, assumed[i], e);
    if (rc) figures_close(f);
    return rc;
}

void figures_close(struct figures *f)
{
    sheet_close(&f->sheet);
    *f = (struct figures){0};
}
