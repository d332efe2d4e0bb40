#include "connector/config_request.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "codec/json.h"
#include "tunnel/h2_words.h"

#define REQUEST_NSEC (5 * NSEC_PER_SEC)
#define BODY_MAX     (CAPNP_MESSAGE_BYTES_MAX + 64)
#define ANSWER_MAX   (FAULT_TEXT_BYTES * 6 + 128) /* six characters for each, when escaped */

struct config_request {
    struct list node;
    struct task task;
    struct deadline deadline;
    struct serve *serve;
    uint64_t number;
    struct h2_stream *s;
    struct buf in, out;
    bool has_asked, is_answered;
    struct reaper reaper;
};

static void reap(struct reaper *r)
{
    struct config_request *q = container_of(r, struct config_request, reaper);
    buf_done(&q->in);
    buf_done(&q->out);
    free(q);
}

static void request_end(struct config_request *q, int why)
{
    if (why < 0)
        stream_abort(h2_stream_body(q->s), why);
    stream_release(h2_stream_body(q->s));
    deadline_clear(&q->deadline);
    task_done(&q->task);
    list_remove(&q->node);
    loop_reap(q->serve->loop, &q->reaper, reap);
}

/* ---- what is asked ---- */

int config_request_read(struct slice body, struct config_ask **ret)
{
    struct fault f;
    json_t *root;
    struct strb text;
    int r = json_parse_last_wins(body, &root, &f);
    if (r < 0)
        return r;
    const json_t *version = json_object_get(root, "version"),
                 *config = json_object_get(root, "config");
    strb_init(&text, BODY_MAX);
    if (!json_is_integer(version) ||
        json_integer_value(version) != (int32_t)json_integer_value(version))
        r = ERR_PARSE;
    else if (config == NULL)
        strb_str(&text, "null");
    else
        json_write(&text, config);
    if (r == 0)
        r = text.err;
    *ret = r == 0 ? config_ask_new(strb_slice(&text), (int32_t)json_integer_value(version)) : NULL;
    if (r == 0 && *ret == NULL)
        r = ERR_NOMEM;
    strb_done(&text);
    json_decref(root);
    return r;
}

/* ---- the answer ---- */

/* The reference cannot say what was wrong over this transport; ours says it beside. */
static void write_answer(struct strb *to, const struct config_ask *ask)
{
    strb_fmt(to, "{\"lastAppliedVersion\":%d,\"err\":%s", ask->applied,
             ask->err[0] != 0 ? "{}" : "null");
    json_t *text = ask->err[0] != 0 ? json_string(ask->err) : NULL;
    if (text != NULL) {
        strb_str(to, ",\"text\":");
        json_write(to, text);
    }
    json_decref(text);
    strb_str(to, "}");
}

static int respond(struct config_request *q, const struct config_ask *ask)
{
    struct strb text;
    char digits[U64_TEXT_BYTES];
    strb_init(&text, ANSWER_MAX);
    write_answer(&text, ask);
    int r = text.err;
    if (r == 0)
        r = buf_put(&q->out, strb_slice(&text));
    const struct h2_field fields[] = {
        { SLICE("content-type"), SLICE("text/plain; charset=utf-8"), false },
        { SLICE("content-length"), slice_of(digits, u64_text(strb_slice(&text).n, digits)), false },
    };
    const struct h2_send_head head = { .status = 200, .fields = fields, .count = 2 };
    if (r == 0)
        r = h2_stream_respond(q->s, &head, false);
    strb_done(&text);
    return r;
}

/* What cannot be read is refused as the reference does it. */
static int refuse(struct config_request *q)
{
    const struct h2_field fields[] = {
        { SLICE(H2_META_FIELD), SLICE(H2_META_CONNECTOR), false },
        { SLICE("content-length"), SLICE("0"), false },
    };
    const struct h2_send_head head = { .status = 502, .fields = fields, .count = 2 };
    log_warn("the edge sent a configuration that cannot be read");
    return h2_stream_respond(q->s, &head, true);
}

/* ---- the stream ---- */

/* The body is whole. ERR_AGAIN when the answer is to come, 0 when there was one. */
static int ask(struct config_request *q)
{
    struct serve *s = q->serve;
    struct config_ask *ask = NULL;
    size_t n = buf_len(&q->in);
    uint8_t *body = malloc(n + 1);
    if (body == NULL)
        return ERR_NOMEM;
    int r = config_request_read(slice_of(body, buf_copy(&q->in, 0, body, n)), &ask);
    free(body);
    buf_drop(&q->in, n);
    if (r == ERR_NOMEM)
        return r;
    if (r < 0 || s->configure == NULL || s->asks >= CONFIG_ASKS_MAX) {
        config_ask_free(ask);
        return refuse(q);
    }
    s->asks++;
    ask->serve = s;
    ask->stream = q->number;
    ask->is_h2 = true;
    q->has_asked = true;
    s->configure(s->configure_ctx, ask);
    return ERR_AGAIN;
}

static int receive(struct config_request *q)
{
    int r;
    while ((r = stream_read(h2_stream_body(q->s), &q->in, READ_STEP_BYTES)) == 0)
        continue;
    if (r == ERR_EOF)
        return ask(q);
    return r == ERR_AGAIN && buf_room(&q->in) == 0 ? ERR_LIMIT : r;
}

/* 0 when everything is out. */
static int step(struct config_request *q)
{
    struct stream *body = h2_stream_body(q->s);
    if (!q->has_asked && !q->is_answered) {
        int r = receive(q);
        if (r < 0)
            return r;
        q->is_answered = true;
        return 0;
    }
    if (!q->is_answered)
        return ERR_AGAIN;
    int r = stream_write(body, &q->out);
    if (r == 0)
        stream_finish(body);
    return r;
}

static void run(struct task *t)
{
    struct config_request *q = container_of(t, struct config_request, task);
    int r = deadline_take(&q->deadline) ? ERR_TIMEOUT : step(q);
    if (r != ERR_AGAIN)
        request_end(q, r);
}

void config_request_open(struct serve *s, struct h2_stream *stream)
{
    struct config_request *q = calloc(1, sizeof *q);
    if (q == NULL) {
        stream_abort(h2_stream_body(stream), ERR_NOMEM);
        stream_release(h2_stream_body(stream));
        return;
    }
    q->serve = s;
    q->number = ++s->request_count;
    q->s = stream;
    buf_init(&q->in, loop_chunks(s->loop), BODY_MAX);
    buf_init(&q->out, loop_chunks(s->loop), ANSWER_MAX);
    task_init(&q->task, s->loop, run);
    h2_stream_body(stream)->owner = &q->task;
    list_push_back(&s->requests, &q->node);
    deadline_set(&q->deadline, &q->task, loop_now_fresh(s->loop) + REQUEST_NSEC);
    task_wake(&q->task);
}

void config_request_configured(struct serve *s, struct config_ask *ask)
{
    s->asks--;
    list_each(it, &s->requests)
    {
        struct config_request *q = container_of(it, struct config_request, node);
        if (q->number != ask->stream || q->is_answered)
            continue;
        q->is_answered = true;
        int r = respond(q, ask);
        if (r < 0)
            request_end(q, r);
        else
            task_wake(&q->task);
        break;
    }
    config_ask_free(ask);
}

void config_requests_abort(struct serve *s)
{
    list_each(it, &s->requests)
    {
        request_end(container_of(it, struct config_request, node), ERR_CLOSED);
    }
}
