#include "prog/takeover_heir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define MESSAGES_A_STEP  64
#define PATIENCE_SECONDS 30 /* for each answer: the first has nothing to wait for */

void takeover_heir_init(struct takeover_heir *h)
{
    *h = (struct takeover_heir){ .fd = -1, .lock_fd = -1, .next_fd = -1, .local_fd = -1 };
    for (size_t i = 0; i < EDGE_WORKERS_MAX; i++) {
        h->edge.relays[i] = h->edge.streams[i] = -1;
        for (size_t k = 0; k < EDGE_WORKER_SOCKETS; k++)
            h->edge.fds[i][k] = -1;
    }
}

static void drop(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* ---- asking ---- */

static int open_socket(int dir, struct fault *fault, int *ret)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
    /* By way of the directory's descriptor a path of any length is short enough. */
    (void)snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/" TAKEOVER_SOCKET, dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_set(fault, ERR_LIMIT, "upgrade: no socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) < 0) {
        int r = errno == ENOENT || errno == ECONNREFUSED ? ERR_NOTFOUND : err_from_errno(errno);
        if (r != ERR_NOTFOUND)
            (void)fault_set(fault, r, "upgrade: the edge that runs cannot be asked: %s",
                            strerror(errno));
        (void)close(fd);
        return r;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    *ret = fd;
    return 0;
}

static int broken(int r, struct fault *fault)
{
    return fault_set(fault, r == ERR_AGAIN ? ERR_TIMEOUT : r,
                     r == ERR_AGAIN ? "upgrade: the edge that runs does not answer"
                     : r == ERR_EOF || r == ERR_CLOSED
                         ? "upgrade: the edge that runs has broken the hand-over off; its log says "
                           "why"
                         : "upgrade: the edge that runs says what this one does not understand");
}

static int refused(const struct takeover_message *m, struct fault *fault)
{
    switch ((enum takeover_refusal)m->value) {
    case TAKEOVER_STILL_ENDING:
        return fault_set(fault, ERR_BUSY,
                         "upgrade: the edge before the one that runs is still ending (process %u, "
                         "its --upgrade-grace); wait for it, or stop it",
                         m->worker);
    case TAKEOVER_UNDER_WAY:
        return fault_set(fault, ERR_BUSY,
                         "upgrade: another edge is taking over right now (process %u)", m->worker);
    case TAKEOVER_OTHER_VERSION:
        break;
    }
    return fault_set(fault, ERR_UNSUPPORTED,
                     "upgrade: the edge that runs speaks version %u of the hand-over and this one "
                     "%u; stop it and start this one",
                     m->version, TAKEOVER_VERSION);
}

static int expect(struct takeover_heir *h, enum takeover_kind kind, struct takeover_message *ret,
                  struct fault *fault)
{
    int with = -1;
    int r = takeover_receive(h->fd, ret, &with);
    drop(&with);
    if (r < 0)
        return broken(r, fault);
    if (ret->kind == TAKEOVER_REFUSED || ret->version != TAKEOVER_VERSION)
        return refused(ret, fault);
    return ret->kind == kind ? 0 : broken(ERR_PROTO, fault);
}

/* What has no place, or came already, is not kept: ERR_PROTO. */
static int take(struct takeover_heir *h, const struct takeover_message *m, int fd)
{
    unsigned which = m->value & ~(unsigned)TAKEOVER_GIVEN;
    int *place = NULL;
    if (m->kind == TAKEOVER_LOCK)
        place = &h->lock_fd;
    else if (m->kind == TAKEOVER_NEXT)
        place = &h->next_fd;
    else if (m->kind == TAKEOVER_LISTENS && which == TAKEOVER_LOCAL)
        place = &h->local_fd;
    else if (m->kind == TAKEOVER_LISTENS && m->worker < h->edge.workers &&
             which < EDGE_WORKER_SOCKETS)
        place = &h->edge.fds[m->worker][which];
    else if (m->kind == TAKEOVER_RELAY && m->worker < h->edge.relay_count)
        place = &h->edge.relays[m->worker];
    else if (m->kind == TAKEOVER_STREAM && m->worker < h->edge.relay_count)
        place = &h->edge.streams[m->worker];
    if (place == NULL || *place >= 0 || fd < 0) {
        drop(&fd);
        return ERR_PROTO;
    }
    if (m->kind == TAKEOVER_LISTENS && (m->value & TAKEOVER_GIVEN) != 0)
        h->given |= 1U << which;
    *place = fd;
    return 0;
}

static int take_all(struct takeover_heir *h, struct fault *fault)
{
    for (;;) {
        struct takeover_message m;
        int fd = -1;
        int r = takeover_receive(h->fd, &m, &fd);
        if (r == 0 && m.kind == TAKEOVER_END) {
            drop(&fd);
            return h->lock_fd >= 0 && h->next_fd >= 0 ? 0 : broken(ERR_PROTO, fault);
        }
        if (r == 0)
            r = take(h, &m, fd);
        if (r < 0)
            return broken(r, fault);
    }
}

int takeover_ask(struct takeover_heir *h, const char *data_dir, struct fault *fault)
{
    struct takeover_message m = { .kind = TAKEOVER_HELLO, .process = (uint32_t)getpid() };
    int dir = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return ERR_NOTFOUND; /* whoever makes it has the better words */
    int r = open_socket(dir, fault, &h->fd);
    (void)close(dir);
    if (r < 0)
        return r;
    (void)!takeover_send(h->fd, &m, -1); /* one that refuses us may not wait for it */
    r = expect(h, TAKEOVER_WELCOME, &m, fault);
    if (r == 0 && (m.worker == 0 || m.worker > EDGE_WORKERS_MAX))
        r = broken(ERR_PROTO, fault);
    if (r < 0)
        return r;
    h->process = (long)m.process;
    h->edge.workers = h->edge.relay_count = m.worker;
    h->edge.generation = (uint8_t)(m.generation + 1);
    return take_all(h, fault);
}

