#include "connector/origin_target.h"

#include <netinet/in.h>

#include "base/err.h"
#include "codec/proxy_protocol.h"
#include "codec/uri.h"
#include "connector/client_identity.h"
#include "connector/rewrite.h"

#define KEEPALIVE_PRESET     (15 * NSEC_PER_SEC) /* what the reference's dialler takes 0 for */
#define IDLE_PRESET          2                   /* and its pool */
#define IDLE_CONNECTIONS_MAX 1000000

/* 0 = never; what is less than nothing is over at once. */
static nsec timeout_of(int64_t t)
{
    return t < 0 ? 1 : (nsec)t;
}

void origin_target_tune(struct origin_target *t, const struct origin_request *o)
{
    t->connect_timeout = timeout_of(o->connect_timeout);
    t->tls_timeout = timeout_of(o->tls_timeout);
    t->tcp_keepalive = o->tcp_keepalive == 0  ? KEEPALIVE_PRESET
                       : o->tcp_keepalive < 0 ? 0
                                              : (nsec)o->tcp_keepalive;
    t->no_happy_eyeballs = o->no_happy_eyeballs;
    t->idle_timeout = o->keepalive_timeout > 0 ? (nsec)o->keepalive_timeout : 0;
    t->idle_max = o->keepalive_connections == 0  ? IDLE_PRESET
                  : o->keepalive_connections < 0 ? 0
                  : o->keepalive_connections < IDLE_CONNECTIONS_MAX
                      ? (unsigned)o->keepalive_connections
                      : IDLE_CONNECTIONS_MAX;
}

static struct slice tls_name_of(const struct exchange *ex, const struct rule *rule,
                                const struct service *service)
{
    bool is_unix = service->kind == SERVICE_UNIX;
    struct host_port at;
    if (rule->request.match_sni && !is_unix && host_port_parse(ex->request.host, &at) == 0)
        return at.host;
    if (rule->request.server_name.n > 0)
        return rule->request.server_name;
    return is_unix ? SLICE("localhost") : service->host;
}

void origin_target_aim(struct origin_target *t, const struct exchange *ex, const struct rule *rule,
                       const struct service *service)
{
    t->host = service->host;
    t->port = service->port;
    t->is_unix = service->kind == SERVICE_UNIX;
    t->kept = rule->kept;
    /* A websocket needs a connection of its own, and so does what a PROXY header speaks of. */
    t->offers_h2 = service->is_tls && rule->tls_h2 != NULL && !t->refuses_h2 &&
                   ex->request.upgrade == UPGRADE_NONE && t->prelude.n == 0;
    origin_target_done(t);
    if (service->is_tls)
        t->held = rule_creds(rule, t->offers_h2, loop_now(ex->loop));
    t->tls = t->held;
    t->tls_name = t->tls != NULL ? tls_name_of(ex, rule, service) : (struct slice){ 0 };
}

void origin_target_done(struct origin_target *t)
{
    tls_creds_unref(t->held);
    t->held = t->tls = NULL;
}

/* ---- proxies ---- */

void origin_target_route(struct origin_target *t, const struct origin_proxies *proxies)
{
    t->proxy = t->is_unix || t->prelude.n > 0
                   ? NULL
                   : origin_proxy_for(proxies, t->tls != NULL, t->host, t->port);
}

int origin_target_address(const struct origin_target *t, struct exchange *ex,
                          struct h1_request_opts *ret)
{
    if (t->proxy == NULL || t->tls != NULL)
        return 0;
    bool is_ipv6 = slice_find(t->host, ':') < t->host.n;
    const char *absolute = t->port == 80
                               ? arena_fmt(&ex->arena, "http://%s%.*s%s", is_ipv6 ? "[" : "",
                                           SLICE_FMT(t->host), is_ipv6 ? "]" : "")
                               : arena_fmt(&ex->arena, "http://%s%.*s%s:%u", is_ipv6 ? "[" : "",
                                           SLICE_FMT(t->host), is_ipv6 ? "]" : "", t->port);
    ret->absolute = slice_str(absolute);
    ret->proxy_authorization = t->proxy->authorization;
    return absolute != NULL ? 0 : ERR_NOMEM;
}

/* ---- the PROXY protocol ---- */

/* The port that the visitor asked for. */
static uint16_t asked_port(const struct exchange *ex)
{
    const struct field *scheme = fields_get(&ex->request.fields, SLICE("X-Forwarded-Proto"));
    struct host_port at;
    if (host_port_parse(ex->request.host, &at) == 0 && at.has_port)
        return at.port;
    return scheme != NULL && slice_eq(scheme->value, SLICE("https")) ? 443 : 80;
}

/* The visitor's port and the address that it asked are the edge's alone: they are said to be 0. */
static struct proxy_header header_of(const struct exchange *ex)
{
    struct proxy_header h = { 0 };
    struct addr a;
    if (!rewrite_visitor_addr(ex, &a))
        return h;
    if (a.sa.ss_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, &a.sa, sizeof four);
        memcpy(h.source, &four.sin_addr, sizeof four.sin_addr);
        h.family = PROXY_TCP4;
    } else {
        struct sockaddr_in6 six;
        memcpy(&six, &a.sa, sizeof six);
        memcpy(h.source, &six.sin6_addr, sizeof six.sin6_addr);
        h.family = PROXY_TCP6;
    }
    h.destination_port = asked_port(ex);
    return h;
}

int origin_target_announce(struct origin_target *t, struct exchange *ex,
                           const struct rule_extras *x)
{
    if (x == NULL || x->proxy_protocol == 0)
        return 0;
    struct proxy_header h = header_of(ex);
    uint8_t *out = arena_alloc(&ex->arena, PROXY_OUT_BYTES);
    if (out == NULL)
        return ERR_NOMEM;
    t->prelude =
        slice_of(out, x->proxy_protocol == 1 ? proxy_v1_encode(&h, out) : proxy_v2_encode(&h, out));
    return 0;
}
