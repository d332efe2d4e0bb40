#include "http/exchange.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/text.h"

#define SIDE_BIT(side) (1U << (unsigned)(side))
/* With what its arena needs first: one allocation for most exchanges. */
#define EXCHANGE_BYTES 6128

struct exchange_memory {
    struct exchange ex;
    _Alignas(max_align_t) uint8_t first[];
};

static void body_init(struct body *b, struct loop *loop)
{
    *b = (struct body){ 0 };
    buf_init(&b->held, loop_chunks(loop), BODY_BYTES_MAX);
}

struct exchange *exchange_new(struct loop *loop, struct task *left)
{
    struct exchange_memory *memory = malloc(EXCHANGE_BYTES);
    if (memory == NULL)
        return NULL;
    struct exchange *ex = &memory->ex;
    *ex = (struct exchange){ 0 };
    if (chunk_pool_has_secrets(loop_chunks(loop)))
        arena_init_secret(&ex->arena, EXCHANGE_ARENA_BYTES_MAX);
    else
        arena_init(&ex->arena, EXCHANGE_ARENA_BYTES_MAX);
    arena_lend(&ex->arena, memory->first, EXCHANGE_BYTES - sizeof *memory);
    ex->loop = loop;
    ex->left = left;
    ex->rule = ex->connection = -1;
    ex->sides = SIDE_BIT(EX_LEFT);
    ex->at.received = loop_now(loop);
    fields_init(&ex->request.fields, &ex->arena);
    body_init(&ex->up, loop);
    body_init(&ex->down, loop);
    uint64_t id = rng_next(loop_rng(loop));
    (void)hex_encode(slice_of(&id, sizeof id), ex->id);
    return ex;
}

void exchange_take_ray(struct exchange *ex, struct slice ray)
{
    uint8_t bytes[8];
    struct slice digits = slice_sub(ray, 0, 2 * sizeof bytes);
    bool ends = ray.n == digits.n || ray.p[digits.n] == '-';
    if (digits.n == 2 * sizeof bytes && ends && hex_decode(digits, bytes) == 0)
        (void)hex_encode(slice_of(bytes, sizeof bytes), ex->id);
}

void exchange_attach(struct exchange *ex, struct task *right)
{
    assert(ex->right == NULL);
    assert(!exchange_has_left(ex, EX_RIGHT) || ex->sides == SIDE_BIT(EX_LEFT));
    ex->right = right;
    ex->sides |= SIDE_BIT(EX_RIGHT);
}

void exchange_detach(struct exchange *ex)
{
    assert(!exchange_has_left(ex, EX_RIGHT));
    assert(!exchange_has_left(ex, EX_LEFT));
    ex->right = NULL;
    ex->sides &= ~SIDE_BIT(EX_RIGHT);
}

size_t body_put(struct body *b, struct buf *from, size_t max)
{
    assert(!b->ended);
    size_t moved = buf_move(&b->held, from, max);
    b->total += moved;
    return moved;
}

struct response *response_new(struct exchange *ex, unsigned status)
{
    struct response *r = arena_alloc(&ex->arena, sizeof *r);
    if (r == NULL)
        return NULL;
    r->status = status;
    fields_init(&r->fields, &ex->arena);
    return r;
}

int exchange_interim(struct exchange *ex, struct response *r)
{
    size_t count = 0;
    struct response **end = &ex->interim;
    while (*end != NULL) {
        end = &(*end)->next;
        if (++count >= INTERIM_COUNT_MAX)
            return ERR_LIMIT;
    }
    *end = r;
    ex->interims++;
    exchange_wake_left(ex);
    return 0;
}

void exchange_respond(struct exchange *ex, struct response *r)
{
    assert(ex->response == NULL);
    ex->response = r;
    ex->is_upgraded = r->status == 101 || (ex->request.upgrade == UPGRADE_CONNECT &&
                                           r->status >= 200 && r->status < 300);
    ex->at.first_byte = loop_now(ex->loop);
    exchange_wake_left(ex);
}

static void fail(struct exchange *ex, const struct verdict *v)
{
    assert(v->err < 0);
    if (ex->verdict.err == 0)
        ex->verdict = *v;
    exchange_wake_left(ex);
    exchange_wake_right(ex);
}

void exchange_fail(struct exchange *ex, int err, enum hop hop, const char *text)
{
    fail(ex, &(struct verdict){
                 .err = err, .hop = hop, .failure = failure_of_err(err, hop), .text = text });
}

void exchange_fail_as(struct exchange *ex, enum failure failure, int err, const char *text)
{
    fail(ex, &(struct verdict){
                 .err = err, .hop = failure_row(failure)->hop, .failure = failure, .text = text });
}

bool exchange_part(struct exchange *ex, enum parting parting)
{
    bool is_websocket = ex->is_upgraded && ex->request.upgrade == UPGRADE_WEBSOCKET;
    if (exchange_has_failed(ex) || (!is_websocket && !parting_is_event_stream(ex)))
        return false;
    ex->parting = parting;
    exchange_wake_right(ex);
    return true;
}

bool exchange_has_left(const struct exchange *ex, enum side side)
{
    return (ex->sides & SIDE_BIT(side)) == 0;
}

static void reap(struct reaper *r)
{
    struct exchange *ex = container_of(r, struct exchange, reaper);
    buf_done(&ex->up.held);
    buf_done(&ex->down.held);
    arena_done(&ex->arena);
    free(ex);
}

void exchange_leave(struct exchange *ex, enum side side)
{
    assert(!exchange_has_left(ex, side));
    ex->sides &= ~SIDE_BIT(side);
    if (side == EX_LEFT)
        ex->left = NULL;
    else
        ex->right = NULL;
    if (ex->sides == 0) {
        loop_reap(ex->loop, &ex->reaper, reap);
        return;
    }
    if (side == EX_LEFT && !exchange_has_failed(ex))
        exchange_fail(ex, ERR_CANCELED, HOP_VISITOR, "the visitor went away");
    if (side == EX_RIGHT && (ex->response == NULL || !ex->down.ended) && !exchange_has_failed(ex))
        exchange_fail(ex, ERR_CUT, HOP_TUNNEL, "the response broke off");
    exchange_wake_left(ex);
    exchange_wake_right(ex);
}
