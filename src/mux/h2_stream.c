#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "mux/h2_int.h"

static const struct stream_ops H2_STREAM_OPS;

static struct h2_stream *stream_of(const struct stream *s)
{
    return (struct h2_stream *)(void *)((char *)(uintptr_t)s - offsetof(struct h2_stream, body));
}

struct h2_stream *h2_stream_new(struct h2_conn *c, int32_t id)
{
    struct h2_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->body.ops = &H2_STREAM_OPS;
    s->conn = c;
    s->loop = c->loop;
    s->id = id;
    s->has_moved = true;
    list_init(&s->peer);
    /* Flow control bounds what arrives; the buffer's own bound is the last resort. */
    buf_init(&s->in, loop_chunks(c->loop), c->conf.stream_window + READ_STEP_BYTES);
    buf_init(&s->unsent, loop_chunks(c->loop), STREAM_SEND_BYTES_MAX);
    list_push_back(&c->streams, &s->node);
    c->stream_count++;
    return s;
}

static void reap(struct reaper *r)
{
    struct h2_stream *s = container_of(r, struct h2_stream, reaper);
    while (s->heads != NULL) {
        struct h2_head *next = s->heads->next;
        h2_head_free(s->heads);
        s->heads = next;
    }
    h2_head_free(s->incoming);
    h2_head_free(s->trailers);
    free(s->trailers_out);
    buf_done(&s->in);
    buf_done(&s->unsent);
    free(s);
}

/* The connection does not know it any more. */
static void leave_conn(struct h2_stream *s)
{
    struct h2_conn *c = s->conn;
    if (c == NULL)
        return;
    list_remove(&s->node);
    s->conn = NULL;
    c->stream_count--;
    if (c->wants_room || c->stream_count <= c->told_left) {
        c->wants_room = false;
        task_wake(c->owner);
    }
    if (c->state == H2_DRAINING)
        task_wake(&c->task);
}

void h2_stream_destroy(struct h2_stream *s)
{
    list_remove(&s->peer);
    leave_conn(s);
    loop_reap(s->loop, &s->reaper, reap);
}

/* Nobody will ask for it: it was let go, or never taken. */
static bool is_nobodys(const struct h2_stream *s)
{
    return s->is_released || list_has_neighbours(&s->peer) ||
           (s->conn != NULL && s->conn->conf.is_server && !s->has_final);
}

static void end(struct h2_stream *s, int in_err, int out_err)
{
    bool is_nobody = is_nobodys(s);
    if (s->in_err == 0 && !s->is_in_over)
        s->in_err = in_err;
    if (s->out_err == 0)
        s->out_err = out_err;
    buf_drop(&s->unsent, buf_len(&s->unsent));
    leave_conn(s);
    if (is_nobody)
        h2_stream_destroy(s);
    else
        task_wake(s->body.owner);
}

void h2_stream_orphan(struct h2_stream *s, int why)
{
    end(s, why, why);
}

static int err_of(uint32_t code)
{
    switch (code) {
    case H2_REFUSED_STREAM:
        return ERR_BUSY;
    case H2_PROTOCOL_ERROR:
        return ERR_PROTO;
    case H2_ENHANCE_YOUR_CALM:
        return ERR_LIMIT;
    case H2_HTTP_1_1_REQUIRED:
        return ERR_UNSUPPORTED;
    default:
        return ERR_RESET;
    }
}

void h2_stream_closed(struct h2_stream *s, uint32_t code)
{
    s->is_closed = true;
    s->code = code;
    s->was_refused = s->was_refused || code == H2_REFUSED_STREAM;
    end(s, err_of(code), s->is_fin_sent ? ERR_CLOSED : err_of(code));
}

void h2_stream_made_room(struct h2_stream *s)
{
    s->has_moved = true;
    if (!s->is_full || buf_len(&s->unsent) > STREAM_SEND_BYTES_MAX * 3 / 4)
        return;
    s->is_full = false;
    task_wake(s->body.owner);
}

static void submit_reset(struct h2_stream *s, uint32_t code)
{
    if (s->conn == NULL || s->conn->ng == NULL || s->is_closed)
        return;
    (void)nghttp2_submit_rst_stream(s->conn->ng, NGHTTP2_FLAG_NONE, s->id, code);
    task_wake(&s->conn->send);
}

