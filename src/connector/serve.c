#include "connector/serve.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/uri.h"
#include "connector/access.h"
#include "connector/access_keys.h"
#include "connector/builtin.h"
#include "connector/byte_service.h"
#include "connector/config_request.h"
#include "connector/edge_rpc.h"
#include "connector/origin.h"
#include "connector/origin_call.h"
#include "connector/origin_h2.h"
#include "connector/origin_target.h"
#include "connector/rewrite.h"
#include "connector/tcp_flow.h"
#include "tunnel/metadata.h"

static const struct metric_desc METRICS[] = {
#define METRIC(k, field, n, l, h) { .name = n, .help = h, .kind = METRIC_##k, .labels = l },
#include "connector/metrics.def"
#undef METRIC
};

struct metric_set *serve_metrics_new(void)
{
    return metric_set_new(METRICS, SERVE_METRICS_COUNT);
}

/* ---- towards an origin ---- */

static void release_ingress(void *i)
{
    ingress_unref(i);
}

/* Cf-Warp-Tag-…: after what the visitor may have sent under that name (docs/protocol.md §9.1). */
static int add_tags(struct serve *s, struct exchange *ex)
{
    int r = 0;
    for (const char *const *tag = s->tags; tag != NULL && tag[0] != NULL && r == 0; tag += 2)
        r = fields_add(&ex->request.fields, slice_str(tag[0]), slice_str(tag[1]));
    return r == 0
               ? fields_add(&ex->request.fields, SLICE("Cf-Warp-Tag-Id"), slice_str(s->connector))
               : r;
}

static int set_host(struct exchange *ex, const struct origin_request *o)
{
    if (o->host_header.n == 0)
        return 0;
    int r = fields_set(&ex->request.fields, SLICE("X-Forwarded-Host"), ex->request.host);
    ex->request.host = o->host_header;
    return r;
}

/* What an upgrade says besides; Connection and Upgrade are the codec's. */
static int set_upgrade(struct exchange *ex)
{
    if (ex->request.upgrade != UPGRADE_WEBSOCKET)
        return 0;
    return fields_set(&ex->request.fields, SLICE("Sec-Websocket-Version"), SLICE("13"));
}

static void ask_origin(struct serve *s, struct exchange *ex, const struct rule *rule,
                       struct ingress *rules)
{
    struct origin_call_opts opts = {
        .no_chunked = rule->request.no_chunked,
        .rule = rule,
        .host = ex->request.host,
        .keep = ingress_ref(rules),
        .release = release_ingress,
    };
    origin_target_tune(&opts.target, &rule->request);
    int r = origin_target_announce(&opts.target, ex, rule->extras);
    if (r == 0)
        r = add_tags(s, ex);
    if (r == 0)
        r = set_upgrade(ex);
    if (r == 0 && rule->service.kind != SERVICE_UNIX)
        r = set_host(ex, &rule->request);
    if (r == 0)
        r = rewrite_request(ex, rule->extras, opts.host);
    if (r < 0) {
        ingress_unref(rules);
        exchange_fail(ex, r == ERR_PARSE ? r : ERR_LIMIT, HOP_CONNECTOR,
                      r == ERR_PARSE ? "what the visitor sent cannot be rewritten by the rule"
                                     : "the request's head is too large");
        return;
    }
    origin_target_aim(&opts.target, ex, rule, &rule->service);
    origin_call_attach(s, ex, &opts);
}

/* ---- choosing ---- */

/* The path decoded, without the query, for the rules alone: what goes to the origin keeps its
 * escapes. */
static struct slice decoded_path(struct exchange *ex)
{
    struct slice path = slice_sub(ex->request.target, 0, slice_find(ex->request.target, '?'));
    struct slice copy = arena_copy(&ex->arena, path);
    size_t n;
    if (copy.p == NULL || uri_unescape(copy, (uint8_t *)(uintptr_t)copy.p, &n) < 0)
        return path;
    return slice_of(copy.p, n);
}

static void edit_builtin(struct exchange *ex, const struct rule *rule)
{
    if (rewrite_response(ex, rule->extras, ex->request.host) < 0)
        exchange_fail(ex, ERR_LIMIT, HOP_CONNECTOR, REWRITE_FAILED);
}

void serve_admitted(struct serve *s, struct exchange *ex, const struct rule *rule,
                    struct ingress *rules)
{
    switch (rule->service.kind) {
    case SERVICE_HTTP:
    case SERVICE_UNIX:
        ask_origin(s, ex, rule, rules);
        break;
    case SERVICE_STATUS:
        builtin_status(ex, rule->service.status);
        edit_builtin(ex, rule);
        break;
    case SERVICE_HELLO:
        builtin_hello(ex);
        edit_builtin(ex, rule);
        break;
    case SERVICE_TCP:
    case SERVICE_BASTION:
    case SERVICE_SOCKS:
        byte_service_attach(s, ex, rule, rules);
        break;
    }
}

