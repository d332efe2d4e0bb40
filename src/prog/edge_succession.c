#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "prog/edge_serve_int.h"

/* ---- the end of this one ---- */

static void stop_loop(void *ctx)
{
    loop_stop(((struct server *)ctx)->loop);
}

static void drained_deliver(struct mail *m)
{
    struct server *s = container_of(m, struct server, drained);
    log_info("drained");
    if (s->is_succeeded)
        edge_control_when_idle(&s->control, stop_loop);
    else
        loop_stop(s->loop);
}

static void drained_drop(struct mail *m)
{
    (void)m;
}

struct mail *server_drained(struct server *s)
{
    s->drained = (struct mail){ .deliver = drained_deliver, .drop = drained_drop };
    return &s->drained;
}

/* Another edge serves: what is here may end, and then we do. */
static void hand_over(void *ctx, const int *relays, const int *streams)
{
    struct server *s = ctx;
    s->is_draining = s->is_succeeded = true;
    edge_control_hand_over(&s->control);
    edge_hand_over(s->edge, relays, streams, s->o->upgrade_grace, loop_mailbox(s->loop),
                   server_drained(s));
}

static long still_ending(void *ctx)
{
    const struct server *s = ctx;
    return s->is_draining ? (long)getpid() : s->heir.watch != NULL ? s->heir.process : 0;
}

/* Whichever edge is there beside us is to look at the database again. */
static void changed_here(void *ctx)
{
    struct server *s = ctx;
    takeover_giver_tell(&s->giver, TAKEOVER_CHANGED, NULL);
    takeover_heir_tell(&s->heir, TAKEOVER_CHANGED, NULL);
}

static void changed_there(void *ctx)
{
    edge_control_look_again(&((struct server *)ctx)->control);
}

static void tunnel_news(void *ctx, const struct uuid *tunnel, bool is_there)
{
    struct server *s = ctx;
    takeover_giver_tell(&s->giver, is_there ? TAKEOVER_SERVES : TAKEOVER_SERVES_NOT, tunnel);
    if (is_there)
        takeover_heir_tell(&s->heir, TAKEOVER_SERVES, tunnel);
}

static void tell_one(void *ctx, const struct uuid *tunnel)
{
    tunnel_news(ctx, tunnel, true);
}

static void tell_everything(void *ctx)
{
    live_tunnels(((struct server *)ctx)->control.api.live, tell_one, ctx);
}

static void came_over(void *ctx, const struct uuid *tunnel)
{
    edge_came_over(((struct server *)ctx)->edge, tunnel);
}

static void stands_in(struct takeover_heir *h, const struct uuid *tunnel, bool is_there)
{
    edge_stand_in(container_of(h, struct server, heir)->edge, tunnel, is_there);
}

static void heir_news(struct takeover_heir *h)
{
    struct server *s = container_of(h, struct server, heir);
    if (h->watch == NULL)
        edge_control_alone(&s->control);
    else
        edge_control_look_again(&s->control);
}

/* ---- its beginning ---- */

int server_begin(struct server *s, struct fault *fault)
{
    int r = 0;
    s->heir.changed = heir_news;
    s->heir.stands_in = stands_in;
    edge_meet(s->edge);
    if (s->heir.process > 0)
        r = takeover_ready(&s->heir, fault);
    if (r < 0)
        return r;
    s->is_serving = true;
    edge_begin(s->edge);
    edge_control_begin(&s->control);
    edge_sockets_close(&s->sockets);
    takeover_close_sockets(&s->heir);
    if (s->heir.process > 0)
        datadir_claim(&s->dir);
    if (s->heir.process > 0 && takeover_follow(&s->heir, s->loop) < 0)
        log_warn("the edge before this one is not heard of");
    s->giver.edge = s->edge;
    s->giver.lock_fd = s->dir.lock_fd;
    s->giver.local_fd = tcp_listener_fd(s->control.local);
    s->giver.generation = s->heir.edge.generation;
    s->giver.ending = still_ending;
    s->giver.hand_over = hand_over;
    s->giver.everything = tell_everything;
    s->giver.changed = changed_there;
    s->giver.came_over = came_over;
    s->giver.ctx = s;
    s->control.changed = changed_here;
    s->control.tunnel_news = tunnel_news;
    s->control.ctx = s;
    r = takeover_serve(&s->giver, s->loop);
    return r == 0 ? server_write_addresses(s, fault)
                  : fault_set(fault, r, "the socket for upgrades cannot be watched");
}

int server_inherit(struct server *s, struct fault *fault)
{
    if (!s->o->upgrade)
        return 0;
    int r = takeover_ask(&s->heir, edge_data_dir(s->o), fault);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0)
        return r;
    edge_sockets_close(&s->sockets); /* those that it has are the ones in use */
    edge_upgrade_match(&s->heir, &s->addrs, &s->local);
    log_info("taking over from the edge that runs", LI64("process", s->heir.process));
    return 0;
}

int server_open_directory(struct server *s, const char *const *names, struct fault *fault)
{
    int lock_fd = s->heir.lock_fd, next_fd = s->heir.next_fd;
    s->heir.lock_fd = s->heir.next_fd = -1; /* given away */
    int r = datadir_open(edge_data_dir(s->o), names, lock_fd, &s->dir, fault);
    if (r < 0 && next_fd >= 0)
        (void)close(next_fd);
    return r < 0 ? r : takeover_bind(&s->giver, s->dir.path, next_fd, fault);
}
