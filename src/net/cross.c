#include "net/cross.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"

#define CREDIT_STEP (CROSS_WINDOW_BYTES / 4) /* what was read is told in steps */

/* The two ends share one counted block with a half for each; each half belongs to its own loop's
 * thread, and mail is the only way from one to the other. */
enum kind {
    CROSS_OPEN,
    CROSS_DATA,
    CROSS_CREDIT,
    CROSS_FINISH,
    CROSS_STOP,  /* the sender let go after its own end: nothing more is wanted of the receiver */
    CROSS_ABORT, /* both directions are over */
    CROSS_LOST,  /* comes back for a note that found no loop any more */
};

struct half;

/* Those that come once at most, and credit, lie in the half that posts them: telling the end never
 * wants for memory. */
struct note {
    struct mail mail;
    struct half *to;
    enum kind kind;
    bool has_data; /* it is the start of a parcel */
    int why;
};

struct parcel {
    struct note note;
    struct buf data;
};

struct half {
    struct stream stream;
    struct shared *shared;
    struct loop *loop;
    struct mailbox *mailbox; /* of this half's loop, counted */
    struct half *other;
    struct buf in;    /* arrived, not read */
    size_t in_credit; /* read, not yet told */
    size_t out_room;  /* may yet be sent */
    bool is_full, is_finished, is_in_over, is_released;
    int err;     /* why both directions are over */
    int out_err; /* why nothing can be written any more: what has come may still be read */
    struct note finish, stop, abort, credit;
    _Atomic bool is_credit_out; /* `credit` is in the mail */
    _Atomic size_t granted;     /* by the other half, not yet taken up here */
};

struct shared {
    _Atomic unsigned refs; /* the two halves while not released, and every mail under way */
    struct half ends[2];
    struct note open;
    cross_accept *accept;
    void (*dropped)(void *ctx);
    void *ctx;
};

static const struct stream_ops CROSS_OPS;

static struct half *half_of(struct stream *s)
{
    return (struct half *)(void *)((char *)s - offsetof(struct half, stream));
}

