#include "tunnel/server.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "tunnel/metadata.h"
#include "tunnel/pieces.h"

#define IN_BYTES_MAX  (TUNNEL_HEAD_BYTES_MAX + READ_STEP_BYTES)
#define OUT_BYTES_MAX (TUNNEL_HEAD_BYTES_MAX + HEAD_PREAMBLE_BYTES + PIECE_LENGTH_BYTES)

enum server_state { TS_HEAD, TS_EXCHANGE, TS_OVER };

struct tunnel_server {
    struct list node;
    struct task task;
    struct deadline deadline; /* of a head that did not come in one piece */
    size_t head_bytes;        /* what the group counts of it */
    struct tunnel_server_group *group;
    struct stream *s;
    struct buf in;  /* the head, and what came with it */
    struct buf out; /* our head, until it is taken */
    enum server_state state;
    struct exchange *ex;
    uint64_t up_left; /* of a body with a length */
    bool head_sent, continue_sent;
    unsigned extensions; /* of the edge */
    int connection;
    bool in_pieces_up, in_pieces_down; /* bodies with trailers */
    struct piece_reader up;
    struct piece_writer down;
    struct reaper reaper;
};

static void server_run(struct task *t);

void tunnel_server_group_init(struct tunnel_server_group *g, struct loop *loop, void *ctx)
{
    *g = (struct tunnel_server_group){
        .loop = loop,
        .ctx = ctx,
        .head = TUNNEL_HEAD_MS * NSEC_PER_MSEC,
    };
    list_init(&g->open);
}

static void reap(struct reaper *r)
{
    struct tunnel_server *t = container_of(r, struct tunnel_server, reaper);
    buf_done(&t->in);
    buf_done(&t->out);
    free(t);
}

/* What a stream holds of a head that is not whole, in the sum of its group. */
static void count_head(struct tunnel_server *t, size_t bytes)
{
    t->group->head_bytes += bytes - t->head_bytes;
    t->head_bytes = bytes;
}

/* why < 0: the stream is reset; 0: it was finished. */
static void server_end(struct tunnel_server *t, int why)
{
    struct exchange *ex = t->ex;
    if (t->state == TS_OVER)
        return;
    bool was_routed = t->state == TS_EXCHANGE;
    t->state = TS_OVER;
    count_head(t, 0);
    deadline_clear(&t->deadline);
    if (ex != NULL) {
        t->ex = NULL;
        ex->at.done = loop_now(t->group->loop);
        ex->bytes_up = ex->up.total;
        if (was_routed && t->group->done != NULL)
            t->group->done(t->group->ctx, ex);
        exchange_leave(ex, EX_LEFT);
    }
    if (t->s != NULL) {
        if (why < 0)
            stream_abort(t->s, why);
        stream_release(t->s);
    }
    task_done(&t->task);
    list_remove(&t->node);
    t->group->count--;
    task_wake(t->group->owner);
    loop_reap(t->group->loop, &t->reaper, reap);
}

void tunnel_serve(struct tunnel_server_group *g, struct stream *s, unsigned extensions)
{
    struct tunnel_server *t = calloc(1, sizeof *t);
    if (t == NULL) {
        stream_abort(s, ERR_NOMEM);
        stream_release(s);
        return;
    }
    t->group = g;
    t->s = s;
    t->extensions = extensions;
    t->connection = g->connection;
    task_init(&t->task, g->loop, server_run);
    s->owner = &t->task;
    buf_init(&t->in, loop_chunks(g->loop), IN_BYTES_MAX);
    buf_init(&t->out, loop_chunks(g->loop), OUT_BYTES_MAX);
    list_push_back(&g->open, &t->node);
    g->count++;
    task_wake(&t->task);
}

size_t tunnel_server_part(struct tunnel_server_group *g, int connection, enum parting parting)
{
    size_t count = 0;
    list_each(it, &g->open)
    {
        struct tunnel_server *t = container_of(it, struct tunnel_server, node);
        if (t->state == TS_EXCHANGE && t->connection == connection)
            count += exchange_part(t->ex, parting);
    }
    return count;
}

void tunnel_server_abort(struct tunnel_server_group *g)
{
    list_each(it, &g->open)
    {
        server_end(container_of(it, struct tunnel_server, node), ERR_CLOSED);
    }
}

/* ---- the head ---- */

