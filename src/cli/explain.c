/* Complaints: what is wrong, in which line, and what was probably meant. */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/plan.h"
#include "connector/ingress_check.h"

#define SHOWN_COLUMNS_MAX 160 /* of a file's line */
#define LOGGED_MAX        20  /* findings: ingress validate has them all */

static bool line_of(struct slice text, unsigned line, struct slice *ret)
{
    *ret = (struct slice){ 0 };
    for (unsigned i = 0; i < line; i++)
        if (!slice_split(&text, '\n', ret))
            return false;
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
        ret->n--;
    return true;
}

/* The line, and a caret below the place. Columns are characters. A file may hold what a terminal
 * should not get. */
static void show_place(const struct cli *c, unsigned line, unsigned column)
{
    struct slice s;
    if (line == 0 || !line_of(c->file_text, line, &s) || s.n == 0 || s.n > SHOWN_COLUMNS_MAX ||
        !slice_is_utf8(s))
        return;
    (void)fprintf(stderr, "%6u | ", line);
    for (size_t i = 0; i < s.n; i++)
        (void)fputc(s.p[i] < ' ' || s.p[i] == 0x7f ? ' ' : s.p[i], stderr);
    (void)fprintf(stderr, "\n       | %*s^\n", column > 1 ? (int)column - 1 : 0, "");
}

static void show(const struct cli *c, const struct ingress_finding *f)
{
    struct fault fault = { .line = f->line, .column = f->column };
    char line[FAULT_LINE_BYTES];
    (void)snprintf(fault.where, sizeof fault.where, "%s", f->line > 0 ? c->file_path : "");
    (void)snprintf(fault.text, sizeof fault.text, "%s", f->text);
    (void)fprintf(stderr, "adit: %s%s\n", f->is_warning ? "warning: " : "",
                  fault_line(&fault, line));
    show_place(c, f->line, f->column);
    if (f->hint != NULL)
        (void)fprintf(stderr, "  hint: %s\n", f->hint);
}

void cli_explain(const struct cli *c, const struct ingress_report *r)
{
    for (size_t i = 0; i < r->count; i++)
        show(c, &r->list[i]);
    if (r->mistakes + r->warnings > 1)
        (void)fprintf(stderr, "adit: %s: %zu mistake%s, %zu warning%s\n", c->file_path, r->mistakes,
                      r->mistakes == 1 ? "" : "s", r->warnings, r->warnings == 1 ? "" : "s");
}

/* The names that a file may use for an option: each row has some, of which those of one letter are
 * for the command line. */
static const char *option_name(void *ctx, size_t index)
{
    struct cli *c = ctx;
    for (size_t i = 0; i < c->table.count; i++) {
        struct slice rest = slice_str(c->table.rows[i].names), part;
        while (slice_split(&rest, ',', &part)) {
            if (part.n > 0 && part.p[0] == '.')
                part = slice_sub(part, 1, SIZE_MAX);
            if (index-- == 0)
                return arena_str(&c->arena, part);
        }
    }
    return NULL;
}

static const char *entry_key(void *ctx, size_t index)
{
    (void)ctx;
    return plans_key(index);
}

/* One report after the other. */
static void add_report(struct ingress_report *to, const struct ingress_report *r)
{
    for (size_t i = 0; i < r->count && to->count < FINDINGS_MAX; i++)
        to->list[to->count++] = r->list[i];
    to->mistakes += r->mistakes;
    to->warnings += r->warnings;
    to->has_unknown_keys = to->has_unknown_keys || r->has_unknown_keys;
}

/* Tunnels that have rules of their own. */
static void check_entries(struct cli *c, const struct yaml_node *list, struct ingress_report *to)
{
    struct ingress_check_conf conf = { .where = c->file_path, .option = entry_key };
    struct ingress_report *r = arena_alloc(&c->arena, sizeof *r);
    for (const struct yaml_node *e = list->first; r != NULL && e != NULL; e = e->next) {
        if (yaml_get(e, "ingress") == NULL)
            continue;
        ingress_check(e, &conf, &c->arena, r);
        add_report(to, r);
    }
}

struct ingress_report *cli_check_rules(struct cli *c)
{
    const struct yaml_node *list = plans_list(c);
    struct ingress_check_conf conf = { .where = c->file_path,
                                       .option = option_name,
                                       .ctx = c,
                                       .complaints = c->complaints,
                                       .is_cut = c->is_file_cut };
    struct ingress_report *r = arena_alloc(&c->arena, sizeof *r);
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    /* Rules for all are not missed where each tunnel has its own. */
    if (list == NULL || yaml_get(c->file, "ingress") != NULL || c->is_file_cut ||
        (c->complaints != NULL && c->complaints->count > 0))
        ingress_check(c->file, &conf, &c->arena, r);
    if (list != NULL)
        check_entries(c, list, r);
    return r;
}

void cli_log_warnings(struct cli *c)
{
    const struct ingress_report *r = cli_check_rules(c);
    for (size_t i = 0; r != NULL && i < r->count && i < LOGGED_MAX; i++) {
        const struct ingress_finding *f = &r->list[i];
        log_warn("the configuration file has something that cannot be meant",
                 LSTR("file", c->file_path), LU64("line", f->line), LSTR("what", f->text),
                 LSTR("hint", f->hint != NULL ? f->hint : ""));
    }
}

int cli_complain(struct cli *c)
{
    char line[FAULT_LINE_BYTES];
    struct ingress_report *r = c->is_file_broken ? cli_check_rules(c) : NULL;
    if (r != NULL && r->mistakes > 0) {
        cli_explain(c, r);
        return 1;
    }
    (void)fprintf(stderr, "adit: %s\n", fault_line(&c->fault, line));
    if (c->file_path != NULL && slice_eq(slice_str(c->fault.where), slice_str(c->file_path)))
        show_place(c, c->fault.line, c->fault.column);
    return 1;
}
