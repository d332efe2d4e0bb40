#pragma once
/* Keys of an ingress rule that the reference does not have and ignores (docs/configuration.md):
 * further conditions, what is changed in a request and its response, and how the origin is reached.
 * Part of the rules: immutable but for the health of `services`, in their arena. Any thread. */
#include "base/arena.h"
#include "base/fault.h"
#include "conf/yaml_tree.h"
#include "http/exchange.h"
#include "http/match.h"

struct rule;
struct upstreams;

#define EXTRA_LIST_MAX                                                                             \
    64 /* methods, conditions, edits of one rule: each is looked at for every request */
#define EXTRA_VALUE_MAX 4096 /* bytes of one value, bounded as a whole by HEAD_BYTES_MAX */

enum header_test {
    HEADER_IS,      /* the whole value, exactly */
    HEADER_MATCHES, /* a regular expression, anywhere in it */
    HEADER_IS_THERE,
};

struct header_condition {
    enum header_test test;
    struct slice name, value;
    struct regex *regex; /* of HEADER_MATCHES */
};

enum header_act { HEADER_REMOVE, HEADER_SET, HEADER_ADD };

struct header_edit {
    enum header_act act;
    bool has_variables; /* ${…} or $$ in the value */
    struct slice name, value;
};

struct header_edits { /* in the order in which they are done: removals, settings, additions */
    struct header_edit *list;
    size_t count;
};

struct rule_extras {
    struct slice *methods;
    size_t method_count; /* 0 = any */
    struct header_condition *headers;
    size_t header_count;       /* all of them must hold */
    struct slice strip_prefix; /* begins with a slash and does not end with one; or empty */
    struct regex *rewrite;     /* or NULL */
    struct slice rewrite_to;
    struct header_edits request, response;
    unsigned proxy_protocol;       /* 0 = none, 1, 2 */
    struct slice certificate, key; /* paths of the client certificate; or empty */
    struct upstreams *upstreams;   /* the rule's service and its further ones; or NULL */
};

/* The names of the keys, and NULL. */
extern const char *const RULE_EXTRA_KEYS[];

/* From a rule's map. *ret is NULL when it has none of the keys. */
int rule_extras_from_yaml(const struct yaml_node *rule, const char *where, struct arena *arena,
                          struct rule_extras **ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* Once the rule has its service: whether that can do what the extras ask for. It becomes the first
 * of several. */
int rule_extras_settle(const struct rule *rule, struct fault *fault)
    __attribute__((warn_unused_result));
/* The services of a rule that has several; or NULL. */
struct upstreams *rule_upstreams(const struct rule *rule);
/* Whether the rule's service, or one of several, is one with TLS. */
bool rule_has_tls(const struct rule *rule);
/* Whether there are conditions at all (NULL: no), so that such a rule does not catch all. */
bool rule_extras_have_conditions(const struct rule_extras *x);
/* Whether a request meets the conditions; NULL has none. */
bool rule_extras_match(const struct rule_extras *x, const struct request *q);

/* rule_headers.c */
int header_conditions_from_yaml(const struct yaml_node *map, const char *where, struct arena *arena,
                                struct rule_extras *x, struct fault *fault)
    __attribute__((warn_unused_result));
int header_edits_from_yaml(const struct yaml_node *map, const char *where, struct arena *arena,
                           struct header_edits *ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* What every parser of these keys says: "<key>: <text>", at the node's place. ERR_PARSE. */
int extra_refuse(struct fault *f, const char *where, const struct yaml_node *n, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
int extra_no_memory(struct fault *f);
/* A text that is there: a scalar, not null. Copied. */
int extra_take_text(const struct yaml_node *n, const char *where, struct arena *arena,
                    struct slice *ret, struct fault *f) __attribute__((warn_unused_result));
/* Compiled, and freed with the arena. */
int extra_take_regex(const struct yaml_node *n, struct slice pattern, const char *where,
                     struct arena *arena, struct regex **ret, struct fault *f)
    __attribute__((warn_unused_result));
/* Children of a list or map; refuses more than EXTRA_LIST_MAX. */
int extra_count(const struct yaml_node *n, const char *where, size_t *ret, struct fault *f)
    __attribute__((warn_unused_result));
