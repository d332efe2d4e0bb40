#include "prog/takeover_giver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/udp_relay.h"

#define PATIENCE_NSEC (60 * NSEC_PER_SEC) /* until the next edge is ready */
#define BACKLOG       4
#define OF_WORKER     (EDGE_WORKER_SOCKETS + 2U) /* messages: its sockets, relay and stream */
#define HEARD_A_STEP  64

/* ---- the socket in the directory ---- */

int takeover_bind(struct takeover_giver *g, const char *data_dir, int fd, struct fault *fault)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g->next_fd = fd;
    if (fd >= 0)
        return 0;
    int dir = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return fault_set(fault, err_from_errno(errno), "%s: %s", data_dir, strerror(errno));
    (void)unlinkat(dir, TAKEOVER_SOCKET, 0); /* we have the lock: nobody listens there */
    (void)snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/" TAKEOVER_SOCKET, dir);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_bound = fd >= 0 && bind(fd, (const struct sockaddr *)&un, sizeof un) == 0 &&
                    fchmodat(dir, TAKEOVER_SOCKET, 0600, 0) == 0 && listen(fd, BACKLOG) == 0;
    if (!is_bound) {
        /* Without it there is no upgrade, and nothing else is missing. */
        log_warn("this edge cannot be upgraded: its socket cannot be bound",
                 LSTR("file", TAKEOVER_SOCKET), LSTR("why", strerror(errno)));
        if (fd >= 0)
            (void)close(fd);
        fd = -1;
    }
    (void)close(dir);
    g->next_fd = fd;
    return 0;
}

/* ---- one who asks ---- */

