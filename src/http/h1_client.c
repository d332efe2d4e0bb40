#include "http/h1_client.h"

#include "base/err.h"

#define OUT_BYTES_MAX (HEAD_BYTES_MAX + BODY_BYTES_MAX + 4096)
#define CONTINUE_NSEC NSEC_PER_SEC /* then the body goes without a 100 (RFC 9110 §10.1.1) */

int h1_client_init(struct h1_client *c, struct exchange *ex, struct stream *s, struct task *task,
                   const struct h1_request_opts *opts)
{
    *c = (struct h1_client){ .ex = ex, .s = s };
    c->head_max = opts->head_max > 0 ? opts->head_max : HEAD_BYTES_MAX;
    buf_init(&c->in, loop_chunks(ex->loop), c->head_max + READ_STEP_BYTES);
    buf_init(&c->out, loop_chunks(ex->loop), OUT_BYTES_MAX);
    s->owner = task;
    int r = h1_write_request(&c->out, &ex->request, opts);
    if (r < 0)
        return r;
    bool is_raw = ex->request.framing != FRAMING_STREAM || opts->no_chunked;
    h1_writer_init(&c->up, is_raw ? FRAMING_LENGTH : FRAMING_STREAM);
    c->up.is_over = ex->request.framing == FRAMING_NONE;
    if (ex->request.expects_continue && !c->up.is_over) {
        c->waits_for_continue = true;
        deadline_set(&c->patience, task, loop_now(ex->loop) + CONTINUE_NSEC);
    } else {
        ex->wants_body = true;
    }
    ex->at.sent = loop_now(ex->loop);
    return 0;
}

void h1_client_done(struct h1_client *c)
{
    deadline_clear(&c->patience);
    buf_done(&c->in);
    buf_done(&c->out);
}

bool h1_client_has_sent(const struct h1_client *c)
{
    return c->up.is_over && buf_is_empty(&c->out);
}

bool h1_client_is_fresh(const struct h1_client *c)
{
    return !c->got_any && !c->body_taken;
}

static void take_body(struct h1_client *c)
{
    c->waits_for_continue = false;
    deadline_clear(&c->patience);
    if (c->ex->wants_body)
        return;
    c->ex->wants_body = true;
    exchange_wake_left(c->ex);
}

/* ---- towards the origin ---- */

/* One step: what fits of the body into `out`, and that to the origin. */
static int send_step(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    bool is_open = ex->is_upgraded || !c->waits_for_continue;
    if (is_open && !c->up.is_over) {
        size_t before = buf_len(&ex->up.held);
        int r = h1_writer_run(&c->up, &ex->up, ex->up_trailers, &c->out);
        if (r < 0)
            return r;
        if (before > buf_len(&ex->up.held)) {
            c->body_taken = true;
            exchange_wake_left(ex);
        }
    }
    return buf_is_empty(&c->out) ? 0 : stream_write(c->s, &c->out);
}

static int send_up(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    int r;
    /* What the origin took makes room for more. */
    do {
        r = send_step(c);
    } while (r == 0 && !c->up.is_over && !c->waits_for_continue && !buf_is_empty(&ex->up.held));
    if (ex->is_upgraded && c->up.is_over && buf_is_empty(&c->out))
        stream_finish(c->s);
    return r == ERR_AGAIN ? 0 : r;
}

/* ---- from the origin ---- */

static int take_interim(struct h1_client *c, struct response *r)
{
    if (r->status == 100)
        take_body(c);
    return exchange_interim(c->ex, r);
}

static int take_head(struct h1_client *c)
{
    while (!c->head_in) {
        struct response *r;
        struct h1_response_info info;
        int e = h1_read_response(&c->in, c->head_max, &c->scan, c->ex, &r, &info, &c->text);
        if (e < 0)
            return e;
        c->scan = (struct http1_scan){ 0 };
        if (r->status < 200 && r->status != 101) {
            e = take_interim(c, r);
            if (e < 0)
                return e;
            continue;
        }
        c->head_in = true;
        c->is_reusable = info.keeps_alive;
        if (r->status == 101) {
            h1_reader_init_until_close(&c->down);
            h1_writer_init(&c->up, FRAMING_LENGTH); /* raw from now on */
        } else if (info.until_close) {
            h1_reader_init_until_close(&c->down);
        } else {
            h1_reader_init(&c->down, r->framing, r->length);
        }
        exchange_respond(c->ex, r);
    }
    return 0;
}

static int take_body_down(struct h1_client *c)
{
    struct exchange *ex = c->ex;
    uint64_t before = ex->down.total;
    if (ex->down.ended)
        return 0;
    int r = h1_reader_run(&c->down, &c->in, &ex->down, &ex->arena, &ex->down_trailers);
    if (r == ERR_AGAIN && c->in_over && buf_is_empty(&c->in))
        r = h1_reader_closed(&c->down);
    if (r == 0)
        body_end(&ex->down);
    if (ex->down.total != before || r == 0)
        exchange_wake_left(ex);
    if (r == ERR_PARSE || r == ERR_TOOLARGE) {
        c->text = "the chunks of the response are malformed";
        return ERR_PROTO;
    }
    return r;
}

/* Reads once. 0 when something came, ERR_AGAIN when nothing is wanted or there. */
static int fill(struct h1_client *c)
{
    bool is_full =
        c->head_in && (body_room(&c->ex->down) == 0 || buf_len(&c->in) >= READ_STEP_BYTES);
    if (c->in_over || is_full || c->ex->down.ended)
        return ERR_AGAIN;
    int r = stream_read(c->s, &c->in, READ_STEP_BYTES);
    if (r == 0)
        c->got_any = true;
    if (r == ERR_EOF) {
        c->in_over = true;
        return c->got_any ? 0 : ERR_CUT;
    }
    return r;
}

static int receive(struct h1_client *c)
{
    int r = take_head(c);
    if (r == ERR_AGAIN && c->in_over)
        return ERR_CUT;
    return r < 0 ? r : take_body_down(c);
}

int h1_client_run(struct h1_client *c)
{
    if (deadline_take(&c->patience))
        take_body(c);
    for (unsigned step = 0; step < 8; step++) {
        int up = send_up(c);
        if (up == ERR_NOMEM || up == ERR_LIMIT)
            return up; /* ours: what the origin got of it may be half a chunk, and it waits */
        int r = fill(c);
        bool has_read = r == 0;
        if (r == ERR_AGAIN || r == 0) {
            int e = receive(c);
            if (e < 0 && e != ERR_AGAIN)
                return e;
        } else {
            return c->got_any && r == ERR_EOF ? ERR_CUT : r;
        }
        if (c->head_in && c->ex->down.ended) {
            /* What was not sent yet, or sent too much, spoils the connection for the next exchange.
             */
            if (!c->up.is_over || !buf_is_empty(&c->out) || !buf_is_empty(&c->in) || c->in_over ||
                up < 0)
                c->is_reusable = false;
            return 0;
        }
        /* The origin may stop reading and still answer: its failure to take counts when nothing
         * comes any more. */
        if (up < 0 && !has_read && c->in_over)
            return up;
        if (!has_read)
            return ERR_AGAIN;
    }
    task_wake(c->s->owner);
    return ERR_AGAIN;
}
