#pragma once
/* All that is wrong with a configuration, for the person who wrote it (`ingress validate`, and a
 * run that a mistake prevents): every mistake with its place, what is wanted and a hint; and what
 * is allowed but cannot be meant. Pure, but for looking whether files are there. */
#include "conf/yaml_tree.h"
#include "connector/ingress.h"

#define FINDINGS_MAX 100 /* of one file: nobody reads more */

struct ingress_finding {
    bool is_warning, is_unknown_key;
    unsigned line, column; /* from 1; 0 = the file as a whole */
    const char *text;
    const char *hint; /* or NULL */
};

struct ingress_report {
    struct ingress_finding list[FINDINGS_MAX];
    size_t count, mistakes, warnings; /* what the list has; all that there were */
    bool has_unknown_keys;
};

struct ingress_check_conf {
    const char *where; /* the file's name */
    /* Names of options that are keys too, one by one: NULL past the last. */
    const char *(*option)(void *ctx, size_t index);
    void *ctx;
    /* What was wrong with the file before its values were looked at, or NULL; and whether the rest
     * behind that is missing. */
    const struct yaml_complaints *complaints;
    bool is_cut;
};

/* The first finding is what was wrong with the file, else the mistake that ingress_from_yaml would
 * stop at, in its words; the others follow in the order of the file. Texts live in the arena. */
/* `root` may be NULL. */
void ingress_check(const struct yaml_node *root, const struct ingress_check_conf *conf,
                   struct arena *arena, struct ingress_report *ret);
