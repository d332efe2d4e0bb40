/* Runs the connectors: trust, signals, and the local HTTP endpoints. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/pages.h"
#include "cli/cli.h"
#include "cli/edges.h"
#include "cli/local_http.h"
#include "cli/plan.h"
#include "cli/reload.h"
#include "codec/http1_names.h"
#include "connector/connector.h"
#include "connector/local_config.h"
#include "connector/origin_proxy.h"
#include "crypto/keyfile.h"
#include "crypto/random.h"
#include "http/fields.h"
#include "model/balance.h"

#define TAGS_MAX                      32
#define LOCAL_CONFIGURATION_BYTES_MAX (512 * 1024) /* half of what a message may be */

/* One tunnel of the run. */
struct tunnel {
    struct connector_conf conf;
    struct edge_memory memory;
    char *local_configuration;
};

struct run {
    struct cli *cli;
    struct loop *loop;
    struct task task;
    struct watch *signals;
    struct crew *crew;
    struct connector_conf common; /* what is the same for all */
    struct tunnel *tunnels;       /* one for each plan */
    struct connectors connectors;
    struct local_http http;
    const char *features[24];
    const char *tags[2 * TAGS_MAX + 1];
    struct reload reload;
    bool is_started, is_draining, was_ready;
    unsigned ready;                 /* connections, when it was looked last */
    struct origin_proxies *proxies; /* on the way to the edge */
};

/* Both transports trust the same: the token's pin, or a CA, or the system. */
static int take_trust(struct run *r, const struct tunnel_plan *p, struct connector_conf *conf)
{
    struct cli *c = r->cli;
    struct local_edge local;
    struct tls_client_opts tls = { .verify = true };
    int e;
    if (p->cacert[0] == 0 && p->cred.has_pin) {
        tls.pin = p->cred.pin;
        e = quic_creds_client_pin(p->cred.pin, &conf->quic, &c->fault);
    } else {
        struct slice ca_pem = p->ca_pem.n > 0 ? p->ca_pem : c->ca_pem;
        if (ca_pem.n == 0 && cli_local_edge(c, &local) == 0) {
            c->fault = c->ca_fault;
            return c->fault.code;
        }
        tls.ca_pem = ca_pem;
        tls.system_roots = ca_pem.n == 0;
        e = quic_creds_client(ca_pem, &conf->quic, &c->fault);
    }
    return e == 0 ? tls_creds_client(&tls, &conf->tls, &c->fault) : e;
}

/* What the environment names on the way to the edge. Such a proxy is the network's, not the edge's:
 * the system says whom to believe, and --cacert. */
static int take_proxies(struct run *r)
{
    struct cli *c = r->cli;
    const struct tls_client_opts tls = { .verify = true,
                                         .system_roots = true,
                                         .ca_pem = c->ca_pem };
    int e = edge_proxies_from_environment(&r->proxies);
    if (e < 0)
        return fault_set(&c->fault, e, "out of memory");
    r->common.proxies = r->proxies;
    return edge_proxies_need_tls(r->proxies)
               ? tls_creds_client(&tls, &r->common.proxy_tls, &c->fault)
               : 0;
}

int cli_protocol(struct cli *c, const char *text, enum protocol *ret)
{
    static const struct {
        const char *name;
        enum protocol protocol;
    } NAMES[] = {
        { "auto", PROTOCOL_AUTO },
        { "quic", PROTOCOL_QUIC },
        { "http2", PROTOCOL_H2 },
        { "h2mux", PROTOCOL_H2 }, /* what the reference once had instead */
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(text, NAMES[i].name) != 0)
            continue;
        *ret = NAMES[i].protocol;
        return 0;
    }
    return fault_set(&c->fault, ERR_INVALID, "--protocol %s: auto, quic or http2 is wanted", text);
}

/* ---- what is announced ---- */

