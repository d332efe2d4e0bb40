#include "cli/http_call.h"

#include "base/err.h"
#include "codec/uri.h"
#include "connector/origin.h"
#include "http/h1_client.h"

#define ANSWER_BYTES_MAX (64 * 1024 * 1024)

struct http_call {
    struct task task;
    struct deadline deadline;
    struct loop *loop;
    struct origin_pool *pool;
    struct origin_conn *conn;
    struct exchange *ex;
    struct h1_client client;
    bool is_sending, is_over;
    struct buf body;
    int result;
};

static void end(struct http_call *c, int result)
{
    c->is_over = true;
    c->result = result;
}

static void call_run(struct task *t)
{
    struct http_call *c = container_of(t, struct http_call, task);
    struct h1_request_opts opts = { 0 };
    int r = deadline_take(&c->deadline) ? ERR_TIMEOUT : 0;
    if (c->is_over)
        return;
    if (r == 0 && !c->is_sending) {
        r = origin_run(c->conn);
        if (r == 0) {
            c->is_sending = true;
            r = h1_client_init(&c->client, c->ex, origin_stream(c->conn), &c->task, &opts);
        }
    }
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

static int run(struct http_call *c, const char *method, const struct uri *u, struct slice bearer,
               struct slice body, struct tls_creds *tls, nsec timeout)
{
    struct origin_target target = {
        .host = u->at.host,
        .port = u->at.has_port ? u->at.port
                : tls != NULL  ? 443
                               : 80,
        .tls = tls,
        .tls_name = u->at.host,
        .connect_timeout = timeout,
        .tls_timeout = timeout,
    };
    c->pool = origin_pool_new(c->loop);
    c->ex = exchange_new(c->loop, &c->task);
    if (c->pool == NULL || c->ex == NULL)
        return ERR_NOMEM;
    buf_init(&c->body, loop_chunks(c->loop), ANSWER_BYTES_MAX);
    task_init(&c->task, c->loop, call_run);
    int r = fill_request(c->ex, method, u, bearer, body);
    if (r == 0)
        r = origin_open(c->pool, &target, true, &c->task, &c->conn);
    deadline_set(&c->deadline, &c->task, loop_now_fresh(c->loop) + timeout);
    task_wake(&c->task);
    while (r == 0 && !c->is_over)
        loop_turn(c->loop, -1);
    deadline_clear(&c->deadline);
    if (c->is_sending)
        h1_client_done(&c->client);
    return r < 0 ? r : c->result;
}

int http_call(const char *method, struct slice url, struct slice bearer, struct slice body,
              nsec timeout, struct arena *arena, struct http_answer *ret, struct fault *fault)
{
    struct http_call c = { 0 };
    struct uri u;
    struct tls_creds *tls = NULL;
    struct tls_client_opts opts = { .system_roots = true, .verify = true };
    if (uri_parse(url, &u) < 0 || !u.has_authority)
        return fault_set(fault, ERR_INVALID, "%.*s is not a URL", SLICE_FMT(url));
    int r = 0;
    if (slice_eq(u.scheme, SLICE("https")))
        r = tls_creds_client(&opts, &tls, fault);
    if (r == 0)
        r = loop_new(&c.loop);
    if (r < 0)
        return r;
    r = run(&c, method, &u, bearer, body, tls, timeout);
    if (r == 0)
        r = take_answer(&c, arena, ret);
    if (r < 0)
        (void)fault_set(fault, r, "%.*s cannot be reached: %s", SLICE_FMT(u.authority),
                        c.conn != NULL && origin_failure(c.conn)[0] != 0 ? origin_failure(c.conn)
                                                                         : err_text(r));
    origin_close(c.conn);
    origin_pool_free(c.pool);
    if (c.ex != NULL)
        exchange_leave(c.ex, EX_LEFT);
    task_done(&c.task);
    buf_done(&c.body);
    loop_turn(c.loop, 0);
    loop_free(c.loop);
    tls_creds_unref(tls);
    return r;
}