static void route(void *ctx, struct exchange *ex, enum connect_type type)
{
    struct serve *s = ctx;
    metric_add(s->metrics, SERVE_requests, 1);
    metric_add(s->metrics, SERVE_concurrent, 1);
    const struct field *ray = fields_get(&ex->request.fields, SLICE("Cf-Ray"));
    if (ray != NULL)
        exchange_take_ray(ex, ray->value);
    if (type == CONNECT_TCP) {
        metric_add(s->metrics, SERVE_tcp_total, 1);
        tcp_flow_attach(s, ex);
        return;
    }
    if (ingress_is_internal(ex->request.host)) {
        builtin_status(ex, 501); /* there is no management service here yet */
        return;
    }
    size_t index = ingress_match_request(s->ingress, &ex->request, decoded_path(ex));
    const struct rule *rule = ingress_rule(s->ingress, index);
    ex->rule = (int)index;
    log_debug("request", LSTR("request", ex->id), LSTR("tunnel", s->tunnel),
              LSLICE("host", ex->request.host), LSLICE("method", ex->request.method),
              LSLICE("target", ex->request.target), LU64("rule", index),
              LSLICE("service", rule->service.text));
    ex->at.routed = loop_now(s->loop);
    if (access_admit(s, ex, rule))
        serve_admitted(s, ex, rule, s->ingress);
}

static void route_h2(void *ctx, struct exchange *ex)
{
    route(ctx, ex, tunnel_h2_type(ex));
}

static void count_failure(struct serve *s, enum failure failure)
{
    metric_add(s->metrics, SERVE_failed_UNKNOWN + (size_t)failure - FAILURE_UNKNOWN, 1);
}

/* The text without the reference's preface, which says nothing of this case. */
static const char *cause_of(const char *text)
{
    if (text == NULL)
        return "";
    return slice_starts(slice_str(text), SLICE(TUNNEL_UNREACHABLE))
               ? text + strlen(TUNNEL_UNREACHABLE)
               : text;
}

/* One line for each request that failed, whatever it was. What a visitor does, or is not allowed to
 * do, is no fault of ours or of the origin's; a connection that breaks off has a line of its own.
 */
static void log_failure(const struct serve *s, const struct exchange *ex, enum failure failure,
                        enum hop hop, const char *why)
{
    bool is_ours = (hop == HOP_CONNECTOR || hop == HOP_ORIGIN) &&
                   failure != FAILURE_ACCESS_DENIED && failure != FAILURE_ACCESS_UNVERIFIED &&
                   failure != FAILURE_ADDRESS_REFUSED;
    if (is_ours)
        log_warn("request failed", LSTR("request", ex->id), LSLICE("host", ex->request.host),
                 LSTR("failure", failure_word(failure)), LSTR("hop", hop_name(hop)),
                 LSTR("why", cause_of(why)), LSTR("tunnel", s->tunnel));
    else
        log_debug("request failed", LSTR("request", ex->id), LSLICE("host", ex->request.host),
                  LSTR("failure", failure_word(failure)), LSTR("hop", hop_name(hop)),
                  LSTR("why", cause_of(why)), LSTR("tunnel", s->tunnel));
}

void serve_failed_within(struct serve *s, const struct exchange *ex, enum failure failure,
                         const char *why)
{
    count_failure(s, failure);
    log_failure(s, ex, failure, failure_row(failure)->hop, why);
}

/* A head that the edge should not have sent: there is no request to name. */
static void refused(void *ctx, enum failure failure, const char *text)
{
    struct serve *s = ctx;
    log_warn("head refused", LSTR("failure", failure_word(failure)),
             LSTR("hop", hop_name(failure_row(failure)->hop)), LSTR("why", cause_of(text)),
             LSTR("tunnel", s->tunnel));
    count_failure(s, failure);
}

static void observe(struct serve *s, size_t row, const struct exchange *ex, nsec at)
{
    if (at > 0)
        metric_observe(s->metrics, row, at > ex->at.received ? at - ex->at.received : 0);
}