void h2_stream_fin_sent(struct h2_stream *s)
{
    s->is_fin_sent = true;
    if (s->is_reset_late && !s->is_in_over)
        submit_reset(s, s->conn->conf.is_server ? H2_NO_ERROR : H2_CANCEL);
}

void h2_stream_refuse(struct h2_stream *s, int why, uint32_t code)
{
    submit_reset(s, code);
    if (s->in_err == 0)
        s->in_err = why;
    if (s->out_err == 0)
        s->out_err = why;
    buf_drop(&s->in, buf_len(&s->in));
    buf_drop(&s->unsent, buf_len(&s->unsent));
    task_wake(s->body.owner);
}

/* ---- the five verbs ---- */

static void resume(struct h2_stream *s)
{
    if (s->conn == NULL || s->conn->ng == NULL)
        return;
    if (s->is_deferred) {
        s->is_deferred = false;
        (void)nghttp2_session_resume_data(s->conn->ng, s->id);
    }
    task_wake(&s->conn->send);
}

static int h2_read(struct stream *base, struct buf *to, size_t max)
{
    struct h2_stream *s = stream_of(base);
    if (s->in_err < 0)
        return s->in_err;
    if (buf_is_empty(&s->in))
        return s->is_in_over ? ERR_EOF : ERR_AGAIN;
    size_t n = max > 0 ? buf_move(to, &s->in, max) : 0;
    /* Reading is what grants the far side more. */
    if (n > 0 && s->conn != NULL && s->conn->ng != NULL && !s->is_in_over &&
        nghttp2_session_consume_stream(s->conn->ng, s->id, n) == 0 &&
        nghttp2_session_want_write(s->conn->ng))
        task_wake(&s->conn->send);
    if (n > 0 || max == 0)
        return 0;
    return buf_is_stuck(to, &s->in) ? ERR_NOMEM : ERR_AGAIN;
}

static int h2_write(struct stream *base, struct buf *from)
{
    struct h2_stream *s = stream_of(base);
    if (s->out_err < 0)
        return s->out_err;
    if (s->is_fin_wanted)
        return ERR_CLOSED;
    assert(s->is_head_sent);
    if (buf_move(&s->unsent, from, SIZE_MAX) > 0)
        resume(s);
    else if (buf_is_stuck(&s->unsent, from))
        return ERR_NOMEM;
    s->is_full = !buf_is_empty(from);
    return s->is_full ? ERR_AGAIN : 0;
}

static void h2_finish(struct stream *base)
{
    struct h2_stream *s = stream_of(base);
    if (s->is_fin_wanted || s->out_err < 0)
        return;
    s->is_fin_wanted = true;
    resume(s);
}

static void h2_abort(struct stream *base, int why)
{
    struct h2_stream *s = stream_of(base);
    h2_stream_refuse(s, why < 0 ? why : ERR_CLOSED, err_h2_code(why < 0 ? why : ERR_CLOSED));
}

static void h2_release(struct stream *base)
{
    struct h2_stream *s = stream_of(base);
    s->body.owner = NULL;
    s->is_released = true;
    if (s->conn == NULL) {
        h2_stream_destroy(s);
        return;
    }
    if (!deadline_is_set(&s->conn->stall))
        deadline_set(&s->conn->stall, &s->conn->task, loop_now(s->loop) + s->conn->conf.stall);
    buf_drop(&s->in, buf_len(&s->in));
    if (s->in_err < 0 && s->out_err < 0)
        return; /* reset already */
    if (!s->is_fin_wanted) {
        h2_stream_refuse(s, ERR_CLOSED, err_h2_code(ERR_CLOSED));
        return;
    }
    s->is_reset_late = true;
    if (s->is_fin_sent)
        h2_stream_fin_sent(s);
}

static const struct stream_ops H2_STREAM_OPS = {
    .kind = "h2",
    .read = h2_read,
    .write = h2_write,
    .finish = h2_finish,
    .abort = h2_abort,
    .release = h2_release,
};

struct stream *h2_stream_body(struct h2_stream *s)
{
    return &s->body;
}

void h2_stream_reset(struct h2_stream *s, uint32_t code)
{
    h2_stream_refuse(s, ERR_CLOSED, code);
}

/* ---- opening and accepting ---- */