/* The verdict of an exchange stands; one of a head, which never became an exchange, is told apart.
 */
static void note_refused(struct tunnel_server *t, const char *text, enum failure failure)
{
    if (t->state == TS_HEAD && t->group->refused != NULL)
        t->group->refused(t->group->ctx, failure, text);
    else if (t->state == TS_EXCHANGE && !exchange_has_failed(t->ex))
        exchange_fail_as(t->ex, failure, ERR_CUT, text);
}

static void refuse(struct tunnel_server *t, const char *text, enum failure failure)
{
    bool is_told = (t->extensions & EXTENSION_DIAG) != 0;
    note_refused(t, text, failure);
    int r = metadata_write_error(&t->out, text, failure, is_told);
    if (r == 0)
        r = stream_write(t->s, &t->out);
    if (r == 0)
        stream_finish(t->s);
    server_end(t, r);
}

static void give_to_rpc(struct tunnel_server *t)
{
    struct stream *s = t->s;
    buf_drop(&t->in, HEAD_RPC_BYTES);
    t->s = NULL;
    t->group->rpc(t->group->ctx, s, &t->in);
    server_end(t, 0);
}

static void begin(struct tunnel_server *t, const struct metadata_asked *asked)
{
    struct exchange *ex = t->ex;
    t->in_pieces_up = asked->in_pieces;
    ex->connection = t->connection;
    t->state = TS_EXCHANGE;
    count_head(t, 0);
    deadline_clear(&t->deadline);
    t->up_left = ex->request.framing == FRAMING_LENGTH ? ex->request.length
                 : ex->request.framing == FRAMING_NONE && ex->request.upgrade == UPGRADE_NONE
                     ? 0
                     : UINT64_MAX;
    if (t->up_left == 0)
        body_end(&ex->up);
    t->group->route(t->group->ctx, ex, asked->type);
}

/* 0 when the exchange has begun; ERR_AGAIN; ERR_CLOSED when the stream ended here. */
static int head_step(struct tunnel_server *t)
{
    uint8_t start[HEAD_PREAMBLE_BYTES];
    enum head_kind kind;
    int r = head_kind_of(slice_of(start, buf_copy(&t->in, 0, start, sizeof start)), &kind);
    if (r == 0 && kind == HEAD_RPC) {
        if (t->group->rpc != NULL)
            give_to_rpc(t);
        else
            server_end(t, ERR_UNSUPPORTED);
        return ERR_CLOSED;
    }
    if (r == 0 && t->ex == NULL) {
        t->ex = exchange_new(t->group->loop, &t->task);
        r = t->ex != NULL ? 0 : ERR_NOMEM;
    }
    struct metadata_asked asked;
    if (r == 0)
        r = metadata_read_request(&t->in, t->ex, t->extensions, &asked);
    if (r == 0) {
        begin(t, &asked);
        return 0;
    }
    if (r == ERR_AGAIN)
        return r;
    if (r == ERR_INVALID)
        refuse(t, asked.text, FAILURE_BAD_REQUEST);
    else
        server_end(t, r);
    return ERR_CLOSED;
}

/* ---- the exchange ---- */

static int read_pieces(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    uint64_t before = ex->up.total;
    int r = pieces_read(&t->up, t->s, &t->in, &ex->up, &ex->arena, &ex->up_trailers);
    if (r == 0)
        body_end(&ex->up);
    if (ex->up.total != before || r == 0)
        exchange_wake_right(ex);
    return r == 0 ? ERR_AGAIN : r;
}

static int read_raw(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    while (!ex->up.ended) {
        size_t max = t->up_left < READ_STEP_BYTES ? (size_t)t->up_left : READ_STEP_BYTES;
        uint64_t before = ex->up.total;
        int r = ERR_AGAIN;
        if (!buf_is_empty(&t->in)) {
            if (body_put(&ex->up, &t->in, max) > 0)
                r = 0;
            else if (max > 0 && body_is_stuck(&ex->up, &t->in))
                r = ERR_NOMEM;
        } else if (body_room(&ex->up) > 0) {
            size_t held = buf_len(&ex->up.held);
            r = stream_read(t->s, &ex->up.held, max);
            ex->up.total += buf_len(&ex->up.held) - held;
        }
        if (t->up_left != UINT64_MAX)
            t->up_left -= ex->up.total - before;
        if (r == ERR_EOF && t->up_left != UINT64_MAX)
            return ERR_CUT;
        if (r == ERR_EOF || t->up_left == 0)
            body_end(&ex->up);
        if (ex->up.total != before || ex->up.ended)
            exchange_wake_right(ex);
        if (r < 0 && r != ERR_EOF)
            return r;
    }
    return ERR_AGAIN;
}

