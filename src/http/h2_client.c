#include "http/h2_client.h"

#include "base/err.h"
#include "http/h2_fields.h"

#define CONTINUE_NSEC NSEC_PER_SEC /* then the body goes without a 100 (RFC 9110 §10.1.1) */
#define STEPS         8

/* ---- the request ---- */

static bool is_bodied(struct slice method)
{
    return slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT")) ||
           slice_eq(method, SLICE("PATCH"));
}

static int plain_request(struct exchange *ex, struct h2_send_head *ret, bool *ret_ends)
{
    const struct request *q = &ex->request;
    struct h2_field *fields;
    size_t count, first = 1;
    int r = h2_fields_out(&q->fields, &ex->arena, 1, &fields, &count);
    if (r < 0)
        return r;
    *ret_ends = q->framing == FRAMING_NONE;
    if (q->framing == FRAMING_LENGTH || q->has_length || (*ret_ends && is_bodied(q->method))) {
        r = h2_field_length(q->length, &ex->arena, &fields[0]);
        if (r < 0)
            return r;
        first = 0;
    }
    *ret = (struct h2_send_head){ .method = q->method,
                                  .scheme = SLICE("https"),
                                  .authority = q->host,
                                  .path = q->target.n > 0 ? q->target : SLICE("/"),
                                  .fields = fields + first,
                                  .count = count - first };
    return 0;
}

int h2_client_init(struct h2_client *c, struct exchange *ex, struct h2_conn *conn,
                   struct task *task, const struct h2_client_dialect *dialect)
{
    struct h2_send_head head;
    *c = (struct h2_client){ .ex = ex, .dialect = dialect };
    int r = dialect != NULL ? dialect->request(ex, &head, &c->is_up_over)
                            : plain_request(ex, &head, &c->is_up_over);
    if (r == 0)
        r = h2_conn_request(conn, &head, c->is_up_over, task, &c->s);
    if (r < 0)
        return r;
    buf_init(&c->in, loop_chunks(ex->loop), READ_STEP_BYTES);
    if (ex->request.expects_continue && !c->is_up_over) {
        c->waits_for_continue = true;
        deadline_set(&c->patience, task, loop_now(ex->loop) + CONTINUE_NSEC);
    } else {
        ex->wants_body = true;
    }
    ex->at.sent = loop_now(ex->loop);
    return 0;
}

void h2_client_done(struct h2_client *c)
{
    deadline_clear(&c->patience);
    buf_done(&c->in);
    if (c->s != NULL)
        stream_release(h2_stream_body(c->s));
    c->s = NULL;
}

bool h2_client_is_fresh(const struct h2_client *c)
{
    return !c->got_any && !c->body_taken;
}

static void take_body(struct h2_client *c)
{
    c->waits_for_continue = false;
    deadline_clear(&c->patience);
    if (c->ex->wants_body)
        return;
    c->ex->wants_body = true;
    exchange_wake_left(c->ex);
}

/* ---- towards the origin ---- */

static int send_trailers(struct h2_client *c)
{
    struct exchange *ex = c->ex;
    struct h2_field *fields;
    size_t count;
    if (ex->up_trailers == NULL)
        return 0;
    int r = h2_fields_out(ex->up_trailers, &ex->arena, 0, &fields, &count);
    return r < 0 ? r : h2_stream_set_trailers(c->s, fields, count);
}

static int send_up(struct h2_client *c)
{
    struct exchange *ex = c->ex;
    size_t before = buf_len(&ex->up.held);
    /* An upgrade's bytes wait until the other side agreed. */
    bool waits = c->waits_for_continue || (ex->request.upgrade != UPGRADE_NONE && !ex->is_upgraded);
    if (c->is_up_over || waits)
        return 0;
    int r = before > 0 ? stream_write(h2_stream_body(c->s), &ex->up.held) : 0;
    if (before > buf_len(&ex->up.held)) {
        c->body_taken = true;
        exchange_wake_left(ex);
    }
    if (r < 0 || !body_is_over(&ex->up))
        return r == ERR_AGAIN ? 0 : r;
    c->is_up_over = true;
    r = send_trailers(c);
    stream_finish(h2_stream_body(c->s));
    return r;
}

/* ---- from the origin ---- */

static bool has_no_body(const struct exchange *ex, const struct h2_head *h)
{
    return h->ends || h->status < 200 || h->status == 204 || h->status == 304 ||
           slice_eq(ex->request.method, SLICE("HEAD"));
}

static int plain_response(struct h2_client *c, const struct h2_head *h, struct response **ret)
{
    struct exchange *ex = c->ex;
    struct response *r = response_new(ex, h->status);
    if (r == NULL)
        return ERR_NOMEM;
    *ret = r;
    r->has_length = h->has_length;
    r->length = h->length;
    r->framing = has_no_body(ex, h) ? FRAMING_NONE
                 : h->has_length    ? FRAMING_LENGTH
                                    : FRAMING_STREAM;
    /* Nothing follows this head: that is how long the body is. */
    if (h->ends && h->status >= 200 && !h->has_length && h->status != 204 && h->status != 304 &&
        !slice_eq(ex->request.method, SLICE("HEAD")))
        r->has_length = true;
    return h2_fields_in(h, &r->fields);
}

