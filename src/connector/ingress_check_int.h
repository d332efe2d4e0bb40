#pragma once
/* What the parts of the check share. */
#include "connector/config_schema.h"
#include "connector/ingress_check.h"
#include "connector/ingress_int.h"

struct check {
    const struct ingress_check_conf *conf;
    struct arena *arena;
    struct ingress_report *report;
};

/* One rule as far as it can be read. */
struct seen_rule {
    const struct yaml_node *node;
    struct slice hostname, path;
    const char *ascii; /* IDNA form, or NULL */
    bool has_conditions;
    bool is_broken; /* what it matches is not known */
};

/* Adds a finding, once. */
void check_add(struct check *c, struct ingress_finding f);
/* `hint` is of the arena or a literal; or NULL. */
void check_mistake(struct check *c, unsigned line, unsigned column, const char *text,
                   const char *hint);
void check_warn(struct check *c, unsigned line, unsigned column, const char *text,
                const char *hint);

/* check_keys.c: keys that nobody knows, in the whole document. */
void check_keys(struct check *c, const struct yaml_node *root);
/* check_reach.c: rules and hostnames that no request can reach, paths that match nothing. */
void check_reach(struct check *c, const struct seen_rule *rules, size_t count);
/* check_hints.c: what to write instead, or NULL. */
const char *hint_for_service(struct arena *a, struct slice service);
const char *hint_for_hostname(struct arena *a, struct slice hostname);
const char *hint_for_time(struct arena *a, const struct yaml_node *n);