/* What the edge sends when the body is over. The stream itself tells that it was reset only when it
 * is read. Until the origin has answered, more bytes than the length said are a mistake that nobody
 * should act on: ERR_CUT. */
static int watch_edge(struct tunnel_server *t)
{
    struct buf none;
    if (t->ex->request.framing == FRAMING_LENGTH && t->ex->response == NULL) {
        int r = buf_is_empty(&t->in) ? stream_read(t->s, &t->in, READ_STEP_BYTES) : 0;
        if (r == 0)
            return ERR_CUT;
        return r == ERR_EOF ? ERR_AGAIN : r;
    }
    buf_init(&none, loop_chunks(t->group->loop), 0);
    int r = stream_read(t->s, &none, 0);
    buf_done(&none);
    return r == 0 || r == ERR_EOF ? ERR_AGAIN : r;
}

/* One interim response, straight into the stream: `out` holds one head. */
static int send_interim(struct tunnel_server *t, const struct response *r)
{
    int e = metadata_write_response(&t->out, t->ex, r, false);
    return e == 0 ? stream_write(t->s, &t->out) : e;
}

/* A 100 is for those who wait for it, and once: the origin's, or ours when it is not waited for any
 * more. An edge that knows of none gets none. */
static int send_interims(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    const struct response go_on = { .status = 100 };
    if ((t->extensions & EXTENSION_TRAILERS) == 0) {
        ex->interim = NULL;
        return 0;
    }
    int r = buf_is_empty(&t->out) ? 0 : stream_write(t->s, &t->out);
    if (r == 0 && ex->wants_body && ex->request.expects_continue && !t->continue_sent &&
        ex->response == NULL && !ex->up.ended) {
        t->continue_sent = true;
        r = send_interim(t, &go_on);
    }
    while (r == 0 && ex->interim != NULL) {
        const struct response *next = ex->interim;
        ex->interim = next->next;
        if (next->status != 100)
            r = send_interim(t, next);
    }
    return r;
}

/* Trailers that may come: announced, or asked for by who can take them. */
static bool may_have_trailers(const struct exchange *ex)
{
    return ex->response->framing == FRAMING_STREAM && !ex->is_upgraded &&
           (fields_get(&ex->response->fields, SLICE("trailer")) != NULL ||
            fields_has_token(&ex->request.fields, SLICE("te"), SLICE("trailers")));
}

static int send_head(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    if (t->head_sent || ex->response == NULL)
        return 0;
    /* A refused upgrade is an answer like any other: nothing more goes up. */
    if (!ex->is_upgraded && ex->request.upgrade != UPGRADE_NONE && !ex->up.ended) {
        body_end(&ex->up);
        exchange_wake_right(ex);
    }
    t->head_sent = true;
    t->in_pieces_down = (t->extensions & EXTENSION_TRAILERS) != 0 && may_have_trailers(ex);
    return metadata_write_response(&t->out, ex, ex->response, t->in_pieces_down);
}

static void note_sent(struct tunnel_server *t, size_t before)
{
    size_t sent = before - buf_len(&t->ex->down.held);
    t->ex->bytes_down += sent;
    if (sent > 0)
        exchange_wake_right(t->ex);
}

/* `out` is empty. */
static int send_pieces(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    for (;;) {
        size_t before = buf_len(&ex->down.held);
        int r = pieces_write(&t->down, &ex->down, ex->down_trailers, &ex->arena, &t->out);
        note_sent(t, before);
        if (r < 0 || buf_is_empty(&t->out))
            return r;
        r = stream_write(t->s, &t->out);
        if (r < 0)
            return r;
    }
}

static int send_down(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    /* Also with nothing to write: so an edge that wants no answer any more shows itself. */
    int r = stream_write(t->s, &t->out);
    if (r == 0 && t->in_pieces_down)
        return send_pieces(t);
    if (r == 0 && t->head_sent && !buf_is_empty(&ex->down.held)) {
        size_t before = buf_len(&ex->down.held);
        r = stream_write(t->s, &ex->down.held);
        note_sent(t, before);
    }
    return r;
}

