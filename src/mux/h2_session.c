#include <stdlib.h>

#include "base/err.h"
#include "mux/h2_int.h"

#define SETTINGS_NSEC   (10 * NSEC_PER_SEC)
#define PONG_NSEC       (10 * NSEC_PER_SEC)
#define LINGER_NSEC     NSEC_PER_SEC /* for the peer to see our GOAWAY and to close its end */
#define FRAME_BYTES     16384
#define OUT_BYTES_MAX   (H2_OUT_BYTES + 1024 * 1024) /* one more header block of any size */
#define SEND_HEAD_BYTES (256 * 1024)
#define IN_STEPS        4
#define LATE_NSEC       (NSEC_PER_SEC / 4) /* no timer is so late unless the process stood still */

static void run(struct task *t);

/* ---- opening ---- */

static void fill_in(struct h2_conf *f)
{
#define DEFAULT(field, value) f->field = f->field != 0 ? f->field : (value)
    DEFAULT(stream_window, H2_STREAM_WINDOW_BYTES);
    DEFAULT(conn_window, H2_CONN_WINDOW_BYTES);
    DEFAULT(frame_bytes, FRAME_BYTES);
    DEFAULT(streams_max, H2_STREAMS_MAX);
    DEFAULT(head_bytes, HEAD_BYTES_MAX);
    DEFAULT(abuse_burst, H2_ABUSE_BURST);
    DEFAULT(abuse_rate, H2_ABUSE_RATE);
    DEFAULT(settings, SETTINGS_NSEC);
    DEFAULT(pong, PONG_NSEC);
    DEFAULT(stall, VISITOR_STALL_MS * NSEC_PER_MSEC);
#undef DEFAULT
}

static nghttp2_option *options(void)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    nghttp2_option_set_max_send_header_block_length(o, SEND_HEAD_BYTES);
    nghttp2_option_set_max_outbound_ack(o, H2_QUEUE_MAX);
#ifdef H2_HAS_RESET_LIMIT
    /* Our own limits decide, with every version of the library. */
    nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
    nghttp2_option_set_max_continuations(o, 2 * H2_CONTINUATIONS_MAX);
#endif
    return o;
}

static int new_session(struct h2_conn *c)
{
    nghttp2_session_callbacks *cb;
    int r = h2_callbacks_new(&cb);
    if (r < 0)
        return r;
    nghttp2_option *o = options();
    if (o == NULL)
        r = ERR_NOMEM;
    else if (c->conf.is_server)
        r = nghttp2_session_server_new2(&c->ng, cb, c, o) == 0 ? 0 : ERR_NOMEM;
    else
        r = nghttp2_session_client_new2(&c->ng, cb, c, o) == 0 ? 0 : ERR_NOMEM;
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(cb);
    return r;
}

static int submit_settings(struct h2_conn *c)
{
    const struct h2_conf *f = &c->conf;
    nghttp2_settings_entry e[8];
    size_t n = 0;
#define SETTING(id, number) e[n++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_##id, (number) }
    SETTING(INITIAL_WINDOW_SIZE, f->stream_window);
    SETTING(MAX_FRAME_SIZE, f->frame_bytes);
    SETTING(MAX_HEADER_LIST_SIZE, f->head_bytes);
    if (f->is_server) {
        SETTING(MAX_CONCURRENT_STREAMS, f->streams_max);
        /* Everybody's share is equal, whatever trees a client makes. */
        SETTING(NO_RFC7540_PRIORITIES, 1);
        if (f->extended_connect)
            SETTING(ENABLE_CONNECT_PROTOCOL, 1);
    } else {
        SETTING(ENABLE_PUSH, 0);
    }
#undef SETTING
    if (nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, e, n) != 0)
        return ERR_NOMEM;
    int r =
        nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, (int32_t)f->conn_window);
    return r == 0 ? 0 : ERR_NOMEM;
}

int h2_open(struct loop *loop, const struct h2_conf *conf, struct stream *under, struct task *owner,
            struct h2_conn **ret)
{
    struct h2_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = loop;
    c->conf = *conf;
    fill_in(&c->conf);
    h2_watch_init(c);
    int r = new_session(c);
    if (r == 0)
        r = submit_settings(c);
    if (r < 0) {
        nghttp2_session_del(c->ng);
        free(c);
        return r;
    }
    list_init(&c->streams);
    list_init(&c->peers);
    list_init(&c->lingerer.node);
    buf_init(&c->in, loop_chunks(loop), READ_STEP_BYTES);
    buf_init(&c->out, loop_chunks(loop), OUT_BYTES_MAX);
    task_init(&c->task, loop, run);
    task_init_late(&c->send, loop, h2_send_run);
    c->owner = owner;
    c->under = under;
    c->abuse_at = c->heard_at = loop_now(loop);
    under->owner = &c->task;
    deadline_set(&c->settings, &c->task, loop_now(loop) + c->conf.settings);
    if (c->conf.keepalive > 0)
        deadline_set(&c->alive, &c->task, loop_now(loop) + c->conf.keepalive);
    task_wake(&c->task);
    *ret = c;
    return 0;
}