/* ---- what was got ---- */

bool takeover_has(const struct takeover_heir *h, unsigned which, struct addr *ret)
{
    int fd = which == TAKEOVER_LOCAL ? h->local_fd : h->edge.fds[0][which];
    *ret = (struct addr){ .size = sizeof ret->sa };
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&ret->sa, &ret->size) == 0;
}

void takeover_leave(struct takeover_heir *h, unsigned which)
{
    h->given &= ~(1U << which);
    if (which == TAKEOVER_LOCAL)
        drop(&h->local_fd);
    else
        for (unsigned i = 0; i < h->edge.workers; i++)
            drop(&h->edge.fds[i][which]);
}

void takeover_close_sockets(struct takeover_heir *h)
{
    unsigned given = h->given;
    for (unsigned which = 0; which <= TAKEOVER_LOCAL; which++)
        takeover_leave(h, which);
    h->given = given;
    for (unsigned i = 0; i < h->edge.relay_count; i++)
        drop(&h->edge.streams[i]);
}

/* ---- going ---- */

/* GO, or what is to be known before. */
static int hear_before(struct takeover_heir *h, struct takeover_message *ret, struct fault *fault)
{
    int fd = -1;
    int r = takeover_receive(h->fd, ret, &fd);
    drop(&fd);
    if (r < 0)
        return broken(r, fault);
    if (ret->kind == TAKEOVER_REFUSED)
        return refused(ret, fault);
    return ret->kind == TAKEOVER_GO || ret->kind == TAKEOVER_SERVES ? 0 : broken(ERR_PROTO, fault);
}

int takeover_ready(struct takeover_heir *h, struct fault *fault)
{
    struct takeover_message m = { .kind = TAKEOVER_READY };
    struct addr a;
    for (unsigned which = 0; which <= TAKEOVER_LOCAL; which++)
        if (takeover_has(h, which, &a))
            m.value |= 1U << which;
    int r = takeover_send(h->fd, &m, -1);
    if (r < 0)
        r = broken(r, fault);
    for (m.kind = TAKEOVER_SERVES; r == 0 && m.kind == TAKEOVER_SERVES;) {
        r = hear_before(h, &m, fault);
        if (r == 0 && m.kind == TAKEOVER_SERVES)
            h->stands_in(h, &m.tunnel, true);
    }
    if (r == ERR_EOF || r == ERR_CLOSED) {
        /* Whatever it died of: nobody else has the sockets now. */
        log_warn("the edge before this one has ended in the middle of the hand-over",
                 LI64("process", h->process));
        return 0;
    }
    return r;
}

static void heir_end(struct takeover_heir *h)
{
    log_info("the edge before this one has ended", LI64("process", h->process));
    atomic_store_explicit(&h->edge.is_gone, true, memory_order_relaxed);
    watch_close(h->watch);
    h->watch = NULL;
    takeover_queue_free(&h->out);
    h->changed(h);
}

static void heir_hear(struct takeover_heir *h, const struct takeover_message *m)
{
    if (m->kind == TAKEOVER_CHANGED)
        h->changed(h);
    else if (m->kind == TAKEOVER_SERVES || m->kind == TAKEOVER_SERVES_NOT)
        h->stands_in(h, &m->tunnel, m->kind == TAKEOVER_SERVES);
}

static void heir_run(struct task *t)
{
    struct takeover_heir *h = container_of(t, struct takeover_heir, task);
    struct takeover_message m;
    int fd = -1, r = 0;
    if (h->watch == NULL)
        return;
    for (unsigned i = 0; r == 0 && i < MESSAGES_A_STEP; i++) {
        r = takeover_receive(watch_fd(h->watch), &m, &fd);
        drop(&fd);
        if (r == 0)
            heir_hear(h, &m);
    }
    if (r < 0 && r != ERR_AGAIN) {
        heir_end(h);
        return;
    }
    if (r == 0)
        task_wake(t);
    else
        watch_wait(h->watch, WATCH_READ);
    if (takeover_queue_send(&h->out, watch_fd(h->watch)) == ERR_AGAIN)
        watch_wait(h->watch, WATCH_WRITE);
}

void takeover_heir_tell(struct takeover_heir *h, enum takeover_kind kind, const struct uuid *tunnel)
{
    if (h->watch == NULL)
        return;
    if (takeover_queue_put(&h->out, kind, tunnel) < 0)
        log_warn("out of memory: the edge before this one is not told of a change");
    task_wake(&h->task);
}

int takeover_follow(struct takeover_heir *h, struct loop *loop)
{
    int flags = fcntl(h->fd, F_GETFL);
    task_init(&h->task, loop, heir_run);
    if (flags < 0 || fcntl(h->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return ERR_IO;
    int r = watch_open(loop, h->fd, &h->task, &h->watch);
    if (r < 0)
        return r;
    h->fd = -1; /* the watch's */
    watch_wait(h->watch, WATCH_READ);
    return 0;
}

void takeover_heir_close(struct takeover_heir *h)
{
    takeover_close_sockets(h);
    for (unsigned i = 0; i < h->edge.relay_count; i++)
        drop(&h->edge.relays[i]);
    drop(&h->lock_fd);
    drop(&h->next_fd);
    drop(&h->fd);
    watch_close(h->watch);
    h->watch = NULL;
    takeover_queue_free(&h->out);
    if (h->task.loop != NULL)
        task_done(&h->task);
}