/* Fewer bytes than the length said, or more. */
static void refuse_length(struct tunnel_server *t)
{
    const struct exchange *ex = t->ex;
    if (ex->request.framing != FRAMING_LENGTH) {
        refuse(t, "the request's body was cut off", FAILURE_REQUEST_CUT);
        return;
    }
    uint64_t got = ex->up.total + buf_len(&t->in);
    const char *text =
        arena_fmt(&t->ex->arena,
                  TUNNEL_UNREACHABLE "net/http: HTTP/1.x transport connection broken: http: "
                                     "ContentLength=%llu with Body length %llu",
                  (unsigned long long)ex->request.length, (unsigned long long)got);
    refuse(t, text != NULL ? text : "the request's body has another length", FAILURE_REQUEST_CUT);
}

static void answer_failure(struct tunnel_server *t)
{
    const struct verdict *v = &t->ex->verdict;
    bool is_lost = v->failure == FAILURE_LINK_LOST || v->failure == FAILURE_LINK_TIMEOUT;
    if (t->head_sent || (t->group->resets_on_loss && is_lost)) {
        server_end(t, v->err); /* what broke off must not look complete */
        return;
    }
    bool has_text = v->text != NULL && v->text[0] != 0; /* an empty one would be no error */
    refuse(t, has_text ? v->text : err_text(v->err), v->failure);
}

/* The edge resets the stream of a request whose visitor left; anything else that a stream says is
 * the connection's end. */
static void edge_gone(struct tunnel_server *t, int why)
{
    enum failure failure = failure_of_err(why, HOP_TUNNEL);
    if (why == ERR_RESET || why == ERR_CUT)
        failure = FAILURE_VISITOR_GONE;
    if (!exchange_has_failed(t->ex))
        exchange_fail_as(t->ex, failure, ERR_CANCELED,
                         "Incoming request ended abruptly: context canceled");
    server_end(t, why);
}

static void exchange_step(struct tunnel_server *t)
{
    struct exchange *ex = t->ex;
    int r = ex->up.ended ? watch_edge(t) : t->in_pieces_up ? read_pieces(t) : read_raw(t);
    if (r < 0 && r != ERR_AGAIN) {
        if (r == ERR_CUT && ex->response == NULL) {
            refuse_length(t);
            return;
        }
        edge_gone(t, r);
        return;
    }
    if (exchange_has_failed(ex) && !(ex->response != NULL && ex->down.ended)) {
        answer_failure(t);
        return;
    }
    r = send_interims(t);
    if (r == 0)
        r = send_head(t);
    if (r == 0)
        r = send_down(t);
    if (r < 0 && r != ERR_AGAIN) {
        edge_gone(t, r);
        return;
    }
    bool is_over = t->in_pieces_down ? t->down.is_over : body_is_over(&ex->down);
    if (t->head_sent && is_over && buf_is_empty(&t->out)) {
        stream_finish(t->s);
        server_end(t, 0);
    }
}

/* The head is not whole: 0 when it may still come. */
static int wait_for_head(struct tunnel_server *t)
{
    struct tunnel_server_group *g = t->group;
    if (deadline_take(&t->deadline))
        return ERR_TIMEOUT;
    count_head(t, buf_len(&t->in));
    if (g->head_bytes > TUNNEL_HEADS_BYTES_MAX)
        return ERR_LIMIT;
    if (!deadline_is_set(&t->deadline))
        deadline_set(&t->deadline, &t->task, loop_now(g->loop) + g->head);
    return 0;
}

static void server_run(struct task *task)
{
    struct tunnel_server *t = container_of(task, struct tunnel_server, task);
    while (t->state == TS_HEAD) {
        int r = head_step(t);
        if (r == ERR_AGAIN)
            r = stream_read(t->s, &t->in, READ_STEP_BYTES);
        if (r == ERR_CLOSED)
            return;
        if (r == ERR_AGAIN) {
            r = wait_for_head(t);
            if (r == 0)
                return;
        }
        if (r < 0) {
            server_end(t, r == ERR_EOF ? ERR_CUT : r);
            return;
        }
    }
    if (t->state == TS_EXCHANGE)
        exchange_step(t);
}
