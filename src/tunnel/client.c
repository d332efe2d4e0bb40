#include "tunnel/client.h"

#include "base/err.h"
#include "tunnel/metadata.h"

#define IN_BYTES_MAX  (TUNNEL_HEAD_BYTES_MAX + READ_STEP_BYTES)
#define OUT_BYTES_MAX (TUNNEL_HEAD_BYTES_MAX + HEAD_PREAMBLE_BYTES + PIECE_LENGTH_BYTES)

int tunnel_client_init(struct tunnel_client *c, struct exchange *ex, struct stream *s,
                       unsigned extensions)
{
    const struct request *q = &ex->request;
    bool can = (extensions & EXTENSION_TRAILERS) != 0;
    *c = (struct tunnel_client){ .ex = ex, .stream = s, .extensions = extensions };
    buf_init(&c->out, loop_chunks(ex->loop), OUT_BYTES_MAX);
    buf_init(&c->in, loop_chunks(ex->loop), IN_BYTES_MAX);
    c->in_pieces_up = can && q->framing == FRAMING_STREAM && q->upgrade == UPGRADE_NONE &&
                      fields_get(&q->fields, SLICE("trailer")) != NULL;
    /* A connector that can tell when the origin wants the body will. */
    ex->wants_body |= !(can && q->expects_continue);
    ex->at.sent = loop_now(ex->loop);
    return metadata_write_request(&c->out, ex, c->in_pieces_up);
}

void tunnel_client_done(struct tunnel_client *c)
{
    if (c->ex == NULL)
        return;
    /* One that was told that it ends has its end in both directions. */
    bool is_parted = c->ex->parting != PARTING_NONE && c->up_finished && c->ex->down.ended;
    if (((c->state != TC_OVER && !is_parted) || c->is_cut) && c->stream != NULL)
        stream_abort(c->stream, ERR_CANCELED);
    stream_release(c->stream);
    buf_done(&c->out);
    buf_done(&c->in);
    *c = (struct tunnel_client){ .cause = c->cause, .failure = c->failure };
}

bool tunnel_client_is_unanswered(const struct tunnel_client *c)
{
    return c->state == TC_HEAD || c->state == TC_WAIT;
}

/* ---- towards the connector ---- */

static void note_taken(struct tunnel_client *c, size_t before)
{
    if (buf_len(&c->ex->up.held) == before)
        return;
    c->body_taken = true;
    exchange_wake_left(c->ex);
}

static int send_raw(struct tunnel_client *c)
{
    struct exchange *ex = c->ex;
    size_t before = buf_len(&ex->up.held);
    if (before == 0)
        return 0;
    int r = stream_write(c->stream, &ex->up.held);
    note_taken(c, before);
    return r;
}

/* `out` is empty. */
static int send_pieces(struct tunnel_client *c)
{
    struct exchange *ex = c->ex;
    for (;;) {
        size_t before = buf_len(&ex->up.held);
        int r = pieces_write(&c->up, &ex->up, ex->up_trailers, &ex->arena, &c->out);
        note_taken(c, before);
        if (r < 0 || buf_is_empty(&c->out))
            return r;
        r = stream_write(c->stream, &c->out);
        if (r < 0)
            return r;
    }
}

static bool is_all_up(const struct tunnel_client *c)
{
    return c->in_pieces_up ? c->up.is_over && buf_is_empty(&c->out) : body_is_over(&c->ex->up);
}

static int send_up(struct tunnel_client *c)
{
    struct exchange *ex = c->ex;
    if (c->up_finished)
        return 0;
    int r = buf_is_empty(&c->out) ? 0 : stream_write(c->stream, &c->out);
    if (r < 0)
        return r;
    if (c->state == TC_HEAD)
        c->state = TC_WAIT;
    /* An upgrade's bytes wait until the other side agreed. */
    if (ex->request.upgrade != UPGRADE_NONE && !ex->is_upgraded)
        return 0;
    r = c->in_pieces_up ? send_pieces(c) : send_raw(c);
    if (r < 0)
        return r;
    if (is_all_up(c)) {
        c->up_finished = true;
        stream_finish(c->stream);
    }
    return 0;
}

/* ---- from the connector ---- */

/* The connector's word for "send the body" is the origin's, or that it is not waited for any more.
 */
static int take_interim(struct tunnel_client *c, struct response *r)
{
    if ((c->extensions & EXTENSION_TRAILERS) == 0)
        return ERR_PROTO;
    if (r->status == 100)
        c->ex->wants_body = true;
    return exchange_interim(c->ex, r);
}