static void log_access(struct serve *s, const struct exchange *ex)
{
    const struct field *visitor = fields_get(&ex->request.fields, SLICE("Cf-Connecting-Ip"));
    struct log_field fields[5];
    size_t n = 0;
    if (visitor != NULL)
        fields[n++] = LSLICE("visitor", visitor->value);
    fields[n++] = LSTR("tunnel", s->tunnel);
    fields[n++] = LSTR("connector", s->connector);
    if (ex->connection >= 0)
        fields[n++] = LI64("connection", ex->connection);
    if (ex->rule >= 0)
        fields[n++] = LI64("rule", ex->rule);
    access_log_put(s->access_ring, &s->access_log, ex, ex->request.host, fields, n);
}

static void done(void *ctx, const struct exchange *ex)
{
    struct serve *s = ctx;
    unsigned status = ex->response != NULL ? ex->response->status : 0;
    metric_add(s->metrics, SERVE_concurrent, -1);
    if (ex->verdict.failure != FAILURE_NONE) {
        count_failure(s, ex->verdict.failure);
        log_failure(s, ex, ex->verdict.failure, ex->verdict.hop, ex->verdict.text);
    }
    if (status >= SERVE_CODE_MIN && status < SERVE_CODE_MIN + SERVE_CODES) {
        metric_add(s->metrics, SERVE_responses_1xx + status / 100 - 1, 1);
        metric_bump(&s->codes[status - SERVE_CODE_MIN], 1);
    }
    observe(s, SERVE_first_byte, ex, ex->at.first_byte);
    observe(s, SERVE_duration, ex, ex->at.done);
    if (s->access_ring != NULL)
        log_access(s, ex);
}

static void rpc(void *ctx, struct stream *stream, struct buf *early)
{
    edge_rpc_open(ctx, stream, early);
}

int serve_init(struct serve *s, struct loop *loop, const struct serve_conf *conf)
{
    *s = (struct serve){
        .loop = loop,
        .ingress = ingress_ref(conf->ingress),
        .metrics = conf->metrics,
        .tags = conf->tags,
        .warp = *conf->warp,
        .flows = conf->flows,
        .proxies = conf->proxies,
        .access_log = conf->access_log,
        .access_ring = conf->access_ring,
        .configure = conf->configure,
        .configure_ctx = conf->configure_ctx,
        .head_max = conf->head_max,
    };
    s->origins = origin_pool_new(loop);
    s->origins_h2 = origin_h2_pool_new(loop, conf->head_max);
    s->access_keys = access_keys_new(s);
    (void)uuid_text(conf->connector, s->connector);
    if (conf->tunnel != NULL)
        (void)uuid_text(conf->tunnel, s->tunnel);
    tunnel_server_group_init(&s->streams, loop, s);
    s->streams.route = route;
    s->streams.done = done;
    s->streams.refused = refused;
    s->streams.rpc = rpc;
    if (conf->stream_head > 0)
        s->streams.head = conf->stream_head;
    h2_server_group_init(&s->h2_streams, loop, NULL, route_h2, s);
    s->h2_streams.dialect = &TUNNEL_H2_SERVER;
    s->h2_streams.done = done;
    s->h2_streams.stall = 0; /* the edge watches its visitors */
    list_init(&s->rpcs);
    list_init(&s->requests);
    return s->origins != NULL && s->origins_h2 != NULL && s->access_keys != NULL ? 0 : ERR_NOMEM;
}

void serve_configure(struct serve *s, struct ingress *ingress, const struct warp_routing *warp)
{
    struct ingress *before = s->ingress;
    s->ingress = ingress_ref(ingress);
    s->warp = *warp;
    ingress_unref(before);
}

void serve_done(struct serve *s)
{
    if (s->loop == NULL)
        return;
    tunnel_server_abort(&s->streams);
    h2_server_group_abort(&s->h2_streams);
    edge_rpc_abort(s);
    config_requests_abort(s);
    access_keys_abort(s->access_keys);
    loop_turn(s->loop, 0); /* the exchanges' right sides let go of their origins */
    access_keys_free(s->access_keys);
    origin_h2_pool_free(s->origins_h2);
    origin_pool_free(s->origins);
    ingress_unref(s->ingress);
    s->loop = NULL;
}

size_t serve_part(struct serve *s, unsigned connection, enum parting parting)
{
    return tunnel_server_part(&s->streams, (int)connection, parting) +
           h2_server_group_part(&s->h2_streams, (int)connection, parting);
}

void serve_stream(struct serve *s, struct stream *stream, unsigned extensions)
{
    tunnel_serve(&s->streams, stream, extensions);
}

void serve_h2_stream(struct serve *s, struct h2_stream *stream, const struct h2_head *head,
                     const struct h2_hop *hop)
{
    h2_serve_stream(&s->h2_streams, stream, head, hop);
}