static void shared_unref(struct shared *sh)
{
    if (atomic_fetch_sub_explicit(&sh->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; i < 2; i++) {
        buf_done(&sh->ends[i].in);
        mailbox_unref(sh->ends[i].mailbox);
    }
    free(sh);
}

static void die(struct half *h, int why)
{
    if (h->err == 0)
        h->err = why;
    task_wake(h->stream.owner);
}

static void stop_writing(struct half *h, int why)
{
    if (h->out_err == 0)
        h->out_err = why;
    task_wake(h->stream.owner);
}

/* ---- notes ---- */

static struct parcel *parcel_of(struct note *n)
{
    return container_of(n, struct parcel, note);
}

static void parcel_free(struct note *n)
{
    buf_done(&parcel_of(n)->data);
    free(parcel_of(n));
}

static void note_end(struct note *n, struct shared *sh)
{
    if (n->has_data)
        parcel_free(n);
    shared_unref(sh);
}

static void note_dropped(struct mail *m);
static void note_deliver(struct mail *m);

static void post(struct half *from, struct note *n, enum kind kind)
{
    n->mail = (struct mail){ .deliver = note_deliver, .drop = note_dropped };
    n->to = from->other;
    n->kind = kind;
    atomic_fetch_add_explicit(&from->shared->refs, 1, memory_order_relaxed);
    mailbox_post(from->other->mailbox, &n->mail);
}

static void post_why(struct half *from, struct note *n, enum kind kind, int why)
{
    n->why = why;
    post(from, n, kind);
}

/* The note may still be on its way with what was granted before: then it takes this along. */
static void grant(struct half *from, size_t credit)
{
    atomic_fetch_add(&from->other->granted, credit);
    if (!atomic_exchange(&from->is_credit_out, true))
        post(from, &from->credit, CROSS_CREDIT);
}

/* The receiver's loop is gone: the sender learns of it, on its own thread, by a note that comes
 * back. Whoever owned the receiving half has let go of it before (its last words are on their way
 * or were said), so that what only concerns its reading comes to nothing. */
static void note_dropped(struct mail *m)
{
    struct note *n = container_of(m, struct note, mail);
    struct shared *sh = n->to->shared;
    bool was_open = n->kind == CROSS_OPEN;
    if (was_open && sh->dropped != NULL)
        sh->dropped(sh->ctx);
    if (was_open || n->kind == CROSS_DATA || n->kind == CROSS_FINISH) {
        n->mail = (struct mail){ .deliver = note_deliver, .drop = note_dropped };
        n->to = n->to->other;
        n->kind = CROSS_LOST;
        mailbox_post(n->to->mailbox, &n->mail);
    } else {
        note_end(n, sh);
    }
    if (was_open)
        shared_unref(sh); /* of the far half, which nobody will ever have */
}

static void accept_far(struct half *h)
{
    struct shared *sh = h->shared;
    buf_init(&h->in, loop_chunks(h->loop), CROSS_WINDOW_BYTES);
    sh->accept(sh->ctx, h->loop, &h->stream);
}

static void cross_abort(struct stream *s, int why);

/* All of it or none: a piece that is missing in the middle would not be noticed by anybody. */
static void take_data(struct half *h, struct buf *data)
{
    size_t n = buf_len(data);
    if (buf_move(&h->in, data, SIZE_MAX) < n)
        cross_abort(&h->stream, ERR_NOMEM);
}

/* From the moment that the note is no longer out, it is the other half's again. */
static void take_credit(struct half *h)
{
    struct shared *sh = h->shared;
    atomic_store(&h->other->is_credit_out, false);
    h->out_room += atomic_exchange(&h->granted, 0);
    if (h->is_full)
        task_wake(h->stream.owner);
    h->is_full = false;
    shared_unref(sh);
}

static void note_deliver(struct mail *m)
{
    struct note *n = container_of(m, struct note, mail);
    struct half *h = n->to;
    if (n->kind == CROSS_CREDIT) {
        take_credit(h);
        return;
    }
    switch (n->kind) {
    case CROSS_OPEN:
        accept_far(h);
        break;
    case CROSS_DATA:
        if (!h->is_released && h->err == 0)
            take_data(h, &parcel_of(n)->data);
        task_wake(h->stream.owner);
        break;
    case CROSS_CREDIT:
        break;
    case CROSS_FINISH:
        h->is_in_over = true;
        task_wake(h->stream.owner);
        break;
    case CROSS_STOP:
        stop_writing(h, n->why);
        break;
    case CROSS_ABORT:
        die(h, n->why);
        break;
    case CROSS_LOST:
        if (h->is_in_over) /* it had ended in order: what came of it is whole */
            stop_writing(h, ERR_CLOSED);
        else
            die(h, ERR_CLOSED);
        break;
    }
    note_end(n, h->shared);
}

/* ---- the five verbs ---- */

static int cross_read(struct stream *s, struct buf *to, size_t max)
{
    struct half *h = half_of(s);
    size_t n = max > 0 ? buf_move(to, &h->in, max) : 0;
    if (n > 0) {
        h->in_credit += n;
        if (h->in_credit >= CREDIT_STEP) {
            grant(h, h->in_credit);
            h->in_credit = 0;
        }
        return 0;
    }
    if (h->err < 0)
        return h->err;
    if (max > 0 && buf_is_stuck(to, &h->in))
        return ERR_NOMEM;
    return h->is_in_over && buf_is_empty(&h->in) ? ERR_EOF : ERR_AGAIN;
}

static int send_data(struct half *h, struct buf *from)
{
    struct parcel *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->note.has_data = true;
    buf_init(&p->data, loop_chunks(h->loop), CROSS_WINDOW_BYTES);
    h->out_room -= buf_move(&p->data, from, h->out_room); /* some: two pieces need no memory */
    post(h, &p->note, CROSS_DATA);
    return 0;
}

static int cross_write(struct stream *s, struct buf *from)
{
    struct half *h = half_of(s);
    if (h->err < 0)
        return h->err;
    if (h->out_err < 0)
        return h->out_err;
    if (h->is_finished)
        return ERR_CLOSED;
    /* What memory was short for in the middle goes in another parcel. */
    while (h->out_room > 0 && !buf_is_empty(from)) {
        int r = send_data(h, from);
        if (r < 0)
            return r;
    }
    h->is_full = !buf_is_empty(from);
    return h->is_full ? ERR_AGAIN : 0;
}

static void cross_finish(struct stream *s)
{
    struct half *h = half_of(s);
    if (h->is_finished || h->err < 0)
        return;
    h->is_finished = true;
    post(h, &h->finish, CROSS_FINISH);
}

static void cross_abort(struct stream *s, int why)
{
    struct half *h = half_of(s);
    if (h->err < 0)
        return;
    h->err = why < 0 ? why : ERR_CLOSED;
    buf_drop(&h->in, buf_len(&h->in));
    post_why(h, &h->abort, CROSS_ABORT, ERR_RESET);
}

static void cross_release(struct stream *s)
{
    struct half *h = half_of(s);
    if (!h->is_finished) {
        cross_abort(s, ERR_CLOSED);
    } else if (h->err == 0 && !h->is_in_over) {
        post_why(h, &h->stop, CROSS_STOP, ERR_RESET);
    }
    h->stream.owner = NULL;
    h->is_released = true;
    buf_drop(&h->in, buf_len(&h->in));
    shared_unref(h->shared);
}

static const struct stream_ops CROSS_OPS = {
    .kind = "cross",
    .read = cross_read,
    .write = cross_write,
    .finish = cross_finish,
    .abort = cross_abort,
    .release = cross_release,
};

int cross_open(struct loop *near, struct task *owner, struct mailbox *far, struct loop *far_loop,
               cross_accept *accept, void (*dropped)(void *ctx), void *ctx, struct stream **ret)
{
    struct shared *sh = calloc(1, sizeof *sh);
    if (sh == NULL)
        return ERR_NOMEM;
    atomic_init(&sh->refs, 2);
    sh->accept = accept;
    sh->dropped = dropped;
    sh->ctx = ctx;
    for (int i = 0; i < 2; i++) {
        struct half *h = &sh->ends[i];
        h->stream.ops = &CROSS_OPS;
        h->shared = sh;
        h->other = &sh->ends[1 - i];
        h->out_room = CROSS_WINDOW_BYTES;
        h->loop = i == 0 ? near : far_loop;
        h->mailbox = mailbox_ref(i == 0 ? loop_mailbox(near) : far);
    }
    sh->ends[0].stream.owner = owner;
    buf_init(&sh->ends[0].in, loop_chunks(near), CROSS_WINDOW_BYTES);
    post(&sh->ends[0], &sh->open, CROSS_OPEN);
    *ret = &sh->ends[0].stream;
    return 0;
}