static int take_head(struct h2_client *c, const struct h2_head *h)
{
    struct response *r;
    int e = c->dialect != NULL ? c->dialect->response(c, h, &r) : plain_response(c, h, &r);
    if (e < 0)
        return e;
    c->got_any = true;
    if (r->status < 200 && r->status != 101) {
        if (r->status == 100)
            take_body(c);
        return exchange_interim(c->ex, r);
    }
    c->is_head_in = true;
    c->down_left = r->framing == FRAMING_LENGTH                        ? r->length
                   : r->framing == FRAMING_NONE && !(r->status == 101) ? 0
                                                                       : UINT64_MAX;
    exchange_respond(c->ex, r);
    return 0;
}

static int take_heads(struct h2_client *c)
{
    const struct h2_head *h;
    while (!c->is_head_in) {
        int r = h2_stream_head(c->s, &h);
        if (r == 0)
            r = take_head(c, h);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_end(struct h2_client *c)
{
    struct exchange *ex = c->ex;
    const struct h2_head *h = h2_stream_trailers(c->s);
    if (h != NULL) {
        struct fields *f = arena_alloc(&ex->arena, sizeof *f);
        if (f == NULL)
            return ERR_NOMEM;
        fields_init(f, &ex->arena);
        int r = h2_fields_in(h, f);
        if (r < 0)
            return r;
        ex->down_trailers = f;
    }
    body_end(&ex->down);
    exchange_wake_left(ex);
    /* Our half of an upgrade ends in order with the other's. */
    if (ex->is_upgraded && !c->is_up_over) {
        c->is_up_over = true;
        stream_finish(h2_stream_body(c->s));
    }
    return 0;
}

/* 0 when something moved. */
static int take_down(struct h2_client *c)
{
    struct exchange *ex = c->ex;
    size_t room = body_room(&ex->down);
    if (room == 0)
        return ERR_AGAIN;
    /* What was read and found no place comes before anything else, the end above all. */
    int r = buf_is_empty(&c->in) ? stream_read(h2_stream_body(c->s), &c->in, room) : 0;
    if (r ==
        ERR_EOF) /* the library holds bodies to a length only where that is a field of HTTP/2 */
        return c->down_left > 0 && c->down_left != UINT64_MAX ? ERR_CUT : take_end(c);
    if (r < 0)
        return r;
    size_t n = body_put(&ex->down, &c->in, c->down_left < SIZE_MAX ? c->down_left : SIZE_MAX);
    if (n == 0 && c->down_left > 0)
        return body_is_stuck(&ex->down, &c->in) ? ERR_NOMEM : 0;
    c->down_left -= c->down_left != UINT64_MAX ? n : 0;
    if (c->down_left == 0 && !buf_is_empty(&c->in))
        body_end(&ex->down); /* what is beyond is not of it */
    exchange_wake_left(ex);
    return 0;
}

/* ---- both ---- */

static const char *text_of(const struct h2_client *c, int err)
{
    switch (h2_stream_code(c->s)) {
    case H2_PROTOCOL_ERROR:
        return "the HTTP/2 response is malformed";
    case H2_REFUSED_STREAM:
        return "the origin refused the HTTP/2 stream";
    case H2_HTTP_1_1_REQUIRED:
        return "the origin demands HTTP/1.1";
    case H2_NO_ERROR:
        break;
    default:
        return "the origin reset the HTTP/2 stream";
    }
    return err == ERR_CUT && !c->got_any ? "the origin closed the connection without an answer"
                                         : err_text(err);
}

static int step(struct h2_client *c)
{
    int r = take_heads(c);
    return r < 0 ? r : take_down(c);
}

int h2_client_run(struct h2_client *c)
{
    int r = 0;
    if (deadline_take(&c->patience))
        take_body(c);
    for (unsigned n = 0; n < STEPS && r == 0; n++) {
        int up = send_up(c);
        r = step(c);
        if (c->ex->down.ended)
            return 0;
        if (r == ERR_AGAIN && up == 0) /* a head may have opened the way up */
            up = send_up(c);
        /* The origin may stop reading and still answer; memory is ours. */
        if (up == ERR_NOMEM || up == ERR_LIMIT)
            r = up;
    }
    if (r == ERR_AGAIN)
        return r;
    if (r == 0) {
        task_wake(h2_stream_body(c->s)->owner);
        return ERR_AGAIN;
    }
    c->was_refused = h2_stream_was_refused(c->s);
    if (r != ERR_ORIGIN)
        c->text = text_of(c, r);
    return r;
}