/* ---- its end ---- */

static void reap(struct reaper *r)
{
    free(container_of(r, struct h2_conn, reaper));
}

static void free_when_over(struct h2_conn *c)
{
    if (!c->is_released || c->under != NULL)
        return;
    c->is_released = false; /* once */
    list_remove(&c->lingerer.node);
    task_done(&c->task);
    task_done(&c->send);
    loop_reap(c->loop, &c->reaper, reap);
}

static void let_go_of_under(struct h2_conn *c)
{
    deadline_clear(&c->linger);
    buf_done(&c->in);
    buf_done(&c->out);
    stream_release(c->under);
    c->under = NULL;
}

void h2_fail(struct h2_conn *c, int err, uint32_t code, const char *text)
{
    if (c->state == H2_CLOSED)
        return;
    c->state = H2_CLOSED;
    /* What the peer said by GOAWAY tells more than how the connection then ended. */
    if (!c->why.is_peers)
        c->why = (struct h2_why){ .code = code, .text = text };
    c->why.err = err;
    if (nghttp2_session_terminate_session(c->ng, code) == 0)
        h2_send_last(c);
    nghttp2_session_del(c->ng);
    c->ng = NULL;
    list_each(it, &c->streams)
    {
        h2_stream_orphan(container_of(it, struct h2_stream, node), err);
    }
    deadline_clear(&c->settings);
    deadline_clear(&c->alive);
    deadline_clear(&c->stall);
    deadline_set(&c->linger, &c->task, loop_now(c->loop) + LINGER_NSEC);
    task_wake(&c->send);
    task_wake(c->owner);
}

/* Our GOAWAY is out or will never be: what still comes is dropped, until the peer closes its end.
 */
static void run_closed(struct h2_conn *c)
{
    if (c->under == NULL)
        return;
    bool is_over = deadline_take(&c->linger) || c->write_err < 0;
    if (!is_over && buf_is_empty(&c->out))
        stream_finish(c->under);
    for (unsigned step = 0; step < IN_STEPS && !is_over; step++) {
        buf_drop(&c->in, buf_len(&c->in));
        int r = stream_read(c->under, &c->in, READ_STEP_BYTES);
        if (r == ERR_AGAIN)
            return;
        is_over = r < 0 && (r != ERR_EOF || buf_is_empty(&c->out));
        if (r == ERR_EOF && !is_over)
            return;
    }
    if (is_over)
        let_go_of_under(c);
    else
        task_wake(&c->task);
}

static void run_draining(struct h2_conn *c)
{
    if (c->says_going && (c->pinged_at == 0 || deadline_take(&c->linger))) {
        deadline_clear(&c->linger);
        c->says_going = false;
        (void)nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(c->ng), H2_NO_ERROR,
                                    NULL, 0);
        task_wake(&c->send);
    }
    if (!c->says_going && c->stream_count == 0)
        h2_fail(c, ERR_CLOSED, H2_NO_ERROR, "closed in order");
}

void h2_conn_drain(struct h2_conn *c)
{
    if (c->state == H2_CLOSED || c->is_draining)
        return;
    bool has_notice = c->conf.is_server && c->state == H2_OPEN;
    c->is_draining = true;
    c->state = H2_DRAINING;
    if (has_notice && nghttp2_submit_shutdown_notice(c->ng) == 0) {
        /* A round trip passes before the last stream is named: requests that are on their way are
         * served (RFC 9113 §6.8). */
        c->says_going = true;
        h2_conn_ping(c);
        deadline_set(&c->linger, &c->task, loop_now(c->loop) + LINGER_NSEC);
    } else {
        (void)nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(c->ng), H2_NO_ERROR,
                                    NULL, 0);
    }
    task_wake(&c->task);
    task_wake(&c->send);
}

void h2_conn_tell_left(struct h2_conn *c, size_t count)
{
    c->told_left = count;
    if (c->stream_count <= count)
        task_wake(c->owner);
}

void h2_conn_close(struct h2_conn *c, uint32_t code)
{
    h2_fail(c, ERR_CLOSED, code, "closed by us");
}

/* What is written goes out as far as it does at once. */
static void end_now(struct h2_conn *c)
{
    h2_send_run(&c->send);
    if (c->under != NULL) {
        stream_finish(c->under);
        let_go_of_under(c);
    }
    free_when_over(c);
}