static void drop(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void close_pairs(struct takeover_giver *g)
{
    for (unsigned i = 0; i < g->relay_count; i++) {
        drop(&g->relays[i]);
        drop(&g->far_relays[i]);
        drop(&g->streams[i]);
        drop(&g->far_streams[i]);
    }
    g->relay_count = 0;
}

static void forget_peer(struct takeover_giver *g)
{
    watch_close(g->peer);
    g->peer = NULL;
    deadline_clear(&g->patience);
    close_pairs(g);
    takeover_queue_free(&g->out);
}

static void give_up(struct takeover_giver *g, const char *why)
{
    log_warn("the upgrade failed, and this edge goes on", LI64("process", g->process),
             LSTR("why", why));
    forget_peer(g);
}

static int open_pair(struct takeover_giver *g, unsigned i)
{
    int pair[2], r = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return err_from_errno(errno);
    g->streams[i] = pair[0];
    g->far_streams[i] = pair[1];
    if (edge_socket_of(g->edge, i, EDGE_TUNNEL_UDP) >= 0)
        r = udp_relay_open(&g->relays[i], &g->far_relays[i]);
    return r;
}

static int open_pairs(struct takeover_giver *g)
{
    int r = 0;
    g->relay_count = edge_workers(g->edge);
    for (unsigned i = 0; i < g->relay_count; i++)
        g->relays[i] = g->far_relays[i] = g->streams[i] = g->far_streams[i] = -1;
    for (unsigned i = 0; i < g->relay_count && r == 0; i++)
        r = open_pair(g, i);
    return r;
}

/* The number `next` of what is sent: false when that is nothing, *ret_fd then being -1. */
static bool message_of(const struct takeover_giver *g, unsigned next, struct takeover_message *ret,
                       int *ret_fd)
{
    unsigned workers = edge_workers(g->edge), of_worker = OF_WORKER;
    unsigned worker = next / of_worker, which = next % of_worker;
    *ret = (struct takeover_message){ .kind = TAKEOVER_LISTENS, .worker = worker, .value = which };
    *ret_fd = -1;
    if (worker < workers && which == EDGE_WORKER_SOCKETS) {
        ret->kind = TAKEOVER_RELAY;
        *ret_fd = g->far_relays[worker];
    } else if (worker < workers && which == EDGE_WORKER_SOCKETS + 1) {
        ret->kind = TAKEOVER_STREAM;
        *ret_fd = g->far_streams[worker];
    } else if (worker < workers) {
        *ret_fd = edge_socket_of(g->edge, worker, (enum edge_worker_socket)which);
    } else {
        const struct {
            enum takeover_kind kind;
            unsigned value;
            int fd;
        } rest[] = {
            { TAKEOVER_LISTENS, TAKEOVER_LOCAL, g->local_fd },
            { TAKEOVER_LOCK, 0, g->lock_fd },
            { TAKEOVER_NEXT, 0, g->next_fd },
            { TAKEOVER_END, 0, -1 },
        };
        unsigned i = next - workers * of_worker;
        if (i >= sizeof rest / sizeof rest[0])
            return false;
        ret->kind = (uint16_t)rest[i].kind;
        ret->value = rest[i].value;
        *ret_fd = rest[i].fd;
    }
    if (ret->kind == TAKEOVER_LISTENS && (g->given & 1U << ret->value) != 0)
        ret->value |= TAKEOVER_GIVEN;
    return *ret_fd >= 0 || ret->kind == TAKEOVER_END;
}

/* As much as the socket takes: 0 when all is out. */
static int send_all(struct takeover_giver *g)
{
    unsigned last = edge_workers(g->edge) * OF_WORKER + 3;
    while (g->next <= last) {
        struct takeover_message m;
        int fd;
        int r = message_of(g, g->next, &m, &fd) ? takeover_send(watch_fd(g->peer), &m, fd) : 0;
        if (r < 0)
            return r;
        g->next++;
    }
    return 0;
}

static void refuse(int fd, enum takeover_refusal why, long in_the_way)
{
    const struct takeover_message m = { .kind = TAKEOVER_REFUSED,
                                        .value = (uint32_t)why,
                                        .worker = (uint32_t)in_the_way };
    (void)!takeover_send(fd, &m, -1);
}

/* 0, or the peer is told no and is to go. */
static int greet(struct takeover_giver *g, const struct takeover_message *hello)
{
    long ending = g->ending(g->ctx);
    if (hello->kind != TAKEOVER_HELLO)
        return ERR_PROTO;
    if (hello->version != TAKEOVER_VERSION) {
        refuse(watch_fd(g->peer), TAKEOVER_OTHER_VERSION, 0);
        return ERR_UNSUPPORTED;
    }
    if (ending > 0) {
        refuse(watch_fd(g->peer), TAKEOVER_STILL_ENDING, ending);
        return ERR_BUSY;
    }
    int r = open_pairs(g);
    if (r < 0)
        return r;
    const struct takeover_message m = { .kind = TAKEOVER_WELCOME,
                                        .process = (uint32_t)getpid(),
                                        .worker = edge_workers(g->edge),
                                        .generation = g->generation };
    log_info("another edge is about to take over", LI64("process", g->process));
    g->next = 0;
    return takeover_send(watch_fd(g->peer), &m, -1);
}

/* `taken`: the sockets that are read there now. What is to be known there goes before the word by
 * which it begins. */
static int go(struct takeover_giver *g, unsigned taken)
{
    bool is_read_there = (taken & 1U << EDGE_TUNNEL_UDP) != 0;
    for (unsigned i = 0; i < g->relay_count; i++)
        if (!is_read_there)
            drop(&g->relays[i]);
    deadline_clear(&g->patience);
    g->is_over = true;
    g->hand_over(g->ctx, g->relays, g->streams);
    for (unsigned i = 0; i < g->relay_count; i++)
        g->relays[i] = g->streams[i] = -1; /* the edge's now */
    close_pairs(g);
    log_info("another edge has taken over: what is here may end", LI64("process", g->process));
    g->everything(g->ctx);
    return takeover_queue_put(&g->out, TAKEOVER_GO, NULL);
}

static void hear_heir(struct takeover_giver *g, const struct takeover_message *m)
{
    if (m->kind == TAKEOVER_CHANGED)
        g->changed(g->ctx);
    else if (m->kind == TAKEOVER_SERVES)
        g->came_over(g->ctx, &m->tunnel);
}

/* 0, or the peer is gone or not to be borne any more. */
static int hear_one(struct takeover_giver *g, const struct takeover_message *m)
{
    if (g->is_over)
        hear_heir(g, m);
    else if (m->kind == TAKEOVER_READY && g->relay_count > 0)
        return go(g, m->value);
    else
        return g->relay_count > 0 ? ERR_PROTO : greet(g, m);
    return 0;
}

static void lose_peer(struct takeover_giver *g, int why)
{
    if (!g->is_over) {
        give_up(g, why == ERR_EOF ? "it ended before it was ready" : err_text(why));
        return;
    }
    log_warn("the edge that took over has ended", LI64("process", g->process));
    forget_peer(g);
}

static void hear(struct takeover_giver *g)
{
    struct takeover_message m;
    int fd = -1, r = 0;
    for (unsigned i = 0; r == 0 && i < HEARD_A_STEP; i++) {
        r = takeover_receive(watch_fd(g->peer), &m, &fd);
        drop(&fd);
        if (r == 0)
            r = hear_one(g, &m);
        else if (r == ERR_AGAIN)
            break;
    }
    if (r == ERR_AGAIN)
        watch_wait(g->peer, WATCH_READ);
    else if (r == 0)
        task_wake(&g->task);
    if (r == 0 || r == ERR_AGAIN)
        r = g->is_over           ? takeover_queue_send(&g->out, watch_fd(g->peer))
            : g->relay_count > 0 ? send_all(g)
                                 : 0;
    if (r == ERR_AGAIN)
        watch_wait(g->peer, WATCH_WRITE);
    else if (r < 0)
        lose_peer(g, r);
}

/* ---- who asks ---- */

static bool may_ask(int fd, long *ret_process)
{
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return false;
    *ret_process = (long)who.pid;
    return who.uid == 0 || who.uid == geteuid();
}

static void take_peer(struct takeover_giver *g, int fd)
{
    long process = 0;
    if (!may_ask(fd, &process)) {
        log_warn("somebody else's process asked for our sockets", LI64("process", process));
    } else if (g->peer != NULL || g->is_over) {
        refuse(fd, TAKEOVER_UNDER_WAY, g->process);
    } else if (watch_open(g->loop, fd, &g->task, &g->peer) == 0) {
        g->process = process;
        deadline_set(&g->patience, &g->task, loop_now(g->loop) + PATIENCE_NSEC);
        watch_wait(g->peer, WATCH_READ);
        return;
    }
    (void)close(fd);
}

static void giver_run(struct task *t)
{
    struct takeover_giver *g = container_of(t, struct takeover_giver, task);
    while (g->listener != NULL && (watch_ready(g->listener) & WATCH_READ) != 0) {
        int fd = accept4(watch_fd(g->listener), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            watch_wait(g->listener, WATCH_READ);
        else
            take_peer(g, fd);
    }
    if (g->peer != NULL)
        hear(g);
    if (deadline_take(&g->patience) && g->peer != NULL && !g->is_over) {
        refuse(watch_fd(g->peer), TAKEOVER_UNDER_WAY, 0); /* it must not believe that we died */
        give_up(g, "it was not ready in time");
    }
    if (g->is_over && g->listener != NULL) { /* the next one asks whoever serves */
        watch_close(g->listener);
        g->listener = NULL;
    }
}

int takeover_serve(struct takeover_giver *g, struct loop *loop)
{
    g->loop = loop;
    task_init(&g->task, loop, giver_run);
    if (g->next_fd < 0)
        return 0;
    int r = watch_open(loop, g->next_fd, &g->task, &g->listener);
    if (r == 0)
        watch_wait(g->listener, WATCH_READ);
    return r;
}

void takeover_giver_tell(struct takeover_giver *g, enum takeover_kind kind,
                         const struct uuid *tunnel)
{
    if (!g->is_over || g->peer == NULL)
        return;
    if (takeover_queue_put(&g->out, kind, tunnel) < 0)
        log_warn("out of memory: the edge that took over is not told of a change");
    task_wake(&g->task);
}

void takeover_giver_close(struct takeover_giver *g, const char *data_dir)
{
    char path[TAKEOVER_PATH_BYTES + 1024];
    if (g->loop == NULL) { /* it was never served */
        if (g->next_fd >= 0)
            (void)close(g->next_fd);
        g->next_fd = -1;
        return;
    }
    if (g->peer != NULL)
        forget_peer(g);
    (void)snprintf(path, sizeof path, "%s/" TAKEOVER_SOCKET, data_dir);
    if (g->listener != NULL)
        (void)unlink(path);
    watch_close(g->listener);
    g->listener = NULL;
    deadline_clear(&g->patience);
    task_done(&g->task);
}
