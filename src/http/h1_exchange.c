#include "base/err.h"
#include "http/h1_head.h"
#include "http/h1_server_int.h"
#include "http/page.h"

bool h1_exchange_is_upgraded(const struct h1_conn *c)
{
    return c->ex->is_upgraded && c->head_sent;
}

/* Moves what arrived towards the origin. */
static int upload_step(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    if (h1_exchange_is_upgraded(c)) {
        if (!ex->up.ended && body_put(&ex->up, &c->in, SIZE_MAX) > 0)
            exchange_wake_right(ex);
        else if (!ex->up.ended && body_is_stuck(&ex->up, &c->in))
            return ERR_NOMEM;
        if (!ex->up.ended && c->in_over && buf_is_empty(&c->in)) {
            body_end(&ex->up);
            exchange_wake_right(ex);
        }
        return 0;
    }
    if (c->reader.is_over || ex->request.upgrade != UPGRADE_NONE)
        return 0;
    uint64_t before = ex->up.total;
    int r = h1_reader_run(&c->reader, &c->in, &ex->up, &ex->arena, &ex->up_trailers);
    if (r == 0)
        body_end(&ex->up);
    c->received += ex->up.total - before;
    if (ex->up.total != before || r == 0)
        exchange_wake_right(ex);
    if (r == ERR_AGAIN && c->in_over && buf_is_empty(&c->in))
        return ERR_CUT;
    return r == ERR_AGAIN ? 0 : r;
}

static int send_interims(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    int r = 0;
    if (ex->wants_body && ex->request.expects_continue && !c->continue_sent &&
        ex->response == NULL && !c->reader.is_over && !c->is_1_0) {
        c->continue_sent = true;
        r = buf_put(&c->out, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    for (; r == 0 && ex->interim != NULL; ex->interim = ex->interim->next) {
        bool is_continue = ex->interim->status == 100;
        if (c->is_1_0 || (is_continue && (c->continue_sent || !ex->request.expects_continue)))
            continue;
        c->continue_sent |= is_continue;
        r = h1_write_interim(&c->out, ex->interim);
    }
    return r;
}

static int send_head(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    if (ex->response == NULL || c->head_sent)
        return 0;
    /* An unread request body would have to be swallowed before the next request: end instead. */
    if (!c->reader.is_over)
        c->keeps_alive = false;
    if (c->group->is_draining)
        c->keeps_alive = false;
    if (ex->is_upgraded && ex->request.upgrade == UPGRADE_NONE)
        return ERR_PROTO;
    if (c->group->head_out != NULL)
        c->group->head_out(c->group->ctx, ex);
    if (!ex->is_upgraded && ex->request.upgrade != UPGRADE_NONE && !ex->up.ended) {
        body_end(&ex->up);
        exchange_wake_right(ex);
    }
    struct h1_response_opts opts = { .is_1_0 = c->is_1_0 };
    if (ex->response->framing == FRAMING_STREAM && c->is_1_0)
        c->keeps_alive = false; /* the end of the connection is the end of the body */
    opts.keeps_alive = c->keeps_alive;
    int r = h1_write_response(&c->out, ex->response, &opts);
    if (r < 0)
        return r;
    h1_writer_init(&c->writer,
                   ex->is_upgraded || c->is_1_0 ? FRAMING_LENGTH : ex->response->framing);
    c->head_sent = true;
    if (ex->is_upgraded)
        task_wake(&c->task); /* what came before the agreement goes up now */
    return 0;
}

/* Moves the body on as far as the transport takes it. What the transport took makes room for more:
 * until it stops, or all is out, for nobody else will wake us. */
static int send_body(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    for (;;) {
        size_t before = buf_len(&ex->down.held);
        int r = c->head_sent ? h1_writer_run(&c->writer, &ex->down, ex->down_trailers, &c->out) : 0;
        size_t moved = before - buf_len(&ex->down.held);
        ex->bytes_down += moved;
        if (moved > 0)
            exchange_wake_right(ex);
        size_t waiting = buf_len(&c->out);
        if (r == 0 && waiting > 0)
            r = stream_write(c->s, &c->out);
        c->given += waiting - buf_len(&c->out);
        if (r < 0)
            return r;
        if (!c->head_sent || buf_is_empty(&ex->down.held))
            return 0;
    }
}

static int answer_failure(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    struct page page;
    page_for_failure(ex->verdict.failure, ex->verdict.text, &page);
    buf_drop(&ex->down.held, buf_len(&ex->down.held));
    ex->down.ended = false;
    return page_respond(ex, &page);
}

/* The response broke off, and what came of it is out: the connection goes with a reset, because
 * what broke off must not look complete. */
static bool is_cut_off(const struct h1_conn *c)
{
    const struct exchange *ex = c->ex;
    return exchange_has_failed(ex) && !ex->down.ended && buf_is_empty(&ex->down.held) &&
           buf_is_empty(&c->out);
}

int h1_exchange_move(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    int r = upload_step(c);
    if (r < 0 && !exchange_has_failed(ex))
        exchange_fail(ex, r, HOP_VISITOR, "the request's body is malformed or was cut off");
    r = 0;
    if (exchange_has_failed(ex) && ex->response == NULL)
        r = answer_failure(c);
    if (r == 0)
        r = send_interims(c);
    if (r == 0)
        r = send_head(c);
    if (r == 0)
        r = send_body(c);
    if (r == 0 && is_cut_off(c))
        r = ERR_CUT;
    if (r < 0)
        return r;
    bool is_out = c->head_sent && body_is_over(&ex->down) && c->writer.is_over;
    return is_out && buf_is_empty(&c->out) ? 0 : ERR_AGAIN;
}
