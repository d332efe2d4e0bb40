#include "cli/http_call.h"

#include <stdio.h>

#include "base/err.h"
#include "codec/uri.h"
#include "connector/edge_dial.h"
#include "http/h1_client.h"

#define ANSWER_BYTES_MAX (64 * 1024 * 1024)

struct http_call {
    struct task task;
    struct deadline deadline;
    struct loop *loop;
    struct origin_proxies *proxies;
    struct edge_goal goal;
    struct edge_dial dial;
    struct tls_creds *creds; /* for the API and for a proxy over TLS */
    bool is_https;
    struct stream *under; /* TCP, then TLS when it is https */
    struct exchange *ex;
    struct h1_client client;
    bool is_wrapped, is_sending, is_over;
    struct buf body;
    int result;
    char text[256]; /* of a failure; or empty */
};

static int fail(struct http_call *c, int err, const char *why)
{
    (void)snprintf(c->text, sizeof c->text, "%s", why);
    return err;
}

/* ---- the way there ---- */

static int step_dial(struct http_call *c)
{
    int r = edge_dial_run(&c->dial, &c->under);
    return r < 0 && r != ERR_AGAIN ? fail(c, r, c->dial.text) : r;
}

static int step_tls(struct http_call *c)
{
    struct buf none;
    struct stream *tls;
    if (!c->is_wrapped) {
        int r = tls_connect(c->loop, c->creds, c->goal.host, c->under, &c->task, &tls);
        if (r < 0)
            return r;
        c->under = tls;
        c->is_wrapped = true;
    }
    if (tls_is_ready(c->under))
        return 0;
    buf_init(&none, loop_chunks(c->loop), 0);
    int r = stream_read(c->under, &none, 0);
    buf_done(&none);
    if (r == 0 || r == ERR_AGAIN)
        return ERR_AGAIN;
    return tls_failure(c->under)[0] != 0 ? fail(c, r, tls_failure(c->under)) : r;
}

/* A proxy that is no tunnel is told the whole address (RFC 9112 §3.2.2). */
static int begin(struct http_call *c)
{
    struct h1_request_opts opts = { 0 };
    bool is_socks = c->goal.proxy != NULL && c->goal.proxy->scheme == PROXY_SOCKS5;
    if (c->goal.proxy != NULL && c->goal.is_forwarded && !is_socks) {
        const char *absolute =
            arena_fmt(&c->ex->arena, "http://%.*s", SLICE_FMT(c->ex->request.host));
        if (absolute == NULL)
            return ERR_NOMEM;
        opts.absolute = slice_str(absolute);
        opts.proxy_authorization = c->goal.proxy->authorization;
    }
    c->is_sending = true;
    return h1_client_init(&c->client, c->ex, c->under, &c->task, &opts);
}

static int reach(struct http_call *c)
{
    int r = c->under == NULL ? step_dial(c) : 0;
    if (r == 0 && c->is_https)
        r = step_tls(c);
    return r == 0 && !c->is_sending ? begin(c) : r;
}

/* ---- the call ---- */

static void end(struct http_call *c, int result)
{
    c->is_over = true;
    c->result = result;
}

static void call_run(struct task *t)
{
    struct http_call *c = container_of(t, struct http_call, task);
    if (c->is_over)
        return;
    int r = deadline_take(&c->deadline) ? ERR_TIMEOUT : reach(c);
    while (r == 0 && !c->is_over) {
        r = h1_client_run(&c->client);
        (void)buf_move(&c->body, &c->ex->down.held, SIZE_MAX);
        if (buf_room(&c->body) == 0)
            r = ERR_TOOLARGE;
        if (r == 0 && buf_is_empty(&c->ex->down.held))
            end(c, 0);
    }
    if (r < 0 && r != ERR_AGAIN)
        end(c, r);
}

static int fill_request(struct exchange *ex, const char *method, const struct uri *u,
                        struct slice bearer, struct slice body)
{
    struct request *q = &ex->request;
    struct fields *f = &q->fields;
    q->method = slice_str(method);
    q->host = u->authority;
    const char *target = arena_fmt(&ex->arena, "%.*s%s%.*s", SLICE_FMT(u->path),
                                   u->has_query ? "?" : "", SLICE_FMT(u->query));
    const char *token = arena_fmt(&ex->arena, "Bearer %.*s", SLICE_FMT(bearer));
    if (target == NULL || token == NULL)
        return ERR_NOMEM;
    q->target = slice_str(target);
    q->has_length = body.p != NULL;
    q->length = body.n;
    q->framing = body.n > 0 ? FRAMING_LENGTH : FRAMING_NONE;
    int r = fields_add(f, SLICE("User-Agent"), SLICE("adit/" ADIT_VERSION));
    if (r == 0)
        r = fields_add(f, SLICE("Accept"), SLICE("application/json;version=1"));
    if (r == 0 && bearer.n > 0)
        r = fields_add(f, SLICE("Authorization"), slice_str(token));
    if (r == 0 && body.p != NULL)
        r = fields_add(f, SLICE("Content-Type"), SLICE("application/json"));
    if (r == 0 && body.n > 0)
        r = buf_put(&ex->up.held, body);
    body_end(&ex->up);
    return r;
}

