#pragma once
/* Options declared once, in a table: flags, environment, file keys, defaults, checks and help all
 * come from it.
 *
 *     OPT(field, kind, "names", "ENV,…", "default", min, max, "Help.")   in a .def file
 *
 * `names`: the long name, aliases and a one-letter form, separated by commas ("protocol,p"). A name
 * that begins with "." is accepted but not shown in help. Precedence: flag, environment, file,
 * default. Texts live in the arena. One thread. */
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fault.h"
#include "conf/yaml_tree.h"

enum opt_kind {
    OPT_STR,  /* const char * (never NULL) */
    OPT_BOOL, /* bool */
    OPT_INT,  /* int64_t */
    OPT_TIME, /* nsec; Go's syntax; min and max in milliseconds */
    OPT_LIST, /* struct opt_list */
};

#define OPT_LIST_MAX 64
struct opt_list {
    const char *items[OPT_LIST_MAX];
    size_t count;
};

typedef const char *opt_type_STR;
typedef bool opt_type_BOOL;
typedef int64_t opt_type_INT;
typedef nsec opt_type_TIME;
typedef struct opt_list opt_type_LIST;

enum opt_source { OPT_FROM_DEFAULT, OPT_FROM_FILE, OPT_FROM_ENV, OPT_FROM_FLAG };

struct opt {
    const char *names, *env, *preset, *help;
    int64_t min, max;
    size_t at; /* offset of the field */
    enum opt_kind kind;
};

/* A table with the struct that it fills. */
struct opt_table {
    const struct opt *rows;
    size_t count;
    void *values;
    enum opt_source *sources; /* one for each row */
};

#define OPT_ROW(type, field, knd, nms, envs, dflt, lo, hi, txt)                                    \
    { .names = nms,                                                                                \
      .env = envs,                                                                                 \
      .preset = dflt,                                                                              \
      .help = txt,                                                                                 \
      .min = lo,                                                                                   \
      .max = hi,                                                                                   \
      .at = offsetof(type, field),                                                                 \
      .kind = OPT_##knd },

/* Puts the defaults in. Asserts that they are good. */
void opt_defaults(const struct opt_table *t, struct arena *arena);
/* Takes what the environment has. */
int opt_env(const struct opt_table *t, struct arena *arena, struct fault *fault)
    __attribute__((warn_unused_result));
/* Takes what a file's map has; keys that no row knows are the caller's (opt_knows). Not over what
 * came from flags or environment. */
int opt_file(const struct opt_table *t, const struct yaml_node *map, const char *where,
             struct arena *arena, struct fault *fault) __attribute__((warn_unused_result));
bool opt_knows(const struct opt_table *t, struct slice name);
/* Sets one value by name (flag or file key), with its source. ERR_NOTFOUND when no row knows it. */
int opt_set(const struct opt_table *t, struct slice name, const char *value, enum opt_source source,
            struct arena *arena, struct fault *fault) __attribute__((warn_unused_result));
/* One value as it would be written; NULL when memory is short, or for a list. The name must be
 * known. */
const char *opt_text(const struct opt_table *t, const char *name, struct arena *arena);
enum opt_source opt_source_of(const struct opt_table *t, const char *name);

/* Takes flags out of argv: `--name value`, `--name=value`, `-x value`, `--bool`; "--" ends them.
 * What is no flag stays, in order: argv[0 .. *ret_count). `tables` are tried in order. "--help" and
 * "-h" give ERR_CANCELED with nothing in the fault. */
int opt_args(const struct opt_table *tables, size_t table_count, int argc, char **argv,
             int *ret_count, struct arena *arena, struct fault *fault)
    __attribute__((warn_unused_result));

/* One aligned, wrapped line for each option that is shown. */
void opt_help(const struct opt_table *t, FILE *to);
