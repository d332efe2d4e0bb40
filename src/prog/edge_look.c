#include "base/err.h"
#include "base/log.h"
#include "prog/edge_control.h"
#include "prog/edge_rollout.h"

static void close_all(struct edge_control *c, const struct uuid *tunnel)
{
    for (const struct live_conn *conn = live_first(c->api.live, tunnel); conn != NULL;
         conn = live_next(c->api.live, conn))
        edge_close_link(c->edge, conn->link);
}

static void look_at(void *ctx, const struct uuid *id)
{
    struct edge_control *c = ctx;
    struct tunnel t;
    int version = 0;
    int r = store_tunnel_get(c->api.store, id, &t);
    bool is_gone = r == ERR_NOTFOUND || (r == 0 && t.deleted_us != 0),
         is_remote = r == 0 && t.is_remote;
    explicit_bzero(&t, sizeof t);
    if (is_gone)
        close_all(c, id);
    else if (r == 0 && is_remote && store_config_version(c->api.store, id, &version) == 0)
        rollout_want(c->api.rollout, id, version, loop_now(c->loop));
    else if (r < 0)
        log_warn("a change by the other edge could not be read", LERR(r));
}

void edge_control_look_again(struct edge_control *c)
{
    edge_control_publish(c);
    live_tunnels(c->api.live, look_at, c);
    edge_rollout_wake(c);
}