/* --tag NAME=VALUE becomes a field for origins. */
static int take_tags(struct run *r)
{
    struct cli *c = r->cli;
    size_t n = 0;
    for (size_t i = 0; i < c->o.tag.count && i < TAGS_MAX; i++) {
        struct slice pair = slice_str(c->o.tag.items[i]);
        size_t at = slice_find(pair, '=');
        struct slice name = slice_sub(pair, 0, at), value = slice_sub(pair, at + 1, SIZE_MAX);
        if (at == 0 || at == pair.n)
            return fault_set(&c->fault, ERR_INVALID, "--tag %s: NAME=VALUE is wanted",
                             c->o.tag.items[i]);
        if (!field_name_is_valid(name) || !field_value_is_valid(value))
            return fault_set(&c->fault, ERR_INVALID,
                             "--tag %s: name and value must be those of a header field",
                             c->o.tag.items[i]);
        char *field = arena_fmt(&c->arena, "Cf-Warp-Tag-%.*s", SLICE_FMT(name));
        if (field == NULL)
            return fault_set(&c->fault, ERR_NOMEM, "out of memory");
        http1_name_canonicalise((uint8_t *)field, strlen(field));
        r->tags[n++] = field;
        r->tags[n++] = arena_str(&c->arena, value);
    }
    r->common.tags = r->tags;
    return 0;
}

/* The reference takes any --label, so that one that is too long for the wire, or not fit to be
 * shown, is not a reason not to run. NULL when there is none. */
static const char *label_feature(struct cli *c)
{
    struct slice label = slice_str(c->o.label);
    if (label.n == 0)
        return NULL;
    if (!replica_label_is_valid(label)) {
        log_warn("the label is not announced: it must be UTF-8 without control characters",
                 LU64("bytes", label.n), LU64("limit", REPLICA_LABEL_BYTES_MAX));
        return NULL;
    }
    return arena_fmt(&c->arena, REPLICA_LABEL_PREFIX "%s", c->o.label);
}

/* What all tunnels announce; they are one connector, and one process. */
static int take_identity(struct run *r)
{
    /* What is served, and no more: an edge must not hand over what would be lost. */
    static const char *const ALWAYS[] = { "serialized_headers", "support_quic_eof", "adit_diag",
                                          "adit_trailers" };
    struct cli *c = r->cli;
    size_t n = 0;
    for (size_t i = 0; i < sizeof ALWAYS / sizeof ALWAYS[0]; i++)
        r->features[n++] = ALWAYS[i];
    if (!c->o.no_remote_config)
        r->features[n++] = "allow_remote_config";
    const char *label = label_feature(c);
    if (label != NULL)
        r->features[n++] = label;
    for (size_t i = 0;
         i < c->o.features.count && n + 1 < sizeof r->features / sizeof r->features[0]; i++)
        r->features[n++] = c->o.features.items[i];
    r->common.identity = (struct connection_identity)
    {
        .features = r->features, .version = ADIT_VERSION,
        .arch = "linux_"
#if defined(__x86_64__)
                "amd64",
#elif defined(__aarch64__)
                "arm64",
#else
                "other",
#endif
    };
    random_uuid(&r->common.identity.connector);
    return take_tags(r);
}

int cli_warp_routing(struct cli *c, struct warp_routing *ret, const char **ret_flag)
{
    warp_routing_defaults(ret);
    int e = warp_routing_from_yaml(c->file, c->file_path, ret, &c->fault);
    *ret_flag = NULL;
    if (opt_source_of(&c->table, "max-active-flows") != OPT_FROM_DEFAULT) {
        ret->max_flows = (uint64_t)c->o.max_flows;
        *ret_flag = opt_text(&c->table, "max-active-flows", &c->arena);
    }
    return e;
}

char *cli_local_configuration(struct cli *c, const struct ingress *ingress,
                              const struct warp_routing *warp)
{
    static const char *const TOLD[] = { "no-autoupdate",     "retries",         "protocol",
                                        "loglevel",          "origincert",      "metrics",
                                        "edge-bind-address", "max-active-flows" };
    const char *flags[2 * sizeof TOLD / sizeof TOLD[0] + 1];
    struct strb json;
    size_t n = 0;
    for (size_t i = 0; i < sizeof TOLD / sizeof TOLD[0]; i++) {
        if (opt_source_of(&c->table, TOLD[i]) == OPT_FROM_DEFAULT)
            continue;
        flags[n] = TOLD[i];
        flags[n + 1] = opt_text(&c->table, TOLD[i], &c->arena);
        n += flags[n + 1] != NULL ? 2 : 0;
    }
    flags[n] = NULL;
    strb_init(&json, LOCAL_CONFIGURATION_BYTES_MAX);
    local_configuration_write(&json, ingress, warp, flags);
    if (json.err != 0)
        log_warn("the configuration is too large to be told to the edge", LERR(json.err));
    char *text = json.err == 0 ? strb_take(&json) : NULL;
    strb_done(&json);
    return text;
}