static int take_answer(struct http_call *c, struct arena *arena, struct http_answer *ret)
{
    const struct field *type = fields_get(&c->ex->response->fields, SLICE("content-type"));
    size_t n = buf_len(&c->body);
    uint8_t *p = arena_alloc(arena, n + 1);
    if (p == NULL)
        return ERR_NOMEM;
    (void)buf_copy(&c->body, 0, p, n);
    ret->status = c->ex->response->status;
    ret->body = slice_of(p, n);
    ret->content_type = type != NULL ? arena_copy(arena, type->value) : SLICE("");
    return 0;
}

/* Whom to ask, and through what. */
static int aim(struct http_call *c, const struct uri *u, struct slice ca_pem, struct fault *fault)
{
    const struct tls_client_opts opts = { .system_roots = true, .verify = true, .ca_pem = ca_pem };
    c->is_https = slice_eq_nocase(u->scheme, SLICE("https"));
    c->goal = (struct edge_goal){
        .host = u->at.host,
        .port = u->at.has_port ? u->at.port : uri_default_port(u->scheme),
        .is_forwarded = !c->is_https,
    };
    int r = api_proxies_from_environment(&c->proxies);
    if (r < 0)
        return fault_set(fault, r, "out of memory");
    c->goal.proxy = origin_proxy_for(c->proxies, c->is_https, c->goal.host, c->goal.port);
    bool needs_tls = c->is_https || (c->goal.proxy != NULL && c->goal.proxy->scheme == PROXY_HTTPS);
    if (needs_tls)
        r = tls_creds_client(&opts, &c->creds, fault);
    c->goal.proxy_tls = c->creds;
    return r;
}

static int run(struct http_call *c, const char *method, const struct uri *u, struct slice bearer,
               struct slice body, nsec timeout)
{
    task_init(&c->task, c->loop, call_run);
    c->ex = exchange_new(c->loop, &c->task);
    if (c->ex == NULL)
        return ERR_NOMEM;
    buf_init(&c->body, loop_chunks(c->loop), ANSWER_BYTES_MAX);
    int r = fill_request(c->ex, method, u, bearer, body);
    if (r == 0) {
        r = edge_dial_start(&c->dial, c->loop, &c->goal, &c->task);
        if (r < 0)
            return fail(c, r, c->dial.text);
    }
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + timeout);
    task_wake(&c->task);
    while (r == 0 && !c->is_over)
        loop_turn(c->loop, -1);
    deadline_clear(&c->deadline);
    return r < 0 ? r : c->result;
}

static void done(struct http_call *c)
{
    if (c->loop != NULL) {
        if (c->is_sending)
            h1_client_done(&c->client);
        edge_dial_done(&c->dial);
        stream_release(c->under);
        if (c->ex != NULL)
            exchange_leave(c->ex, EX_LEFT);
        task_done(&c->task);
        buf_done(&c->body);
        loop_turn(c->loop, 0);
        loop_free(c->loop);
    }
    tls_creds_unref(c->creds);
    origin_proxies_free(c->proxies);
}

int http_call(const char *method, struct slice url, struct slice bearer, struct slice body,
              struct slice ca_pem, nsec timeout, struct arena *arena, struct http_answer *ret,
              struct fault *fault)
{
    struct http_call c = { 0 };
    struct uri u;
    if (uri_parse(url, &u) < 0 || !u.has_authority)
        return fault_set(fault, ERR_INVALID, "%.*s is not a URL", SLICE_FMT(url));
    int r = aim(&c, &u, ca_pem, fault);
    if (r == 0) {
        r = loop_new(&c.loop);
        if (r == 0)
            r = run(&c, method, &u, bearer, body, timeout);
        if (r == 0)
            r = take_answer(&c, arena, ret);
        if (r < 0)
            (void)fault_set(fault, r, "%.*s cannot be reached: %s", SLICE_FMT(u.authority),
                            c.text[0] != 0 ? c.text : err_text(r));
    }
    done(&c);
    return r;
}