static void linger_end(struct lingerer *l)
{
    end_now(container_of(l, struct h2_conn, lingerer));
}

void h2_conn_release(struct h2_conn *c)
{
    if (c == NULL)
        return;
    c->owner = NULL;
    c->is_released = true;
    h2_fail(c, ERR_CLOSED, H2_NO_ERROR, "closed by us");
    if (c->under != NULL)
        loop_linger(c->loop, &c->lingerer, linger_end);
    free_when_over(c);
}

void h2_conn_abort(struct h2_conn *c)
{
    if (c == NULL)
        return;
    c->owner = NULL;
    h2_fail(c, ERR_CLOSED, H2_NO_ERROR, "closed by us");
    c->is_released = true;
    end_now(c);
}

/* ---- reading ---- */

static void fail_of(struct h2_conn *c, int ng_error)
{
    if (c->is_abusive || ng_error == NGHTTP2_ERR_FLOODED)
        h2_fail(c, ERR_LIMIT, H2_ENHANCE_YOUR_CALM, "the peer made too much useless work");
    else if (ng_error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        h2_fail(c, ERR_PROTO, H2_PROTOCOL_ERROR, "what came is not HTTP/2");
    else
        h2_fail(c, ERR_NOMEM, H2_INTERNAL_ERROR, "out of memory");
}

static void feed(struct h2_conn *c)
{
    while (!buf_is_empty(&c->in) && c->state != H2_CLOSED) {
        struct slice part = buf_front(&c->in);
        h2_watch(c, part);
        ssize_t n = c->is_abusive ? 0 : nghttp2_session_mem_recv(c->ng, part.p, part.n);
        if (c->is_abusive || n < 0) {
            fail_of(c, (int)(n < 0 ? n : 0));
            return;
        }
        buf_drop(&c->in, (size_t)n);
        if (c->arrived > 0 && nghttp2_session_consume_connection(c->ng, c->arrived) != 0)
            h2_fail(c, ERR_NOMEM, H2_INTERNAL_ERROR, "out of memory");
        c->arrived = 0;
    }
}

static void run_over(struct h2_conn *c, int r)
{
    if (r == ERR_EOF && c->state == H2_DRAINING && c->stream_count == 0)
        h2_fail(c, ERR_CLOSED, H2_NO_ERROR, "closed in order");
    else
        h2_fail(c, r == ERR_EOF ? ERR_CUT : r, H2_NO_ERROR, "the connection broke off");
}

static void receive(struct h2_conn *c)
{
    for (unsigned step = 0; step < IN_STEPS && c->state != H2_CLOSED; step++) {
        /* A peer that does not read what we answer is not read either. */
        if (c->is_out_full && nghttp2_session_get_outbound_queue_size(c->ng) > H2_QUEUE_MAX)
            return;
        int r = stream_read(c->under, &c->in, READ_STEP_BYTES);
        if (r == ERR_AGAIN) {
            if (c->write_err < 0)
                run_over(c, c->write_err);
            return;
        }
        if (r < 0) {
            run_over(c, r);
            return;
        }
        c->bytes_in += buf_len(&c->in);
        c->heard_at = loop_now(c->loop);
        c->said_at = 0;
        feed(c);
    }
    task_wake(&c->task);
}

/* ---- deadlines ---- */

void h2_conn_ping(struct h2_conn *c)
{
    nsec now = loop_now(c->loop);
    if (c->state == H2_CLOSED || c->pinged_at != 0)
        return;
    if (nghttp2_submit_ping(c->ng, NGHTTP2_FLAG_NONE, NULL) != 0)
        return; /* the next one may fit */
    c->pinged_at = now;
    deadline_set(&c->alive, &c->task, now + c->conf.pong);
    task_wake(&c->send);
}

static nsec next_ping(const struct h2_conn *c)
{
    nsec at = c->conf.keepalive > 0 ? c->heard_at + c->conf.keepalive : NSEC_NEVER;
    nsec asked = c->conf.ask > 0 && c->said_at > 0 ? c->said_at + c->conf.ask : NSEC_NEVER;
    return asked < at ? asked : at;
}

void h2_note_said(struct h2_conn *c)
{
    if (c->said_at != 0)
        return;
    c->said_at = loop_now(c->loop);
    if (c->conf.ask > 0 && c->pinged_at == 0 && c->state != H2_CLOSED)
        deadline_set(&c->alive, &c->task, next_ping(c));
}

/* Since when nothing has come although a PING is not answered yet; 0 = there is none. What comes
 * before its answer is a sign of life as well, and lasts no longer than any. */
static nsec silent_since(const struct h2_conn *c)
{
    if (c->pinged_at == 0)
        return 0;
    return c->heard_at > c->pinged_at ? c->heard_at : c->pinged_at;
}

static void run_alive(struct h2_conn *c)
{
    nsec now = loop_now(c->loop), since = silent_since(c);
    if (since != 0 && now >= since + c->conf.pong + LATE_NSEC) {
        c->pinged_at = since = now; /* we stood still: what came meanwhile is still to be read */
    } else if (since != 0 && now >= since + c->conf.pong) {
        h2_fail(c, ERR_TIMEOUT, H2_NO_ERROR, "the peer gives no sign of life");
        return;
    }
    nsec at = since != 0 ? since + c->conf.pong : next_ping(c);
    if (at == NSEC_NEVER)
        return;
    if (now < at) {
        deadline_set(&c->alive, &c->task, at);
        return;
    }
    h2_conn_ping(c);
}

/* Streams without an owner still deliver what was written, as long as the peer takes some of it. */
static void run_stalled(struct h2_conn *c)
{
    bool is_any_left = false;
    list_each(it, &c->streams)
    {
        struct h2_stream *s = container_of(it, struct h2_stream, node);
        if (!s->is_released)
            continue;
        if (!s->has_moved)
            h2_stream_refuse(s, ERR_TIMEOUT, H2_CANCEL);
        s->has_moved = false;
        is_any_left = true;
    }
    if (is_any_left)
        deadline_set(&c->stall, &c->task, loop_now(c->loop) + c->conf.stall);
}

static void run_deadlines(struct h2_conn *c)
{
    if (c->state != H2_OPENING && c->is_acked)
        deadline_clear(&c->settings);
    if (deadline_take(&c->settings) && (c->state == H2_OPENING || !c->is_acked))
        h2_fail(c, ERR_TIMEOUT, H2_SETTINGS_TIMEOUT, "the peer's SETTINGS did not come");
    if (c->state != H2_CLOSED && deadline_take(&c->alive))
        run_alive(c);
    if (c->state != H2_CLOSED && deadline_take(&c->stall))
        run_stalled(c);
}

/* A header block that cannot be read ends the connection, since those behind it build on it: one
 * field beyond 64 KiB is enough, which the library takes from nobody. Its own stream broke the
 * protocol; the others were cut off, and what they asked for may be asked elsewhere. If that one
 * were asked elsewhere too, it would end every connection that there is. */
static void blame(struct h2_conn *c)
{
    list_each(it, &c->streams)
    {
        struct h2_stream *s = container_of(it, struct h2_stream, node);
        int err = s->id == c->heading ? ERR_PROTO : ERR_CUT;
        if (s->in_err == 0 && !s->is_in_over)
            s->in_err = err;
        if (s->out_err == 0)
            s->out_err = err;
    }
}

/* The library found a fault of the peer. */
static void fail_of_fault(struct h2_conn *c)
{
    const char *text = nghttp2_http2_strerror(c->fault);
    if (c->fault == NGHTTP2_COMPRESSION_ERROR) {
        text = "a header block that cannot be read: one field is larger than 64 KiB, or it is "
               "not valid HPACK";
        blame(c);
    }
    h2_fail(c, ERR_PROTO, c->fault, text);
}

static void run(struct task *t)
{
    struct h2_conn *c = container_of(t, struct h2_conn, task);
    if (c->is_goaway_out)
        fail_of_fault(c);
    if (c->state != H2_CLOSED)
        receive(c);
    if (c->state != H2_CLOSED)
        run_deadlines(c);
    if (c->state == H2_DRAINING)
        run_draining(c);
    if (c->state == H2_CLOSED)
        run_closed(c);
    if (c->under != NULL &&
        (!buf_is_empty(&c->out) || (c->ng != NULL && nghttp2_session_want_write(c->ng))))
        task_wake(&c->send);
    free_when_over(c);
}

/* ---- telling ---- */

enum h2_state h2_conn_state(const struct h2_conn *c)
{
    return c->state;
}

void h2_conn_why(const struct h2_conn *c, struct h2_why *ret)
{
    *ret = c->why;
}

void h2_conn_set_owner(struct h2_conn *c, struct task *owner)
{
    c->owner = owner;
}

void h2_conn_stats(const struct h2_conn *c, struct h2_stats *ret)
{
    uint32_t most =
        c->ng == NULL
            ? 0
            : nghttp2_session_get_remote_settings(c->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    *ret = (struct h2_stats){ .rtt = c->rtt,
                              .heard_at = c->heard_at,
                              .silent_since = silent_since(c),
                              .said_at = c->said_at,
                              .streams = c->stream_count,
                              .streams_max = most,
                              .bytes_in = c->bytes_in,
                              .bytes_out = c->bytes_out,
                              .message_frames = c->message_frames };
}