/* ---- signals and news ---- */

static void on_ready(struct run *r)
{
    char pid[24];
    struct fault f;
    r->was_ready = true;
    if (r->cli->o.pidfile[0] == 0)
        return;
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (file_write(r->cli->o.pidfile, slice_str(pid), 0644, &f) < 0)
        log_warn("the pid file could not be written", LSTR("why", f.text));
}

static void on_signal(struct run *r, uint32_t number)
{
    if (number == SIGUSR1) {
        log_info("opening the access log anew");
        if (r->common.access_log.writer != NULL)
            line_writer_reopen(r->common.access_log.writer);
        return;
    }
    if (number == SIGHUP) {
        if (r->is_started) /* else it was read a moment ago */
            reload_now(&r->reload, "SIGHUP");
        return;
    }
    if (r->is_draining || !r->is_started) {
        log_settle(true);
        _exit(0);
    }
    log_info("stopping: requests under way may end", LSTR("signal", strsignal((int)number)));
    r->is_draining = true;
    for (size_t i = 0; i < r->connectors.count; i++)
        connector_drain(r->connectors.list[i]);
}

/* What a handshake needed of the libraries' code, the one of each connection, is not held while it
 * serves: 2 MiB. */
static void forget_handshakes(struct run *r)
{
    unsigned ready = connectors_ready(&r->connectors);
    if (ready > r->ready)
        pages_forget_code();
    r->ready = ready;
}

static bool are_over(const struct run *r)
{
    for (size_t i = 0; i < r->connectors.count; i++)
        if (!connector_is_over(r->connectors.list[i]))
            return false;
    return true;
}

static void run_task(struct task *t)
{
    struct run *r = container_of(t, struct run, task);
    struct signalfd_siginfo info;
    while (read(watch_fd(r->signals), &info, sizeof info) == (ssize_t)sizeof info)
        on_signal(r, info.ssi_signo);
    watch_wait(r->signals, WATCH_READ);
    if (!r->was_ready && connectors_ready(&r->connectors) > 0)
        on_ready(r);
    forget_handshakes(r);
    if (r->is_draining && are_over(r))
        loop_stop(r->loop);
}

static int watch_signals(struct run *r)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    task_init(&r->task, r->loop, run_task);
    if (fd < 0 || watch_open(r->loop, fd, &r->task, &r->signals) < 0)
        return fault_set(&r->cli->fault, ERR_LIMIT, "signals cannot be watched: %s",
                         strerror(errno));
    watch_wait(r->signals, WATCH_READ);
    return 0;
}

/* ---- the run ---- */

static int open_common(struct run *r, const char *hostname)
{
    struct cli *c = r->cli;
    struct connector_conf *conf = &r->common;
    int e = take_proxies(r);
    if (e == 0)
        e = take_identity(r);
    if (e == 0 && c->o.edge_bind[0] != 0 &&
        addr_parse_ip(slice_str(c->o.edge_bind), 0, &conf->bind) < 0)
        e = fault_set(&c->fault, ERR_INVALID, "--edge-bind-address %s: an IP address is wanted",
                      c->o.edge_bind);
    if (e == 0)
        e = local_http_open(&r->http, r->loop, c, hostname, &r->connectors,
                            &conf->identity.connector);
    if (e == 0)
        e = access_log_open(&conf->access_log, c->o.access_log, c->o.access_log_format, &c->fault);
    conf->access_log.has_query = c->o.access_log_query;
    if (e == 0)
        e = cli_warp_routing(c, &conf->warp, &conf->max_flows);
    return e;
}

/* Until `t` has all that its connector needs. */
static int open_tunnel(struct run *r, const struct tunnel_plan *p, struct tunnel *t)
{
    struct cli *c = r->cli;
    struct connector *connector;
    t->conf.ingress = p->ingress;
    t->conf.protocol = p->protocol;
    t->conf.identity.account = arena_str(&c->arena, p->cred.account);
    t->conf.identity.tunnel = p->cred.tunnel;
    t->conf.identity.secret = p->cred.secret.p;
    t->conf.identity.secret_bytes = p->cred.secret.n;
    t->conf.memory = &t->memory;
    int e = edges_find(c, r->loop, p, t->conf.connections, &t->memory, &t->conf.edges);
    if (e < 0)
        return e;
    t->local_configuration = cli_local_configuration(c, p->ingress, &t->conf.warp);
    t->conf.local_configuration = t->local_configuration;
    e = connector_new(r->loop, &t->conf, &r->task, &connector);
    if (e < 0)
        return fault_set(&c->fault, e, "the connector could not be made: %s", err_text(e));
    r->connectors.list[r->connectors.count++] = connector;
    return 0;
}