static int take_head(struct tunnel_client *c)
{
    struct metadata_answer answer;
    int r = metadata_read_response(&c->in, c->ex, &answer);
    if (r < 0)
        return r;
    if (answer.error != NULL) {
        c->cause = answer.error;
        c->failure = answer.failure;
        return ERR_ORIGIN;
    }
    if (answer.response->status < 200 && answer.response->status != 101)
        return take_interim(c, answer.response);
    if (answer.response->status == 101 && c->ex->request.upgrade == UPGRADE_NONE)
        return ERR_PROTO;
    if ((c->extensions & EXTENSION_TRAILERS) != 0)
        c->in_pieces_down = answer.in_pieces;
    if (c->in_pieces_down && answer.response->framing != FRAMING_STREAM)
        return ERR_PROTO;
    c->state = TC_BODY;
    c->down_left = answer.response->framing == FRAMING_LENGTH ? answer.response->length
                   : answer.response->framing == FRAMING_NONE && answer.response->status != 101
                       ? 0
                       : UINT64_MAX;
    exchange_respond(c->ex, answer.response);
    return 0;
}

static void body_over(struct tunnel_client *c)
{
    c->state = TC_OVER;
    body_end(&c->ex->down);
    exchange_wake_left(c->ex);
    if (c->up_finished)
        return;
    /* Our half ends with the other, or the stream never closes: in order only when the request was
     * whole, because a body that was cut off must not look complete to the origin. */
    bool is_whole = is_all_up(c) || c->ex->request.upgrade != UPGRADE_NONE;
    if (is_whole)
        stream_finish(c->stream);
    c->is_cut = !is_whole;
    c->up_finished = true;
}

/* Moves what came with the head, then straight from the stream into the body. */
static int take_body(struct tunnel_client *c)
{
    struct exchange *ex = c->ex;
    for (;;) {
        uint64_t before = ex->down.total;
        size_t max = c->down_left < READ_STEP_BYTES ? (size_t)c->down_left : READ_STEP_BYTES;
        int r = ERR_AGAIN;
        if (max == 0) {
            body_over(c); /* the length was reached: what follows is not of it */
            return 0;
        }
        if (!buf_is_empty(&c->in)) {
            if (body_put(&ex->down, &c->in, max) > 0)
                r = 0;
            else if (body_is_stuck(&ex->down, &c->in))
                r = ERR_NOMEM;
        } else if (body_room(&ex->down) > 0) {
            size_t held = buf_len(&ex->down.held);
            r = stream_read(c->stream, &ex->down.held, max);
            ex->down.total += buf_len(&ex->down.held) - held;
        }
        if (ex->down.total != before) {
            if (c->down_left != UINT64_MAX)
                c->down_left -= ex->down.total - before;
            exchange_wake_left(ex);
        }
        if (r == ERR_EOF && c->down_left != UINT64_MAX)
            return ERR_CUT;
        if (r == ERR_EOF) {
            body_over(c);
            return 0;
        }
        if (r < 0)
            return r;
    }
}

static int take_pieces(struct tunnel_client *c)
{
    struct exchange *ex = c->ex;
    uint64_t before = ex->down.total;
    int r = pieces_read(&c->down, c->stream, &c->in, &ex->down, &ex->arena, &ex->down_trailers);
    if (ex->down.total != before)
        exchange_wake_left(ex);
    if (r == 0)
        body_over(c);
    return r;
}

static int receive(struct tunnel_client *c)
{
    while (c->state == TC_HEAD || c->state == TC_WAIT) {
        int r = buf_is_empty(&c->in) ? ERR_AGAIN : take_head(c);
        if (r == ERR_AGAIN)
            r = stream_read(c->stream, &c->in, READ_STEP_BYTES);
        if (r == ERR_EOF)
            return ERR_RESET; /* before any head: the same to us */
        if (r < 0)
            return r;
    }
    return c->in_pieces_down ? take_pieces(c) : take_body(c);
}

int tunnel_client_run(struct tunnel_client *c)
{
    if (c->state == TC_OVER)
        return 0;
    int up = send_up(c);
    int r = receive(c);
    if (r != ERR_AGAIN)
        return r;
    /* The head may have opened the way up for an upgrade. A connector that wants no more of the
     * body may still answer. */
    if (c->state == TC_BODY && c->ex->is_upgraded && up == 0)
        up = send_up(c);
    return up < 0 && up != ERR_AGAIN && up != ERR_RESET && up != ERR_CLOSED ? up : ERR_AGAIN;
}
