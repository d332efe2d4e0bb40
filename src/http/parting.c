#include "http/parting.h"

#include "base/err.h"
#include "http/exchange.h"

#define CLOSE_GOING_AWAY 1001 /* RFC 6455 §7.4.1 */
#define RSV_BITS         0x70 /* of extensions that the ends agreed on: not our business */

bool parting_is_event_stream(const struct exchange *ex)
{
    const struct response *r = ex->response;
    const struct field *type = r != NULL ? fields_get(&r->fields, SLICE("content-type")) : NULL;
    struct slice rest = type != NULL ? type->value : (struct slice){ 0 }, name;
    return r != NULL && r->framing == FRAMING_STREAM && !ex->is_upgraded &&
           slice_split(&rest, ';', &name) &&
           slice_eq_nocase(slice_trim(name), SLICE("text/event-stream"));
}

static bool is_websocket(const struct exchange *ex)
{
    return ex->is_upgraded && ex->request.upgrade == UPGRADE_WEBSOCKET;
}

/* ---- following ---- */

/* One head, or a piece of one. False when there is nothing more to be said now. */
static bool take_head(struct frames *f, const struct body *b, uint64_t base)
{
    struct websocket_frame frame;
    size_t n =
        buf_copy(&b->held, (size_t)(f->at - base), f->head + f->have, sizeof f->head - f->have);
    if (f->have == 0)
        f->begun = f->at;
    uint8_t first = f->head[0];
    f->head[0] &= (uint8_t)~RSV_BITS;
    int r = websocket_head_decode(slice_of(f->head, f->have + n), &frame);
    f->head[0] = first;
    if (r == ERR_AGAIN) {
        f->have = (uint8_t)(f->have + n);
        f->at += n;
        return false;
    }
    if (r < 0) {
        f->is_lost = true;
        return false;
    }
    f->at += (uint64_t)r - f->have;
    f->have = 0;
    f->left = frame.length;
    f->has_close = frame.opcode == WEBSOCKET_CLOSE;
    return !f->has_close;
}

/* What the other side put, or is about to take, since the last look. */
static void follow(struct frames *f, const struct body *b)
{
    uint64_t base = b->total - buf_len(&b->held);
    if (f->at < base && !f->has_close)
        f->is_lost = true; /* bytes that left unseen */
    while (!f->is_lost && !f->has_close && f->at < b->total) {
        uint64_t n = b->total - f->at < f->left ? b->total - f->at : f->left;
        f->at += n;
        f->left -= n;
        if (f->at < b->total && !take_head(f, b, base))
            return;
    }
}

static void watch(struct exchange *ex)
{
    if (!is_websocket(ex))
        return;
    follow(&ex->frames_up, &ex->up);
    follow(&ex->frames_down, &ex->down);
}

/* ---- telling ---- */

static int put_close(struct exchange *ex, struct body *b, bool is_masked)
{
    struct websocket_frame frame = {
        .opcode = WEBSOCKET_CLOSE, .is_final = true, .is_masked = is_masked, .length = 2
    };
    uint8_t bytes[WEBSOCKET_HEAD_BYTES + 2];
    uint64_t mask = rng_next(loop_rng(ex->loop));
    if (is_masked)
        memcpy(frame.mask, &mask, sizeof frame.mask);
    size_t n = websocket_head_encode(&frame, bytes);
    uint8_t *code = bytes + n;
    code[0] = CLOSE_GOING_AWAY >> 8;
    code[1] = CLOSE_GOING_AWAY & 0xff;
    if (is_masked)
        websocket_mask(code, 2, frame.mask, 0);
    int r = buf_put(&b->held, slice_of(bytes, n + 2));
    if (r == 0)
        b->total += n + 2;
    return r;
}

/* The direction's end, in order. False when that cannot be now: amid a frame whose beginning has
 * left, or without room. */
static bool close_way(struct exchange *ex, struct frames *f, struct body *b, bool is_masked)
{
    uint64_t base = b->total - buf_len(&b->held);
    bool is_between = f->left == 0 && f->have == 0;
    if (b->ended)
        return true;
    if (f->is_lost)
        return false;
    if (!f->has_close && !is_between) {
        if (f->begun < base)
            return false;
        buf_drop_tail(&b->held, (size_t)(b->total - f->begun));
        b->total = f->at = f->begun;
        f->left = f->have = 0;
    }
    if (f->has_close && f->left > b->total - f->at)
        return false; /* theirs, which is not whole yet */
    if (!f->has_close && put_close(ex, b, is_masked) < 0)
        return false;
    f->has_close = true;
    body_end(b);
    return true;
}

void parting_before(struct exchange *ex)
{
    watch(ex);
    if (ex->parting != PARTING_NONE && is_websocket(ex) &&
        close_way(ex, &ex->frames_up, &ex->up, true))
        exchange_wake_left(ex);
}

/* An origin that ends without a word: the left has not looked yet, so that ours still comes before
 * the end. */
static void complete(struct exchange *ex)
{
    struct frames *f = &ex->frames_down;
    if (is_websocket(ex) && !f->is_lost && !f->has_close && f->left == 0 && f->have == 0)
        f->has_close = put_close(ex, &ex->down, false) == 0;
}

bool parting_after(struct exchange *ex)
{
    watch(ex);
    if (ex->parting == PARTING_NONE)
        return false;
    if (ex->down.ended) {
        complete(ex);
        return true;
    }
    if (is_websocket(ex)) {
        bool is_told = ex->frames_down.has_close; /* by the origin's answer */
        if ((ex->parting != PARTING_BOTH && !is_told) ||
            !close_way(ex, &ex->frames_down, &ex->down, false))
            return false;
    } else if (parting_is_event_stream(ex)) {
        body_end(&ex->down);
    } else {
        return false;
    }
    exchange_wake_left(ex);
    return true;
}

void parting_end_down(struct exchange *ex)
{
    if (ex->parting != PARTING_NONE && is_websocket(ex))
        (void)put_close(ex, &ex->down, false); /* without room for it the end has to do */
    body_end(&ex->down);
}
