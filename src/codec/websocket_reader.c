#include "codec/websocket_reader.h"

#include <string.h>

#include "base/err.h"

void websocket_reader_init(struct websocket_reader *r)
{
    *r = (struct websocket_reader){ 0 };
}

bool websocket_is_within(const struct websocket_reader *r)
{
    return r->in_payload || r->in_message;
}

/* What a head means for the messages around it. */
static int enter(struct websocket_reader *r)
{
    const struct websocket_frame *f = &r->frame;
    if (!f->is_masked)
        return ERR_PROTO;
    r->at = 0;
    r->in_payload = true;
    if (websocket_is_control(f->opcode))
        return 0;
    if ((f->opcode == WEBSOCKET_CONTINUATION) != r->in_message)
        return ERR_PROTO;
    if (f->opcode != WEBSOCKET_CONTINUATION)
        r->drops = f->opcode == WEBSOCKET_TEXT;
    r->in_message = !f->is_final;
    return 0;
}

static int take_head(struct websocket_reader *r, struct buf *from)
{
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    size_t n = buf_copy(from, 0, head, sizeof head);
    int size = websocket_head_decode(slice_of(head, n), &r->frame);
    if (size < 0)
        return size;
    buf_drop(from, (size_t)size);
    return enter(r);
}

/* Up to n bytes from one contiguous run to another, unmasked on the way: the bytes where they came
 * from may belong to a chunk that others see too. Returns how many, or ERR_NOMEM. */
static int move_piece(struct websocket_reader *r, struct buf *from, struct buf *to, size_t n)
{
    struct slice front = buf_front(from);
    size_t room;
    if (n > front.n)
        n = front.n;
    uint8_t *p = buf_reserve(to, n, &room);
    if (p == NULL)
        return ERR_NOMEM;
    if (n > room)
        n = room;
    memcpy(p, front.p, n);
    websocket_mask(p, n, r->frame.mask, r->at);
    buf_commit(to, n);
    buf_drop(from, n);
    return (int)n;
}

/* 0 when the payload is through. */
static int take_payload(struct websocket_reader *r, struct buf *from, struct buf *to)
{
    while (r->at < r->frame.length) {
        uint64_t left = r->frame.length - r->at;
        size_t n = left < buf_len(from) ? (size_t)left : buf_len(from);
        if (n == 0)
            return ERR_AGAIN;
        if (websocket_is_control(r->frame.opcode)) {
            uint8_t *p = r->control + r->at;
            (void)buf_copy(from, 0, p, n);
            websocket_mask(p, n, r->frame.mask, r->at);
            buf_drop(from, n);
        } else if (r->drops) {
            buf_drop(from, n);
        } else {
            if (buf_room(to) == 0)
                return ERR_LIMIT;
            int moved = move_piece(r, from, to, n);
            if (moved < 0)
                return moved;
            n = (size_t)moved;
        }
        r->at += n;
    }
    r->in_payload = false;
    return 0;
}

int websocket_read(struct websocket_reader *r, struct buf *from, struct buf *to)
{
    for (;;) {
        int e = r->in_payload ? 0 : take_head(r, from);
        if (e == 0)
            e = take_payload(r, from, to);
        if (e == ERR_AGAIN)
            return WEBSOCKET_HUNGRY;
        if (e == ERR_LIMIT)
            return WEBSOCKET_FULL;
        if (e < 0)
            return e;
        if (r->frame.opcode == WEBSOCKET_PING)
            return WEBSOCKET_PINGED;
        if (r->frame.opcode == WEBSOCKET_CLOSE)
            return WEBSOCKET_OVER;
    }
}
