#include "http/long_text.h"

#include <stdlib.h>

#include "base/err.h"

/* In the exchange's arena. */
struct long_text {
    struct task task;
    struct exchange *ex;
    struct slice rest;
};

static void leave(struct long_text *t)
{
    struct exchange *ex = t->ex;
    task_done(&t->task);
    exchange_leave(ex, EX_RIGHT);
}

static void long_text_run(struct task *task)
{
    struct long_text *t = container_of(task, struct long_text, task);
    struct body *down = &t->ex->down;
    if (exchange_has_failed(t->ex) || exchange_has_left(t->ex, EX_LEFT)) {
        leave(t);
        return;
    }
    struct slice part = slice_sub(t->rest, 0, body_room(down));
    if (part.n > 0 && buf_put(&down->held, part) < 0) {
        exchange_fail(t->ex, ERR_NOMEM, HOP_NONE, NULL);
        leave(t);
        return;
    }
    down->total += part.n;
    t->rest = slice_sub(t->rest, part.n, SIZE_MAX);
    bool is_over = t->rest.n == 0;
    if (is_over)
        body_end(down);
    exchange_wake_left(t->ex);
    if (is_over)
        leave(t);
}

int long_text_respond(struct exchange *ex, const char *media_type, char *text, size_t n)
{
    if (arena_defer(&ex->arena, free, text) < 0) {
        free(text);
        return ERR_NOMEM;
    }
    struct response *r = response_new(ex, 200);
    struct long_text *t = arena_alloc(&ex->arena, sizeof *t);
    if (r == NULL || t == NULL)
        return ERR_NOMEM;
    int e = fields_add(&r->fields, SLICE("Content-Type"), slice_str(media_type));
    if (e == 0)
        e = fields_add(&r->fields, SLICE("Cache-Control"), SLICE("no-store"));
    if (e < 0)
        return e;
    bool has_body = !slice_eq(ex->request.method, SLICE("HEAD")) && n > 0;
    t->ex = ex;
    t->rest = has_body ? slice_of(text, n) : (struct slice){ 0 };
    r->has_length = true;
    r->length = n;
    r->framing = has_body ? FRAMING_LENGTH : FRAMING_NONE;
    task_init(&t->task, ex->loop, long_text_run);
    exchange_attach(ex, &t->task);
    exchange_respond(ex, r);
    task_wake(&t->task);
    return 0;
}
