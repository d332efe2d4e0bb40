#include "prog/edge_serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/pages.h"
#include "codec/http1_names.h"
#include "codec/uri.h"
#include "confine/confine.h"
#include "control/datadir.h"
#include "crypto/keyfile.h"
#include "prog/edge_notify.h"
#include "prog/edge_serve_int.h"

/* Of the certificate that connectors are shown. No wildcard: strict clients refuse one directly
 * below a top-level domain, and with it the whole certificate. */
static const char *const NAMES[] = { "quic.cftunnel.com",
                                     "h2.cftunnel.com",
                                     "probe.cftunnel.com",
                                     "localhost",
                                     "127.0.0.1",
                                     "::1",
                                     NULL };

const char *edge_data_dir(const struct edge_options *o)
{
    return o->data_dir[0] != 0 ? o->data_dir : geteuid() == 0 ? "/var/lib/adit" : "./var";
}

/* ---- addresses ---- */

static int take_addr(const char *text, const char *option, struct addr *ret, struct fault *fault)
{
    if (addr_parse(slice_str(text), ret) == 0)
        return 0;
    if (slice_starts(slice_str(text), SLICE("localhost:"))) {
        char ip[64];
        (void)snprintf(ip, sizeof ip, "127.0.0.1%s", text + 9);
        if (addr_parse(slice_str(ip), ret) == 0)
            return 0;
    }
    return fault_set(fault, ERR_INVALID,
                     "--%s %s: an address is wanted, such as :8080 or 127.0.0.1:8080", option,
                     text);
}

/* For those that an edge can do without. */
static int take_addr_or_off(const char *text, const char *option, struct addr *ret,
                            struct fault *fault)
{
    if (!slice_eq(slice_str(text), SLICE("off")))
        return take_addr(text, option, ret, fault);
    *ret = (struct addr){ 0 };
    return 0;
}

/* Several workers share an address by SO_REUSEPORT, by which a second edge of the same user would
 * silently share it too. So it is bound once without. */
