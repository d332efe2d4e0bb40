#include "cli/edges.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/uri.h"
#include "connector/edge_lookup.h"

#define EDGE_PORT    7844
#define RESOLVE_NSEC (15 * NSEC_PER_SEC)
#define SRV_SERVICE  "_v2-origintunneld._tcp" /* as the reference names it */

/* ---- one name, now ---- */

struct wait {
    struct task task;
    struct deadline deadline;
};

static void wait_run(struct task *t)
{
    (void)t; /* it ends a turn of the loop, which is all */
}

static int look_up(struct loop *loop, const struct edge_name *name, struct edge_found *ret)
{
    struct wait w = { 0 };
    struct edge_lookup *lookup = NULL;
    task_init(&w.task, loop, wait_run);
    deadline_set(&w.deadline, &w.task, loop_now_fresh(loop) + RESOLVE_NSEC);
    int r = edge_lookup_start(loop, name, &w.task, &lookup);
    if (r == 0)
        r = edge_lookup_run(lookup, ret);
    while (r == ERR_AGAIN) {
        loop_turn(loop, -1);
        r = edge_lookup_run(lookup, ret);
        if (r == ERR_AGAIN && deadline_take(&w.deadline))
            r = ERR_TIMEOUT;
    }
    deadline_clear(&w.deadline);
    edge_lookup_free(lookup);
    task_done(&w.task);
    return r;
}

static void add_name(struct cli *c, struct loop *loop, const struct edge_name *name,
                     struct edge_list *to)
{
    struct edge_found found;
    size_t before = to->count;
    int r = look_up(loop, name, &found);
    edge_list_add(to, name, r == 0 ? &found : NULL);
    if (r < 0)
        log_warn("an edge's name could not be resolved", LSTR("edge", name->host), LERR(r));
    else if (to->count == before)
        log_warn("an edge has no address of the IP version that is wanted",
                 LSTR("edge", name->host), LSTR("version", c->o.edge_ip));
}

/* ---- what is said of it ---- */

static int add_edge(struct cli *c, struct loop *loop, struct slice text, struct edge_list *to)
{
    struct host_port hp;
    struct addr literal;
    struct edge_name name = { .port = EDGE_PORT };
    if (host_port_parse(text, &hp) < 0 || hp.host.n > HOSTNAME_BYTES_MAX)
        return fault_set(&c->fault, ERR_INVALID, "--edge %.*s: host:port is wanted",
                         SLICE_FMT(text));
    if (hp.has_port)
        name.port = hp.port;
    memcpy(name.host, hp.host.p, hp.host.n);
    if (addr_parse_ip(hp.host, name.port, &literal) < 0) {
        add_name(c, loop, &name, to);
        return 0;
    }
    size_t before = to->count;
    edge_list_add_addr(to, &literal, false);
    if (to->count == before)
        log_warn("an edge has no address of the IP version that is wanted", LSLICE("edge", text),
                 LSTR("version", c->o.edge_ip));
    return 0;
}

/* "_service._proto.domain", or a domain whose service is named as the reference names its own. */
static int add_srv(struct cli *c, struct loop *loop, const char *text, struct edge_list *to)
{
    struct edge_name name = { .is_srv = true };
    int n =
        snprintf(name.host, sizeof name.host, "%s%s", text[0] == '_' ? "" : SRV_SERVICE ".", text);
    if (n >= (int)sizeof name.host)
        return fault_set(&c->fault, ERR_INVALID, "--edge-srv %s: the name is too long", text);
    add_name(c, loop, &name, to);
    return 0;
}

static int take_family(struct cli *c, struct edge_list *to)
{
    const char *text = c->o.edge_ip;
    if (strcmp(text, "auto") != 0 && strcmp(text, "4") != 0 && strcmp(text, "6") != 0)
        return fault_set(&c->fault, ERR_INVALID, "--edge-ip-version %s: auto, 4 or 6 is wanted",
                         text);
    to->family = text[0] == '4' ? AF_INET : text[0] == '6' ? AF_INET6 : AF_UNSPEC;
    return 0;
}

int edges_find(struct cli *c, struct loop *loop, const struct credential *cred, size_t connections,
               struct edge_list *ret)
{
    struct local_edge local;
    bool is_named = c->o.edge.count > 0 || c->o.edge_srv[0] != 0;
    int e = take_family(c, ret);
    for (size_t i = 0; i < c->o.edge.count && e == 0; i++)
        e = add_edge(c, loop, slice_str(c->o.edge.items[i]), ret);
    if (e == 0 && c->o.edge_srv[0] != 0)
        e = add_srv(c, loop, c->o.edge_srv, ret);
    for (size_t i = 0; !is_named && i < cred->edge_count && e == 0; i++)
        e = add_edge(c, loop, cred->edges[i], ret);
    if (e == 0 && !is_named && cred->edge_count == 0 && cli_local_edge(c, &local) == 0)
        e = add_edge(c, loop, local.tunnel, ret);
    if (e < 0)
        return e;
    if (ret->count == 0)
        return fault_set(
            &c->fault, ERR_NOTFOUND,
            "there is no edge to connect to: none runs on this machine (looked in ./var and "
            "/var/lib/adit); name one with --edge HOST:7844 and --cacert ca.pem, or use a "
            "token of adit tunnel token");
    edge_list_fill(ret, connections); /* one edge is dialled as often as connections are wanted */
    return 0;
}
