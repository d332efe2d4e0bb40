#pragma once
/* The tunnels that `adit tunnel run` runs: one by its token, name or id, several by their names, or
 * those of the list `tunnels:` of the configuration file, of which each may have its own
 * credentials, edge, CA, transport and rules. What an entry does not say is said for all by flags,
 * environment and file. Plans live in the arena of the command line. */
#include "cli/cli.h"
#include "connector/connector.h"

struct tunnel_plan {
    const char *ref; /* name or id; or NULL */
    const char *token, *token_file, *credentials_file, *credentials_contents; /* or "" */
    const char *const *edges;
    size_t edge_count;
    const char *edge_srv, *cacert; /* or "" */
    enum protocol protocol;
    const char *key; /* of an entry: by which it is known again when the file is read again */
    bool has_rules;  /* of its own; else those of all */

    struct credential cred;
    struct slice ca_pem;     /* of an own CA */
    struct ingress *ingress; /* counted */
};

/* One plan of what flags and environment say. */
int plan_single(struct cli *c, const char *ref) __attribute__((warn_unused_result));
/* c->plans, with everything but their rules. *ret_is_usage: the command line is wrong. */
int plans_take(struct cli *c, int argc, char **argv, bool *ret_is_usage)
    __attribute__((warn_unused_result));
/* The rules of each, from c->file: its own, or those of all, which are 503 for everything when
 * there are none. `plans`, of this or of an earlier reading of the file, are not touched; `ret` has
 * a place for each, which is untouched on failure. */
int plans_rules(struct cli *c, const struct tunnel_plan *plans, size_t count, struct ingress **ret)
    __attribute__((warn_unused_result));
/* Whether any has rules of the file. */
bool plans_have_file_rules(const struct cli *c);
void plans_done(struct cli *c);

/* The list `tunnels:` of the file, or NULL; and the names of an entry's keys, NULL past the last.
 */
const struct yaml_node *plans_list(const struct cli *c);
const char *plans_key(size_t index);
/* The entry of this key, or NULL. */
const struct yaml_node *plans_entry(const struct cli *c, const char *key);

/* credentials.c: who the tunnel is. */
int credential_find(struct cli *c, const struct tunnel_plan *p, struct credential *ret)
    __attribute__((warn_unused_result));
