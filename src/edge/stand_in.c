#include "edge/stand_in.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "tunnel/h2_server.h"

/* ---- the edge before: a connector of many tunnels ---- */

/* The connection to one worker of the edge that took over. */
struct lender {
    struct task task;
    struct edge_worker *worker;
    struct h2_conn *conn;
    struct reaper reaper;
};

static void lender_reap(struct reaper *r)
{
    free(container_of(r, struct lender, reaper));
}

static void lender_close(struct lender *l)
{
    l->worker->lender = NULL;
    h2_conn_release(l->conn);
    task_done(&l->task);
    loop_reap(l->worker->loop, &l->reaper, lender_reap);
}

static void lender_run(struct task *t)
{
    static const struct h2_hop HOP = { .scheme = "http", .extensions = EXTENSIONS_ALL };
    struct lender *l = container_of(t, struct lender, task);
    struct h2_stream *s;
    const struct h2_head *head;
    while (h2_conn_accept(l->conn, NULL, &s) == 0) {
        enum h2_kind kind = h2_stream_head(s, &head) == 0 ? h2_kind_of(head) : H2_CONTROL;
        if (kind == H2_HTTP || kind == H2_WEBSOCKET) {
            h2_serve_stream(&l->worker->lent, s, head, &HOP);
            continue;
        }
        h2_stream_reset(s, H2_PROTOCOL_ERROR); /* our own edges ask for nothing else */
        stream_release(h2_stream_body(s));
    }
    if (h2_conn_state(l->conn) == H2_CLOSED)
        lender_close(l);
}

static int open_lender(struct edge_worker *w, struct stream *s)
{
    const struct h2_conf conf = {
        .is_server = true,
        .stream_window = TUNNEL_H2_STREAM_WINDOW_BYTES,
        .conn_window = TUNNEL_H2_CONN_WINDOW_BYTES,
        .frame_bytes = TUNNEL_H2_FRAME_BYTES,
        .streams_max = STAND_IN_STREAMS_MAX,
        .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX,
        .abuse_burst = TUNNEL_H2_ABUSE_BURST,
        .abuse_rate = TUNNEL_H2_ABUSE_BURST,
    };
    struct lender *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    task_init(&l->task, w->loop, lender_run);
    int r = h2_open(w->loop, &conf, s, &l->task, &l->conn);
    if (r < 0) {
        free(l);
        return r;
    }
    l->worker = w;
    w->lender = l;
    task_wake(&l->task);
    return 0;
}

int stand_in_serve(struct edge_worker *w, int fd)
{
    struct stream *s;
    int r = tcp_from_fd(w->loop, fd, NULL, &s);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    r = open_lender(w, s);
    if (r < 0) {
        stream_abort(s, r);
        stream_release(s);
    }
    return r;
}

size_t stand_in_part(struct edge_worker *w, enum parting parting)
{
    return h2_server_group_part(&w->lent, 0, parting);
}

size_t stand_in_count(const struct edge_worker *w)
{
    return w->lent.count;
}

/* ---- what came over ---- */

struct came_over {
    struct map_node node;
    struct uuid tunnel;
};

static struct slice key_of(const struct uuid *id)
{
    return slice_of(id->bytes, sizeof id->bytes);
}

void stand_in_note_came_over(struct edge_worker *w, const struct uuid *tunnel)
{
    struct came_over *c = stand_in_came_over(w, tunnel)
                              ? NULL
                              : calloc(1, sizeof *c); /* without it, it lasts longer */
    if (c == NULL)
        return;
    c->tunnel = *tunnel;
    c->node.key = key_of(&c->tunnel);
    if (map_put(&w->came_over, &c->node) < 0)
        free(c);
}

bool stand_in_came_over(const struct edge_worker *w, const struct uuid *tunnel)
{
    return map_get(&w->came_over, key_of(tunnel)) != NULL;
}

/* ---- the edge that took over: links by way of the other ---- */

struct stand_in_link {
    struct map_node node;
    struct link *link; /* counted */
};

int stand_in_open(struct edge_worker *w)
{
    struct stream *s;
    int fd = w->stand_in_fd;
    if (fd < 0)
        return 0;
    w->stand_in_fd = -1;
    int r = tcp_from_fd(w->loop, fd, NULL, &s);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return session_open_stand_in(w, s, &w->stand_in);
}

static void add(struct edge_worker *w, const struct uuid *tunnel)
{
    if (w->stand_in == 0 || map_get(&w->stand_in_links, key_of(tunnel)) != NULL)
        return;
    struct stand_in_link *s = calloc(1, sizeof *s);
    w->serial = w->serial < INT32_MAX ? w->serial + 1 : 1;
    struct link *l =
        s != NULL ? link_new(LINK_ID(w->index, w->serial), w->index, w->mailbox) : NULL;
    if (l == NULL) {
        free(s);
        log_warn("out of memory: a tunnel waits for its connectors to come over");
        return;
    }
    l->session = w->stand_in;
    l->tunnel = *tunnel;
    l->is_stand_in = l->is_h2 = true;
    l->extensions = EXTENSIONS_ALL;
    s->link = l;
    s->node.key = key_of(&l->tunnel);
    if (map_put(&w->stand_in_links, &s->node) < 0) {
        link_unref(l);
        free(s);
        return;
    }
    links_tell(w, l, LINK_ADDED);
}

static void take_away(struct edge_worker *w, struct map_node *node)
{
    struct stand_in_link *s = container_of(node, struct stand_in_link, node);
    map_remove(&w->stand_in_links, node);
    links_tell(w, s->link, LINK_REMOVED);
    link_unref(s->link);
    free(s);
}

void stand_in_set(struct edge_worker *w, const struct uuid *tunnel, bool is_there)
{
    struct map_node *node = map_get(&w->stand_in_links, key_of(tunnel));
    if (is_there)
        add(w, tunnel);
    else if (node != NULL)
        take_away(w, node);
}

void stand_in_lost(struct edge_worker *w)
{
    size_t bucket = 0;
    struct map_node *after = NULL;
    w->stand_in = 0;
    for (struct map_node *n = map_next(&w->stand_in_links, &bucket, &after); n != NULL;
         n = map_next(&w->stand_in_links, &bucket, &after))
        take_away(w, n);
}

/* ---- both ---- */

static void route(void *ctx, struct exchange *ex)
{
    dispatch_lent(ctx, ex);
}

void stand_in_init(struct edge_worker *w)
{
    w->stand_in_fd = -1;
    map_init(&w->stand_in_links);
    map_init(&w->came_over);
    h2_server_group_init(&w->lent, w->loop, &w->drain, route, w);
    w->lent.dialect = &TUNNEL_H2_SERVER;
    w->lent.stall = 0; /* the other edge knows its visitors */
}

void stand_in_close(struct edge_worker *w)
{
    size_t bucket = 0;
    struct map_node *after = NULL;
    if (w->lender != NULL)
        lender_close(w->lender);
    h2_server_group_abort(&w->lent);
    stand_in_lost(w);
    if (w->stand_in_fd >= 0)
        (void)close(w->stand_in_fd);
    w->stand_in_fd = -1;
    for (struct map_node *n = map_next(&w->came_over, &bucket, &after); n != NULL;
         n = map_next(&w->came_over, &bucket, &after)) {
        map_remove(&w->came_over, n);
        free(container_of(n, struct came_over, node));
    }
    map_done(&w->came_over);
    map_done(&w->stand_in_links);
    map_init(&w->came_over);
    map_init(&w->stand_in_links);
}
