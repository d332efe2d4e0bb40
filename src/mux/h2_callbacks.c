#include "base/err.h"
#include "mux/h2_int.h"

/* Callbacks of nghttp2: they copy, mark and wake. The connection's run acts. */

#define POINTS_FAULT      10
#define POINTS_SETTINGS   10
#define POINTS_EMPTY      10
#define POINTS_PING       2
#define POINTS_TINY       1
#define TINY_WINDOW_BYTES 128

static struct h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(ng, id);
}

/* ---- what costs the peer little and us more ---- */

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
    (void)ng;
    (void)frame;
    (void)error;
    h2_abuse(user, POINTS_FAULT);
    return 0;
}

/* ---- heads ---- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    struct h2_stream *s = stream_of(ng, frame->hd.stream_id);
    bool is_request = c->conf.is_server && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    c->heading = frame->hd.stream_id;
    if (is_request) {
        s = h2_stream_new(c, frame->hd.stream_id);
        if (s == NULL)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        (void)nghttp2_session_set_stream_user_data(ng, s->id, s);
        /* Everybody's turn comes: the default would serve one stream after the other. */
        nghttp2_extpri fair = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
        (void)nghttp2_session_change_extpri_stream_priority(ng, s->id, &fair, 1);
    }
    if (s == NULL || s->in_err < 0)
        return 0;
    h2_head_free(s->incoming);
    s->incoming = h2_head_new(c->conf.head_bytes);
    if (s->incoming == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->incoming->is_trailers = s->has_final;
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    struct h2_conn *c = user;
    struct h2_stream *s = stream_of(ng, frame->hd.stream_id);
    if (s == NULL || s->incoming == NULL)
        return 0;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
    struct h2_head *h = s->incoming;
    if (!s->is_oversized) {
        int r = h2_head_add(h, slice_of(n.base, n.len), slice_of(v.base, v.len),
                            (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0);
        if (r == ERR_NOMEM || r == ERR_PROTO)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        s->is_oversized = r == ERR_LIMIT || h->bytes > c->conf.head_bytes;
        return 0;
    }
    /* A few bytes on the wire can stand for a list without end: it is not kept, and not read to its
     * end either. */
    h->bytes += n.len + v.len;
    if (h->bytes / H2_HEAD_EXCESS > c->conf.head_bytes) {
        c->is_abusive = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    /* The library would leave the field out; RFC 9113 §8.1.1 calls the message malformed. */
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void refuse_oversized(struct h2_conn *c, struct h2_stream *s)
{
    nghttp2_nv status = { .name = (uint8_t *)(uintptr_t) ":status",
                          .value = (uint8_t *)(uintptr_t) "431",
                          .namelen = 7,
                          .valuelen = 3 };
    h2_abuse(c, POINTS_FAULT);
    if (!c->conf.is_server || s->has_final ||
        nghttp2_submit_response(c->ng, s->id, &status, 1, NULL) != 0) {
        h2_stream_refuse(s, ERR_LIMIT, H2_CANCEL);
        return;
    }
    /* Nobody will see it: the answer, and then the end. */
    s->in_err = s->out_err = ERR_LIMIT;
    s->is_released = s->is_reset_late = s->is_fin_wanted = true;
}

static int add_interim_or_final(struct h2_conn *c, struct h2_stream *s, struct h2_head *h)
{
    unsigned count = 0;
    for (const struct h2_head *it = s->heads; it != NULL; it = it->next)
        count++;
    if (count > INTERIM_COUNT_MAX)
        return ERR_LIMIT;
    if (s->heads_end != NULL)
        s->heads_end->next = h;
    else
        s->heads = h;
    s->heads_end = h;
    if (s->next_head == NULL)
        s->next_head = h;
    s->has_final = c->conf.is_server || h->status >= 200;
    if (c->conf.is_server) {
        list_push_back(&c->peers, &s->peer);
        task_wake(c->owner);
    }
    return 0;
}

static void take_head(struct h2_conn *c, struct h2_stream *s, bool ends)
{
    struct h2_head *h = s->incoming;
    if (h == NULL)
        return;
    if (s->is_oversized) {
        refuse_oversized(c, s);
        return;
    }
    if (!h2_head_is_sound(h)) {
        h2_abuse(c, POINTS_FAULT);
        h2_stream_refuse(s, ERR_PROTO, H2_PROTOCOL_ERROR);
        return;
    }
    h->ends = ends;
    if (h->is_trailers) {
        s->trailers = h;
    } else if (add_interim_or_final(c, s, h) < 0) {
        h2_stream_refuse(s, ERR_LIMIT, H2_ENHANCE_YOUR_CALM);
        return;
    }
    s->incoming = NULL;
    task_wake(s->body.owner);
}

/* ---- frames ---- */

static void take_pong(struct h2_conn *c)
{
    if (c->pinged_at == 0) {
        h2_abuse(c, POINTS_PING);
        return;
    }
    nsec now = loop_now_fresh(c->loop), rtt = now > c->pinged_at ? now - c->pinged_at : 1;
    /* A peer that was stopped answers late once, which is not the path's round trip. One that
     * really has grown is known after a few. */
    c->rtt = c->rtt > 0 && rtt > 2 * c->rtt ? 2 * c->rtt : rtt;
    c->pinged_at = 0;
}

static void take_settings(struct h2_conn *c, bool is_ack)
{
    if (is_ack) {
        c->is_acked = true;
        return;
    }
    if (c->state == H2_OPENING)
        c->state = H2_OPEN;
    else
        h2_abuse(c, POINTS_SETTINGS);
    c->wants_room = false;
    task_wake(c->owner);
}

static void take_goaway(struct h2_conn *c, const nghttp2_goaway *frame)
{
    if (c->state < H2_DRAINING)
        c->state = H2_DRAINING;
    else
        h2_abuse(c, POINTS_SETTINGS);
    c->why.is_peers = true;
    c->why.code = frame->error_code;
    c->why.text = "the peer ended the connection by GOAWAY";
    task_wake(c->owner);
}

static void take_stream_frame(struct h2_conn *c, const nghttp2_frame *frame, struct h2_stream *s)
{
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS && s != NULL)
        take_head(c, s, ends);
    bool is_padding = frame->hd.length > 0 && frame->hd.length <= frame->data.padlen;
    if (frame->hd.type == NGHTTP2_DATA && !ends && is_padding)
        h2_abuse(c, POINTS_EMPTY);
    if (!ends || s == NULL)
        return;
    s->is_in_over = true;
    task_wake(s->body.owner);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        c->message_frames++;
        take_stream_frame(c, frame, stream_of(ng, frame->hd.stream_id));
        break;
    case NGHTTP2_SETTINGS:
        take_settings(c, is_ack);
        break;
    case NGHTTP2_PING:
        if (is_ack)
            take_pong(c);
        else
            h2_abuse(c, POINTS_PING);
        break;
    case NGHTTP2_GOAWAY:
        take_goaway(c, &frame->goaway);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (frame->window_update.window_size_increment < TINY_WINDOW_BYTES)
            h2_abuse(c, POINTS_TINY);
        break;
    default:
        break;
    }
    return c->is_abusive ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- bodies ---- */

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *user)
{
    struct h2_conn *c = user;
    struct h2_stream *s = stream_of(ng, id);
    struct slice part = slice_of(data, n);
    (void)flags;
    c->arrived += n;
    if (s == NULL || s->in_err < 0 || s->is_released)
        return 0;
    int r = n >= H2_SHARE_BYTES ? buf_share(&s->in, &c->in, part) : buf_put(&s->in, part);
    if (r < 0)
        h2_stream_refuse(s, r, H2_INTERNAL_ERROR);
    task_wake(s->body.owner);
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct h2_stream *s = stream_of(ng, id);
    (void)user;
    if (s != NULL)
        h2_stream_closed(s, code);
    return 0;
}

/* ---- what went out ---- */

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    bool is_message = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    bool is_end = is_message && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    h2_note_due(c, frame->hd.type);
    if (is_message)
        h2_note_said(c);
    struct h2_stream *s = is_end ? stream_of(ng, frame->hd.stream_id) : NULL;
    if (s != NULL)
        h2_stream_fin_sent(s);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        c->is_goaway_out = true;
        c->fault = frame->goaway.error_code;
        task_wake(&c->task);
    }
    return 0;
}

static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
    struct h2_conn *c = user;
    struct h2_stream *s = stream_of(ng, frame->hd.stream_id);
    if (frame->hd.type != NGHTTP2_HEADERS || s == NULL)
        return 0;
    if (c->conf.is_server) {
        h2_stream_refuse(s, ERR_LIMIT, H2_INTERNAL_ERROR);
    } else if (error == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED ||
               error == NGHTTP2_ERR_SESSION_CLOSING) {
        /* The library closes it; the peer has seen nothing of it. */
        s->was_refused = true;
        s->in_err = s->out_err = ERR_BUSY;
    } else {
        s->in_err = s->out_err = ERR_LIMIT;
    }
    return 0;
}

int h2_callbacks_new(nghttp2_session_callbacks **ret)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return ERR_NOMEM;
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(cb, h2_send_data);
    *ret = cb;
    return 0;
}
