#include "cli/edges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

struct search {
    struct cli *cli;
    struct loop *loop;
    const struct edge_memory *memory;
    struct edge_list *to;
};

static void add_name(struct search *s, const struct edge_name *name)
{
    struct edge_found found, kept;
    size_t before = s->to->count;
    bool is_remembered = edge_memory_find(s->memory, name, &kept);
    int r = look_up(s->loop, name, &found);
    edge_list_add(s->to, name, r == 0 ? &found : is_remembered ? &kept : NULL);
    if (r < 0 && is_remembered)
        log_warn(
            "an edge's name could not be resolved: addresses that were good before are dialled",
            LSTR("edge", name->host), LU64("addresses", kept.count), LERR(r));
    else if (r < 0)
        log_warn("an edge's name could not be resolved", LSTR("edge", name->host), LERR(r));
    else if (s->to->count == before)
        log_warn("an edge has no address of the IP version that is wanted",
                 LSTR("edge", name->host), LSTR("version", s->cli->o.edge_ip));
    if (r == 0)
        edge_list_add_kept(s->to, &kept, &found);
}

/* ---- what is said of it ---- */

static int add_edge(struct search *s, struct slice text)
{
    struct host_port hp;
    struct addr literal;
    struct edge_name name = { .port = EDGE_PORT };
    if (host_port_parse(text, &hp) < 0 || hp.host.n > HOSTNAME_BYTES_MAX)
        return fault_set(&s->cli->fault, ERR_INVALID, "--edge %.*s: host:port is wanted",
                         SLICE_FMT(text));
    if (hp.has_port)
        name.port = hp.port;
    memcpy(name.host, hp.host.p, hp.host.n);
    if (addr_parse_ip(hp.host, name.port, &literal) < 0) {
        add_name(s, &name);
        return 0;
    }
    size_t before = s->to->count;
    edge_list_add_addr(s->to, &literal);
    if (s->to->count == before)
        log_warn("an edge has no address of the IP version that is wanted", LSLICE("edge", text),
                 LSTR("version", s->cli->o.edge_ip));
    return 0;
}

/* "_service._proto.domain", or a domain whose service is named as the reference names its own. */
static int add_srv(struct search *s, const char *text)
{
    struct edge_name name = { .is_srv = true };
    int n =
        snprintf(name.host, sizeof name.host, "%s%s", text[0] == '_' ? "" : SRV_SERVICE ".", text);
    if (n >= (int)sizeof name.host)
        return fault_set(&s->cli->fault, ERR_INVALID, "--edge-srv %s: the name is too long", text);
    add_name(s, &name);
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

int edges_find(struct cli *c, struct loop *loop, const struct tunnel_plan *p, size_t connections,
               struct edge_memory *memory, struct edge_list *ret)
{
    const struct credential *cred = &p->cred;
    struct local_edge local;
    struct search s = { .cli = c, .loop = loop, .memory = memory, .to = ret };
    bool is_named = p->edge_count > 0 || p->edge_srv[0] != 0;
    edge_memory_open(memory, c->edge_cache, &cred->tunnel);
    int e = take_family(c, ret);
    for (size_t i = 0; i < p->edge_count && e == 0; i++)
        e = add_edge(&s, slice_str(p->edges[i]));
    if (e == 0 && p->edge_srv[0] != 0)
        e = add_srv(&s, p->edge_srv);
    for (size_t i = 0; !is_named && i < cred->edge_count && e == 0; i++)
        e = add_edge(&s, cred->edges[i]);
    if (e == 0 && !is_named && cred->edge_count == 0 && cli_local_edge(c, &local) == 0)
        e = add_edge(&s, local.tunnel);
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

/* ---- where good addresses are kept ---- */

static bool is_name(struct slice text)
{
    struct host_port hp;
    struct addr literal;
    return host_port_parse(text, &hp) == 0 && addr_parse_ip(hp.host, EDGE_PORT, &literal) < 0;
}

static bool has_names(const struct tunnel_plan *p)
{
    bool has = p->edge_srv[0] != 0;
    for (size_t i = 0; i < p->edge_count; i++)
        has = has || is_name(slice_str(p->edges[i]));
    for (size_t i = 0; !has && p->edge_count == 0 && i < p->cred.edge_count; i++)
        has = is_name(p->cred.edges[i]);
    return has;
}

static const char *default_directory(struct cli *c)
{
    const char *state = getenv("STATE_DIRECTORY"), *base = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (state != NULL && state[0] != 0) /* systemd's: the first of several */
        return arena_str(&c->arena,
                         slice_sub(slice_str(state), 0, slice_find(slice_str(state), ':')));
    if (base != NULL && base[0] == '/')
        return arena_fmt(&c->arena, "%s/adit", base);
    return home != NULL && home[0] == '/' ? arena_fmt(&c->arena, "%s/.local/state/adit", home)
                                          : NULL;
}

/* With all that is above it. */
static int make_directory(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = mkdir(path, 0700) < 0 && errno != EEXIST ? err_from_errno(errno) : 0;
        *slash = '/';
        if (r < 0)
            return r;
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? err_from_errno(errno) : 0;
}

void edges_keep(struct cli *c)
{
    bool is_wanted = false;
    for (size_t i = 0; i < c->plan_count; i++)
        is_wanted = is_wanted || has_names(&c->plans[i]);
    const char *dir = c->o.edge_cache[0] != 0 ? c->o.edge_cache : default_directory(c);
    if (dir == NULL || strcmp(dir, "off") == 0 || !is_wanted)
        return;
    char *copy = strdup(dir);
    int r = copy != NULL ? make_directory(copy) : ERR_NOMEM;
    free(copy);
    if (r == 0)
        c->edge_cache = dir;
    else
        log_info("good addresses of the edge cannot be kept for the next start",
                 LSTR("directory", dir), LERR(r));
}
