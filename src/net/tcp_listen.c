#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "net/tcp.h"

#define PAUSE_NSEC                                                                                 \
    (100 * NSEC_PER_MSEC) /* when descriptors have run out: others may close some                  \
                           */

struct tcp_listener {
    struct loop *loop;
    struct watch *watch;
    struct task task; /* the end of a pause */
    struct deadline pause;
    struct task *owner;
    struct reaper reaper;
};

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* A socket file that nobody listens to any more is in the way of the next start. */
static void remove_dead_socket(const struct addr *addr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&addr->sa;
    struct stat st;
    if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return; /* a file of another kind refuses connections too, and is somebody's */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)un, addr->size) < 0 && errno == ECONNREFUSED)
        (void)unlink(un->sun_path);
    (void)close(fd);
}

static int open_socket(const struct addr *addr, const struct tcp_listen_opts *opts, int *ret)
{
    if (opts->fd >= 0) {
        *ret = opts->fd;
        return 0;
    }
    if (addr->sa.ss_family == AF_UNIX)
        remove_dead_socket(addr);
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    if (addr->sa.ss_family != AF_UNIX)
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (opts->reuse_port)
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (addr->sa.ss_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0 ||
        listen(fd, opts->backlog > 0 ? opts->backlog : SOMAXCONN) < 0) {
        int r = err_from_errno(errno);
        (void)close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

static void pause_run(struct task *t)
{
    struct tcp_listener *l = container_of(t, struct tcp_listener, task);
    if (!deadline_take(&l->pause))
        return;
    watch_wait(l->watch, WATCH_READ);
    task_wake(l->owner);
}

int tcp_listen(struct loop *loop, const struct addr *addr, const struct tcp_listen_opts *opts,
               struct task *owner, struct tcp_listener **ret, struct addr *ret_addr)
{
    int fd = -1;
    int r = open_socket(addr, opts, &fd);
    if (r < 0)
        return r;
    struct addr got = { .size = sizeof got.sa };
    struct tcp_listener *l = calloc(1, sizeof *l);
    if (l == NULL || getsockname(fd, (struct sockaddr *)&got.sa, &got.size) < 0)
        r = ERR_NOMEM;
    if (r == 0)
        r = watch_open(loop, fd, owner, &l->watch);
    if (r < 0) {
        (void)close(fd);
        free(l);
        return r;
    }
    l->loop = loop;
    l->owner = owner;
    task_init(&l->task, loop, pause_run);
    watch_wait(l->watch, WATCH_READ);
    *ret = l;
    *ret_addr = got;
    return 0;
}

/* What is missing comes back by itself. The owner is woken then: the listener's readiness, which
 * was seen already, is not reported again. */
static int pause_for(struct tcp_listener *l)
{
    watch_ignore(l->watch, WATCH_READ);
    deadline_set(&l->pause, &l->task, loop_now(l->loop) + PAUSE_NSEC);
    return ERR_LIMIT;
}

int tcp_accept(struct tcp_listener *l, struct task *stream_owner, struct stream **ret,
               struct addr *ret_peer)
{
    struct addr peer = { .size = sizeof peer.sa };
    if ((watch_ready(l->watch) & WATCH_READ) == 0)
        return ERR_AGAIN;
    int fd = accept4(watch_fd(l->watch), (struct sockaddr *)&peer.sa, &peer.size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int r = err_from_errno(errno);
        if (r == ERR_LIMIT || r == ERR_NOMEM)
            return pause_for(l);
        watch_wait(l->watch, WATCH_READ); /* nothing there, or a visitor that left the queue */
        return ERR_AGAIN;
    }
    if (peer.sa.ss_family != AF_UNIX)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    int r = tcp_from_fd(l->loop, fd, stream_owner, ret);
    if (r < 0) {
        (void)close(fd);
        return pause_for(l);
    }
    *ret_peer = peer;
    return 0;
}

int tcp_listener_fd(const struct tcp_listener *l)
{
    return watch_fd(l->watch);
}

static void reap(struct reaper *r)
{
    free(container_of(r, struct tcp_listener, reaper));
}

void tcp_listener_close(struct tcp_listener *l)
{
    if (l == NULL)
        return;
    watch_close(l->watch);
    deadline_clear(&l->pause);
    task_done(&l->task);
    loop_reap(l->loop, &l->reaper, reap);
}