static int check_free(const struct addr *a, int type, const char *option, struct fault *fault)
{
    char text[ADDR_TEXT_BYTES];
    int yes = 1, no = 0;
    if (a->size == 0 || addr_port(a) == 0)
        return 0;
    int fd = socket(a->sa.ss_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0; /* whoever binds it has the better words */
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (a->sa.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    bool is_taken = bind(fd, (const struct sockaddr *)&a->sa, a->size) < 0 && errno == EADDRINUSE;
    (void)close(fd);
    if (!is_taken)
        return 0;
    return fault_set(fault, ERR_BUSY,
                     "%s%s is in use by another program; choose another address with --%s",
                     type == SOCK_DGRAM ? "UDP " : "", addr_text(a, text), option);
}

static int take_addrs(struct server *s, struct fault *fault)
{
    bool is_root = geteuid() == 0;
    const char *http = s->o->http[0] != 0 ? s->o->http : is_root ? ":80" : ":8080";
    const char *https = s->o->https[0] != 0 ? s->o->https : is_root ? ":443" : ":8443";
    int r = take_addr(s->o->tunnel, "tunnel", &s->addrs.tunnel, fault);
    if (r == 0)
        r = take_addr_or_off(http, "http", &s->addrs.http, fault);
    if (r == 0)
        r = take_addr_or_off(https, "https", &s->addrs.https, fault);
    if (r == 0)
        r = take_addr(s->o->local, "local", &s->local, fault);
    return r;
}

/* What was handed over stands above the options. */
static int take_sockets(struct server *s, struct fault *fault)
{
    struct edge_sockets *k = &s->sockets;
    int r = edge_sockets_take(k, fault);
    if (r < 0)
        return r;
    if (edge_sockets_has(k, SOCKET_TUNNEL))
        s->addrs.tunnel = k->addrs[SOCKET_TUNNEL];
    if (edge_sockets_has(k, SOCKET_HTTP))
        s->addrs.http = k->addrs[SOCKET_HTTP];
    if (edge_sockets_has(k, SOCKET_HTTPS))
        s->addrs.https = k->addrs[SOCKET_HTTPS];
    if (edge_sockets_has(k, SOCKET_LOCAL))
        s->local = k->addrs[SOCKET_LOCAL];
    return 0;
}

static bool is_bound(const struct server *s, enum edge_socket which)
{
    struct addr a;
    return edge_sockets_has(&s->sockets, which) || takeover_has(&s->heir, which, &a);
}

static int check_addrs(const struct server *s, struct fault *fault)
{
    int r = 0;
    if (!is_bound(s, SOCKET_TUNNEL_UDP))
        r = check_free(&s->addrs.tunnel, SOCK_DGRAM, "tunnel", fault);
    if (r == 0 && !is_bound(s, SOCKET_HTTP))
        r = check_free(&s->addrs.http, SOCK_STREAM, "http", fault);
    if (r == 0 && !is_bound(s, SOCKET_HTTPS))
        r = check_free(&s->addrs.https, SOCK_STREAM, "https", fault);
    return r;
}

/* What the local machine can reach: any address becomes loopback. */
static const char *reachable(struct server *s, const struct addr *a)
{
    char text[ADDR_TEXT_BYTES];
    if (addr_is_any(a))
        return arena_fmt(&s->arena, "127.0.0.1:%u", addr_port(a));
    return arena_fmt(&s->arena, "%s", addr_text(a, text));
}

int server_write_addresses(struct server *s, struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    const char *http = s->addrs.http.size > 0
                           ? arena_fmt(&s->arena, "\"%s\"", reachable(s, &s->addrs.http))
                           : "null";
    const char *https = s->addrs.https.size > 0
                            ? arena_fmt(&s->arena, "\"%s\"", reachable(s, &s->addrs.https))
                            : "null";
    const char *text =
        arena_fmt(&s->arena, "{\"tunnel\":\"%s\",\"http\":%s,\"https\":%s,\"local\":\"%s\"}\n",
                  reachable(s, &s->addrs.tunnel), http, https, reachable(s, &s->local));
    return file_write(datadir_file(s->dir.path, "addresses.json", file), slice_str(text), 0644,
                      fault);
}

/* ---- domains and names ---- */

static int take_domains(struct server *s, struct fault *fault)
{
    struct api *api = &s->control.api;
    if (s->o->domain.count > API_DOMAINS_MAX)
        return fault_set(fault, ERR_LIMIT, "--domain: %d of them at most", API_DOMAINS_MAX);
    for (size_t i = 0; i < s->o->domain.count; i++) {
        char *domain = arena_str(&s->arena, slice_str(s->o->domain.items[i]));
        struct slice name = slice_str(domain);
        if (name.n == 0 || name.n > 200 || !http1_is_host(name) || slice_find(name, ':') < name.n ||
            name.p[0] == '[')
            return fault_set(fault, ERR_INVALID, "--domain %s: a domain name is wanted", domain);
        for (char *c = domain; *c != 0; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c |= 0x20;
        for (size_t k = 0; k < api->domain_count; k++)
            if (slice_eq(name, slice_str(api->domains[k])))
                return fault_set(fault, ERR_INVALID, "--domain %s is there twice", domain);
        api->domains[api->domain_count++] = domain;
    }
    if (api->domain_count == 0)
        api->domains[api->domain_count++] = "localhost";
    for (size_t i = 0; i < api->domain_count; i++)
        s->domains[i] = api->domains[i];
    return 0;
}

static int check_advertised(const struct edge_options *o, struct fault *fault)
{
    struct host_port hp;
    if (o->advertise.count > TOKEN_EDGES_MAX)
        return fault_set(fault, ERR_LIMIT, "--advertise: %d of them at most", TOKEN_EDGES_MAX);
    for (size_t i = 0; i < o->advertise.count; i++)
        if (host_port_parse(slice_str(o->advertise.items[i]), &hp) < 0)
            return fault_set(fault, ERR_INVALID,
                             "--advertise %s: host:port is wanted, such as edge.example.com:7844",
                             o->advertise.items[i]);
    return 0;
}

static void take_advertised(struct server *s)
{
    struct api *api = &s->control.api;
    for (size_t i = 0; i < s->o->advertise.count; i++)
        api->edges[api->edge_count++] = slice_str(s->o->advertise.items[i]);
    if (api->edge_count == 0)
        api->edges[api->edge_count++] = slice_str(reachable(s, &s->addrs.tunnel));
}

/* ---- signals ---- */

static void on_signal(struct server *s, uint32_t number)
{
    char file[DATADIR_PATH_BYTES];
    if (number == SIGUSR1) {
        log_info("opening the access log anew");
        if (s->access_log.writer != NULL)
            line_writer_reopen(s->access_log.writer);
        return;
    }
    if (s->is_succeeded && !s->is_hurried) {
        log_info("stopping within the grace period", LSTR("signal", strsignal((int)number)));
        s->is_hurried = true;
        edge_hurry(s->edge, s->o->grace);
        return;
    }
    if (s->is_draining) {
        log_warn("stopping at once", LSTR("signal", strsignal((int)number)));
        if (!s->is_succeeded)
            (void)unlink(datadir_file(s->dir.path, "addresses.json", file));
        log_settle(true);
        _exit(0);
    }
    log_info("stopping: requests under way may end", LSTR("signal", strsignal((int)number)));
    s->is_draining = true;
    edge_notify(s->notify_fd, "STOPPING=1");
    edge_drain(s->edge, loop_mailbox(s->loop), server_drained(s));
}

static void server_run(struct task *t)
{
    struct server *s = container_of(t, struct server, task);
    struct signalfd_siginfo info;
    while (read(watch_fd(s->signals), &info, sizeof info) == (ssize_t)sizeof info)
        on_signal(s, info.ssi_signo);
    watch_wait(s->signals, WATCH_READ);
}

static int watch_signals(struct server *s, struct fault *fault)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    task_init(&s->task, s->loop, server_run);
    if (fd < 0 || watch_open(s->loop, fd, &s->task, &s->signals) < 0)
        return fault_set(fault, ERR_LIMIT, "signals cannot be watched: %s", strerror(errno));
    watch_wait(s->signals, WATCH_READ);
    return 0;
}

/* ---- the run ---- */

/* As many descriptors as may be had: each visitor is one. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_store(struct server *s, struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    struct api *api = &s->control.api;
    api->live = live_new();
    api->rollout = rollout_new();
    api->quick_max = (size_t)s->o->quick_tunnels;
    api->quick_away_us = (int64_t)(s->o->quick_away / NSEC_PER_USEC);
    api->location = "ADT";
    api->started_us = clock_wall_us();
    memcpy(api->pin, s->dir.pin, sizeof api->pin);
    if (api->live == NULL || api->rollout == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    int r =
        store_open(datadir_file(s->dir.path, "adit.db", file), s->dir.seal_key, &api->store, fault);
    return r < 0 ? r : api_init(api, slice_str(s->dir.admin_token), fault);
}

static int start_edge(struct server *s, struct fault *fault)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct edge_conf conf = {
        .workers = edge_upgrade_workers(&s->heir, s->o->workers > 0 ? (unsigned)s->o->workers
                                                  : cores > 0       ? (unsigned)cores
                                                                    : 1),
        .chain_pem = slice_str(s->dir.server.cert_pem),
        .key_pem = slice_str(s->dir.server.key_pem),
        .ca_pem = slice_str(s->dir.ca.cert_pem),
        .ca_key_pem = slice_str(s->dir.ca.key_pem),
        .domains = s->domains,
        .plane = edge_control_plane(&s->control),
        .tunnel = s->addrs.tunnel,
        .http = s->addrs.http,
        .https = s->addrs.https,
        .tunnel_udp_fd = s->sockets.fds[SOCKET_TUNNEL_UDP],
        .tunnel_fd = s->sockets.fds[SOCKET_TUNNEL],
        .http_fd = s->sockets.fds[SOCKET_HTTP],
        .https_fd = s->sockets.fds[SOCKET_HTTPS],
        .from = s->heir.process > 0 ? &s->heir.edge : NULL,
        .is_paused = true,
        .is_successor = edge_sockets_are_any(&s->sockets) || s->heir.process > 0,
        .visitors_max = (size_t)s->o->visitors,
        .head_max = (size_t)s->o->head_max,
        .visitor_handshake = s->o->handshake_timeout,
        .visitor_head = s->o->head_timeout,
        .visitor_idle = s->o->idle_timeout,
        .visitor_stall = s->o->stall_timeout,
        .visitor_rate = (uint64_t)s->o->min_rate,
        .response = s->o->response_timeout,
        .drain = s->o->grace,
        .hold = s->o->hold,
        .metrics_hostnames = (size_t)s->o->metrics_hostnames,
        .access_log = s->access_log,
        .opened = confine_thread,
    };
    memcpy(conf.quic_secret, s->dir.quic_secret, sizeof conf.quic_secret);
    int local_fd = s->heir.local_fd >= 0 ? s->heir.local_fd : s->sockets.fds[SOCKET_LOCAL];
    s->control.is_paused = true;
    s->control.is_shared = s->heir.process > 0;
    int r = edge_control_open(&s->control, s->loop, &s->local, local_fd, fault);
    if (r == 0)
        r = edge_start(&conf, &s->edge, &s->addrs, fault);
    s->giver.given = edge_upgrade_given(&s->sockets) | s->heir.given;
    explicit_bzero(conf.quic_secret, sizeof conf.quic_secret);
    if (r < 0)
        return r;
    s->control.edge = s->edge;
    s->control.api.http_port = s->addrs.http.size > 0 ? addr_port(&s->addrs.http) : 0;
    s->control.api.https_port = s->addrs.https.size > 0 ? addr_port(&s->addrs.https) : 0;
    take_advertised(s);
    edge_control_publish(&s->control);
    return 0;
}

/* Behind everything that is read, before the first thread. */
static int confine(struct server *s, struct fault *fault)
{
    const struct addr *bound[] = { &s->addrs.tunnel, &s->addrs.http, &s->addrs.https, &s->local };
    struct confine *k = &s->confine;
    k->user = s->o->user;
    k->own_dir = s->dir.path;
    const char *logs = access_log_directory(&s->arena, s->o->access_log);
    if (logs == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    if (logs[0] != 0)
        k->write[k->write_count++] = logs;
    for (size_t i = 0; i < sizeof bound / sizeof bound[0]; i++)
        if (bound[i]->size > 0)
            k->ports[k->port_count++] = addr_port(bound[i]);
    int r = confine_mode_of(s->o->sandbox, s->o->no_sandbox, &k->mode, fault);
    return r == 0 ? confine_start(k, fault) : r;
}

/* Behind the confinement, as whoever opens it again when it was rotated. */
static int open_access_log(struct server *s, struct fault *fault)
{
    s->access_log.has_query = s->o->access_log_query;
    return access_log_open(&s->access_log, s->o->access_log, s->o->access_log_format, fault);
}

static int server_open(struct server *s, struct fault *fault)
{
    int r = loop_new(&s->loop);
    if (r < 0)
        return fault_set(fault, r, "the event loop could not be made");
    r = watch_signals(s, fault); /* before the threads, which inherit the mask */
    if (r == 0)
        r = take_domains(s, fault);
    if (r == 0)
        r = check_advertised(s->o, fault);
    if (r == 0) /* before anything is written */
        r = take_addrs(s, fault);
    if (r == 0)
        r = take_sockets(s, fault);
    if (r == 0)
        r = server_inherit(s, fault);
    if (r == 0)
        r = server_open_directory(s, NAMES, fault);
    if (r == 0) /* behind the lock: of two reasons the directory in use is the better one */
        r = check_addrs(s, fault);
    if (r == 0)
        r = open_store(s, fault);
    if (r == 0)
        r = confine(s, fault);
    if (r == 0)
        r = open_access_log(s, fault);
    if (r == 0)
        r = start_edge(s, fault);
    if (r == 0)
        r = confine_bound(&s->confine, fault);
    if (r == 0 && s->access_log.writer != NULL)
        r = line_writer_start(s->access_log.writer, fault);
    return r == 0 ? server_begin(s, fault) : r;
}

static void server_close(struct server *s)
{
    char file[DATADIR_PATH_BYTES];
    if (s->control.loop != NULL)
        edge_control_close(&s->control);
    takeover_giver_close(&s->giver, s->dir.path);
    edge_stop(s->edge);
    takeover_heir_close(&s->heir);
    edge_sockets_close(&s->sockets);
    line_writer_close(s->access_log.writer);
    if (s->edge != NULL && !s->is_succeeded && s->is_serving)
        (void)unlink(datadir_file(s->dir.path, "addresses.json", file));
    if (s->loop != NULL) {
        watch_close(s->signals);
        task_done(&s->task);
        loop_turn(s->loop, 0);
        loop_free(s->loop);
    }
    store_close(s->control.api.store);
    live_free(s->control.api.live);
    rollout_free(s->control.api.rollout);
    datadir_close(&s->dir);
    arena_done(&s->arena);
}

int edge_serve(const struct edge_options *o)
{
    struct server *s = calloc(1, sizeof *s);
    struct fault fault = { 0 };
    char line[FAULT_LINE_BYTES];
    if (s == NULL)
        return 1;
    s->o = o;
    s->dir.lock_fd = -1;
    s->giver.next_fd = -1;
    s->notify_fd = edge_notify_open(); /* before confinement */
    for (size_t i = 0; i < EDGE_SOCKETS; i++)
        s->sockets.fds[i] = -1;
    takeover_heir_init(&s->heir);
    arena_init_secret(&s->arena, 1024 * 1024);
    raise_limits();
    (void)umask(077);
    int r = server_open(s, &fault);
    if (r == 0) {
        pages_forget_code();
        log_info("edge is ready", LSTR("tunnel", reachable(s, &s->addrs.tunnel)),
                 LSTR("http", s->addrs.http.size > 0 ? reachable(s, &s->addrs.http) : "off"),
                 LSTR("https", s->addrs.https.size > 0 ? reachable(s, &s->addrs.https) : "off"),
                 LSTR("local", reachable(s, &s->local)), LSTR("data", s->dir.path),
                 LSTR("version", ADIT_VERSION));
        edge_notify(s->notify_fd, "READY=1");
        loop_run(s->loop);
    } else {
        (void)fprintf(stderr, "adit-edge: %s\n", fault_line(&fault, line));
    }
    server_close(s);
    if (s->notify_fd >= 0)
        (void)close(s->notify_fd);
    free(s);
    return r == 0 ? 0 : 1;
}
