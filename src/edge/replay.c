#include "edge/replay.h"

#include "base/err.h"

#define PIECES_MAX 64 /* each may hold on to a chunk */

void replay_init(struct replay *r, struct exchange *ex)
{
    *r = (struct replay){ .is_on = true };
    buf_init(&r->kept, loop_chunks(ex->loop), REPLAY_BYTES_MAX);
}

static void lose(struct replay *r)
{
    r->is_lost = true;
    buf_drop(&r->kept, buf_len(&r->kept));
}

void replay_keep(struct replay *r, const struct exchange *ex)
{
    if (!replay_can(r) || ex->up.total == r->seen)
        return;
    uint64_t fresh = ex->up.total - r->seen;
    size_t held = buf_len(&ex->up.held);
    if (ex->up.total > REPLAY_BYTES_MAX || fresh > held || r->kept.count > PIECES_MAX ||
        buf_share_tail(&r->kept, &ex->up.held, held - (size_t)fresh) < 0) {
        lose(r);
        return;
    }
    r->seen = ex->up.total;
}

int replay_again(struct replay *r, struct exchange *ex)
{
    replay_keep(r, ex);
    if (!replay_can(r))
        return ERR_NOMEM;
    buf_drop(&ex->up.held, buf_len(&ex->up.held));
    return buf_share_tail(&ex->up.held, &r->kept, 0);
}

void replay_done(struct replay *r)
{
    if (r->is_on)
        buf_done(&r->kept);
    *r = (struct replay){ 0 };
}
