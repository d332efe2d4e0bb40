/* Confinement of a connector: what it may still reach once it serves. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/plan.h"
#include "cli/reload.h"
#include "connector/rule_extras.h"

#define METRICS_PORT_FIRST 20241
#define METRICS_PORT_LAST  20245

static void may_read(struct confine *k, const char *path)
{
    if (path != NULL && path[0] != 0 && k->read_count < CONFINE_PATHS_MAX)
        k->read[k->read_count++] = path;
}

/* Where a file of this name is made, renamed and removed. */
static const char *directory_of(struct cli *c, const char *path)
{
    struct slice s = slice_str(path);
    size_t slash = slice_find_last(s, '/');
    if (slash == s.n)
        return ".";
    return slash == 0 ? "/" : arena_str(&c->arena, slice_sub(s, 0, slash));
}

/* Read again when it changes, which is often another file of the same name. */
static void may_read_identity(struct cli *c, const struct rule_extras *x)
{
    const struct slice paths[] = { x != NULL ? x->certificate : SLICE(""),
                                   x != NULL ? x->key : SLICE("") };
    for (size_t i = 0; i < 2; i++) {
        const char *path = paths[i].n > 0 ? arena_str(&c->arena, paths[i]) : NULL;
        if (path != NULL)
            may_read(&c->confine, directory_of(c, path));
    }
}

/* Read again when it changes (cli/reload.h), which is often another file of the same name; and
 * behind a link in another directory. */
static void may_read_again(struct cli *c, const char *path)
{
    char *real = realpath(path, NULL);
    may_read(&c->confine, directory_of(c, path));
    if (real != NULL)
        may_read(&c->confine, directory_of(c, real));
    free(real);
}

/* What the rules name. */
static void take_rules(struct cli *c, const struct ingress *ingress)
{
    for (size_t i = 0; ingress != NULL && i < ingress_count(ingress); i++) {
        if (ingress_rule(ingress, i)->request.ca_pool.n > 0)
            may_read(&c->confine, arena_str(&c->arena, ingress_rule(ingress, i)->request.ca_pool));
        may_read_identity(c, ingress_rule(ingress, i)->extras);
    }
}

static void take_files(struct cli *c)
{
    struct confine *k = &c->confine;
    for (size_t i = 0; i < c->o.sandbox_read.count; i++)
        may_read(k, c->o.sandbox_read.items[i]);
    may_read(k, c->file_path);
    if (plans_have_file_rules(c))
        may_read_again(c, c->file_path);
    may_read(k, c->o.cacert);
    for (size_t i = 0; i < c->plan_count; i++)
        if (i == 0 || c->plans[i].ingress != c->plans[i - 1].ingress)
            take_rules(c, c->plans[i].ingress);
    const char *logs = c->o.access_log[0] != 0 && strcmp(c->o.access_log, "-") != 0
                           ? directory_of(c, c->o.access_log)
                           : NULL;
    if (logs != NULL)
        k->write[k->write_count++] = logs;
    if (c->edge_cache != NULL)
        k->write[k->write_count++] = c->edge_cache;
    const char *pids = c->o.pidfile[0] != 0 ? directory_of(c, c->o.pidfile) : NULL;
    if (pids != NULL)
        k->write[k->write_count++] = pids;
}

/* The ports that --metrics may take (local_http.c). */
static void take_ports(struct cli *c)
{
    struct confine *k = &c->confine;
    struct slice text = slice_str(c->o.metrics);
    size_t colon = slice_find_last(text, ':');
    uint64_t port = 0;
    if (slice_u64(slice_sub(text, colon + 1, SIZE_MAX), UINT16_MAX, &port) < 0)
        port = 0; /* which --metrics itself complains of */
    k->ports[k->port_count++] = (uint16_t)port;
    for (uint16_t p = METRICS_PORT_FIRST; port == 0 && p <= METRICS_PORT_LAST; p++)
        k->ports[k->port_count++] = p;
    if (port != 0 && c->o.edge_bind[0] != 0)
        k->ports[k->port_count++] = 0; /* a connection from a chosen address is bound before */
}

/* What is verified with, while its file can still be read. That of the edge of this machine is not
 * always needed, so that its failure is kept for then. */
static int take_ca(struct cli *c)
{
    struct local_edge local;
    if (c->o.cacert[0] != 0)
        return cli_read_file(c, c->o.cacert, false, &c->ca_pem);
    if (cli_local_edge(c, &local) < 0)
        return 0;
    struct fault before = c->fault;
    const char *path = arena_fmt(&c->arena, "%s/ca.pem", local.dir);
    if (path != NULL && cli_read_file(c, path, false, &c->ca_pem) < 0)
        c->ca_fault = c->fault;
    c->fault = before;
    return path != NULL ? 0 : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

int cli_confine(struct cli *c)
{
    reload_watch(c);
    c->confine.user = c->o.user;
    c->confine.may_dial = true;
    int r = confine_mode_of(c->o.sandbox, c->o.no_sandbox, &c->confine.mode, &c->fault);
    if (r == 0)
        r = take_ca(c);
    if (r < 0)
        return r;
    take_files(c);
    take_ports(c);
    return confine_start(&c->confine, &c->fault);
}