static bool has_room(const struct h2_conn *c)
{
    return c->stream_count <
           nghttp2_session_get_remote_settings(c->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

static int submit_request(struct h2_conn *c, const struct h2_send_head *head, struct h2_stream *s)
{
    nghttp2_nv *nv;
    size_t count;
    int r = h2_nv_new(head, false, &nv, &count);
    if (r < 0)
        return r;
    nghttp2_data_provider data = h2_data_of(s);
    int32_t id = nghttp2_submit_request(c->ng, NULL, nv, count, s->is_fin_wanted ? NULL : &data, s);
    free(nv);
    if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
        return ERR_CLOSED;
    if (id < 0)
        return ERR_NOMEM;
    s->id = id;
    return 0;
}

static bool fits(const struct h2_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].name.n > H2_FIELD_BYTES_MAX || fields[i].value.n > H2_FIELD_BYTES_MAX)
            return false;
    return true;
}

int h2_conn_request(struct h2_conn *c, const struct h2_send_head *head, bool ends,
                    struct task *owner, struct h2_stream **ret)
{
    if (c->state >= H2_DRAINING)
        return ERR_CLOSED;
    if (!fits(head->fields, head->count) || head->path.n > H2_FIELD_BYTES_MAX)
        return ERR_LIMIT;
    if (!has_room(c)) {
        c->wants_room = true;
        return ERR_AGAIN;
    }
    struct h2_stream *s = h2_stream_new(c, 0);
    if (s == NULL)
        return ERR_NOMEM;
    s->is_fin_wanted = ends;
    s->is_head_sent = true;
    s->body.owner = owner;
    int r = submit_request(c, head, s);
    if (r < 0) {
        h2_stream_destroy(s);
        return r;
    }
    task_wake(&c->send);
    *ret = s;
    return 0;
}

int h2_conn_accept(struct h2_conn *c, struct task *owner, struct h2_stream **ret)
{
    struct list *node = list_pop(&c->peers);
    if (node == NULL)
        return c->state == H2_CLOSED ? c->why.err : ERR_AGAIN;
    struct h2_stream *s = container_of(node, struct h2_stream, peer);
    s->body.owner = owner;
    *ret = s;
    return 0;
}

/* ---- heads ---- */

int h2_stream_head(struct h2_stream *s, const struct h2_head **ret)
{
    struct h2_head *h = s->next_head;
    if (h != NULL) {
        s->next_head = h->next;
        *ret = h;
        return 0;
    }
    if (s->in_err < 0)
        return s->in_err;
    return s->has_final ? ERR_EOF : ERR_AGAIN;
}

const struct h2_head *h2_stream_trailers(const struct h2_stream *s)
{
    return s->trailers;
}

static int submit_response(struct h2_stream *s, const struct h2_send_head *head, bool ends)
{
    nghttp2_nv *nv;
    size_t count;
    int r = h2_nv_new(head, false, &nv, &count);
    if (r < 0)
        return r;
    nghttp2_session *ng = s->conn->ng;
    nghttp2_data_provider data = h2_data_of(s);
    if (head->status < 200)
        r = nghttp2_submit_headers(ng, NGHTTP2_FLAG_NONE, s->id, NULL, nv, count, NULL);
    else
        r = nghttp2_submit_response(ng, s->id, nv, count, ends ? NULL : &data);
    free(nv);
    return r == 0 ? 0 : ERR_NOMEM;
}

int h2_stream_respond(struct h2_stream *s, const struct h2_send_head *head, bool ends)
{
    if (s->out_err < 0)
        return s->out_err;
    assert(!s->is_head_sent);
    int r = submit_response(s, head, ends);
    if (r < 0)
        return r;
    s->is_head_sent = head->status >= 200;
    if (s->is_head_sent)
        s->is_fin_wanted = ends;
    task_wake(&s->conn->send);
    return 0;
}

int h2_stream_set_trailers(struct h2_stream *s, const struct h2_field *fields, size_t count)
{
    struct h2_send_head head = { .fields = fields, .count = count };
    assert(s->trailers_out == NULL && !s->is_fin_wanted);
    if (!fits(fields, count))
        return ERR_LIMIT;
    return count == 0 ? 0 : h2_nv_new(&head, true, &s->trailers_out, &s->trailers_count);
}

bool h2_stream_was_refused(const struct h2_stream *s)
{
    return s->was_refused;
}

uint32_t h2_stream_code(const struct h2_stream *s)
{
    return s->code;
}

int h2_stream_send_err(const struct h2_stream *s)
{
    return s->out_err;
}

uint32_t h2_stream_id(const struct h2_stream *s)
{
    return (uint32_t)s->id;
}
