#include "base/err.h"
#include "mux/h2_int.h"

#define FRAME_HEAD_BYTES 9

/* How much of a stream goes into the next DATA frame. The bytes themselves follow in h2_send_data,
 * by reference. */
static ssize_t read_data(nghttp2_session *ng, int32_t id, uint8_t *to, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct h2_stream *s = source->ptr;
    (void)to;
    (void)user;
    size_t n = buf_len(&s->unsent) < max ? buf_len(&s->unsent) : max;
    if (n == 0 && !s->is_fin_wanted) {
        s->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!s->is_fin_wanted || n < buf_len(&s->unsent))
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->trailers_out != NULL) {
        int r = nghttp2_submit_trailer(ng, id, s->trailers_out, s->trailers_count);
        if (r != 0)
            return r == NGHTTP2_ERR_NOMEM ? NGHTTP2_ERR_CALLBACK_FAILURE
                                          : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)n;
}

nghttp2_data_provider h2_data_of(struct h2_stream *s)
{
    return (nghttp2_data_provider){ .source.ptr = s, .read_callback = read_data };
}

int h2_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user)
{
    struct h2_conn *c = user;
    struct h2_stream *s = source->ptr;
    (void)ng;
    (void)frame;
    if (buf_put(&c->out, slice_of(head, FRAME_HEAD_BYTES)) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (buf_move(&c->out, &s->unsent, length) < length)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2_stream_made_room(s);
    /* The library would go on from one such frame to the next within the one call, and all that
     * every stream has to say would have to fit. The last words come behind whatever there is. */
    bool is_enough = buf_len(&c->out) >= H2_OUT_BYTES && c->state != H2_CLOSED;
    return is_enough ? NGHTTP2_ERR_PAUSE : 0;
}

/* Frames into `out` until there is a share of them. */
static int gather(struct h2_conn *c)
{
    while (buf_len(&c->out) < H2_OUT_BYTES) {
        const uint8_t *bytes;
        size_t before = buf_len(&c->out);
        ssize_t n = nghttp2_session_mem_send(c->ng, &bytes);
        if (n < 0)
            return ERR_NOMEM;
        if (n > 0 && buf_put(&c->out, slice_of(bytes, (size_t)n)) < 0)
            return ERR_NOMEM;
        if (n == 0 && buf_len(&c->out) == before)
            return 0;
    }
    return 0;
}

static int write_pass(struct h2_conn *c)
{
    for (;;) {
        int r = c->ng != NULL ? gather(c) : 0;
        if (r < 0)
            return r;
        size_t n = buf_len(&c->out);
        if (n == 0)
            return 0;
        r = stream_write(c->under, &c->out);
        c->bytes_out += n - buf_len(&c->out);
        c->is_out_full = r == ERR_AGAIN;
        if (r < 0)
            return r;
    }
}

void h2_send_last(struct h2_conn *c)
{
    const uint8_t *bytes;
    while (!c->is_goaway_out) {
        ssize_t n = nghttp2_session_mem_send(c->ng, &bytes);
        if (n <= 0 || buf_put(&c->out, slice_of(bytes, (size_t)n)) < 0)
            return;
    }
}

void h2_send_run(struct task *t)
{
    struct h2_conn *c = container_of(t, struct h2_conn, send);
    if (c->under == NULL || c->write_err < 0)
        return;
    bool was_full = c->is_out_full;
    uint64_t before = c->bytes_out;
    int r = write_pass(c);
    if (r < 0 && r != ERR_AGAIN) {
        c->write_err = r;
        buf_drop(&c->out, buf_len(&c->out));
    }
    if (was_full != c->is_out_full || c->write_err < 0 ||
        (c->state == H2_CLOSED && c->bytes_out != before))
        task_wake(&c->task);
}