static int start(struct run *r)
{
    struct cli *c = r->cli;
    int e = 0;
    for (size_t i = 0; i < r->connectors.count && e == 0; i++)
        e = connector_start(r->connectors.list[i]);
    if (e < 0)
        return fault_set(&c->fault, e, "a connector could not be started: %s", err_text(e));
    reload_open(&r->reload, r->loop, c, &r->connectors);
    r->is_started = true;
    return r->common.access_log.writer != NULL
               ? line_writer_start(r->common.access_log.writer, &c->fault)
               : 0;
}

static int run_open(struct run *r, const char *hostname)
{
    struct cli *c = r->cli;
    int e = loop_new(&r->loop);
    if (e < 0)
        return fault_set(&c->fault, e, "the event loop could not be made");
    e = watch_signals(r);
    if (e == 0)
        e = open_common(r, hostname);
    for (size_t i = 0; i < c->plan_count; i++)
        r->tunnels[i].conf = r->common;
    for (size_t i = 0; i < c->plan_count && e == 0; i++)
        e = take_trust(r, &c->plans[i], &r->tunnels[i].conf);
    if (e == 0)
        e = confine_bound(&c->confine, &c->fault);
    if (e < 0)
        return e;
    e = crew_start((unsigned)c->o.workers, &r->crew);
    if (e < 0)
        return fault_set(&c->fault, e, "the threads could not be started: %s", err_text(e));
    for (size_t i = 0; i < c->plan_count && e == 0; i++) {
        r->tunnels[i].conf.crew = r->crew;
        e = open_tunnel(r, &c->plans[i], &r->tunnels[i]);
    }
    return e == 0 ? start(r) : e;
}

static void run_close(struct run *r)
{
    local_http_close(&r->http);
    reload_close(&r->reload);
    for (size_t i = 0; i < r->connectors.count; i++)
        connector_close(r->connectors.list[i]);
    crew_stop(r->crew);
    if (r->loop != NULL)
        loop_turn(r->loop, 0); /* the last news are taken while there is somebody to take them */
    for (size_t i = 0; i < r->connectors.count; i++)
        connector_free(r->connectors.list[i]);
    line_writer_close(r->common.access_log.writer);
    for (size_t i = 0; i < r->cli->plan_count; i++) {
        free(r->tunnels[i].local_configuration);
        quic_creds_unref(r->tunnels[i].conf.quic);
        tls_creds_unref(r->tunnels[i].conf.tls);
    }
    tls_creds_unref(r->common.proxy_tls);
    origin_proxies_free(r->proxies);
    if (r->loop != NULL) {
        watch_close(r->signals);
        task_done(&r->task);
        loop_turn(r->loop, 0);
        loop_free(r->loop);
    }
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int cli_connect(struct cli *c, const char *hostname)
{
    struct run *r = calloc(1, sizeof *r);
    struct tunnel *tunnels = calloc(c->plan_count, sizeof *tunnels);
    if (r == NULL || tunnels == NULL) {
        free(r);
        free(tunnels);
        return 1;
    }
    r->cli = c;
    r->tunnels = tunnels;
    r->common = (struct connector_conf){
        .connections = (unsigned)c->o.connections,
        .streams_max = (uint64_t)c->o.streams_max,
        .stream_head = c->o.stream_head,
        .head_max = (size_t)c->o.head_max,
        .retries = (unsigned)c->o.retries,
        .quic_retry = c->o.quic_retry,
        .is_local_only = c->o.no_remote_config,
        .grace = c->o.grace,
    };
    raise_file_limit();
    int e = run_open(r, hostname);
    if (e == 0)
        loop_run(r->loop);
    else
        (void)cli_complain(c);
    run_close(r);
    if (c->o.pidfile[0] != 0 && r->was_ready)
        (void)unlink(c->o.pidfile);
    free(tunnels);
    free(r);
    return e == 0 ? 0 : 1;
}
