#include "prog/takeover_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

#define MAGIC     0x54696441 /* "AdiT" */
#define QUEUE_MAX ((size_t)1 << 20)

int takeover_send(int socket, const struct takeover_message *m, int fd)
{
    struct takeover_message out = *m;
    struct iovec iov = { .iov_base = &out, .iov_len = sizeof out };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
    out.magic = MAGIC;
    out.version = TAKEOVER_VERSION;
    if (fd >= 0) {
        h.msg_control = control;
        h.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(socket, &h, MSG_NOSIGNAL) == (ssize_t)sizeof out)
            return 0;
        if (errno == EAGAIN)
            return ERR_AGAIN;
        if (errno != EINTR)
            return ERR_CLOSED;
    }
}

/* One at most is kept. */
static int take_fd(struct msghdr *h)
{
    int kept = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (kept < 0)
                kept = fd;
            else
                (void)close(fd);
        }
    }
    return kept;
}

int takeover_receive(int socket, struct takeover_message *ret, int *ret_fd)
{
    struct takeover_message in = { 0 };
    struct iovec iov = { .iov_base = &in, .iov_len = sizeof in };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    struct msghdr h = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    /* Whoever was refused before it spoke is told of the lost words first, and then of the refusal.
     */
    bool was_reset = false;
    ssize_t n = recvmsg(socket, &h, MSG_CMSG_CLOEXEC);
    while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !was_reset))) {
        was_reset |= errno == ECONNRESET;
        n = recvmsg(socket, &h, MSG_CMSG_CLOEXEC);
    }
    if (n < 0)
        return errno == EAGAIN ? ERR_AGAIN : ERR_EOF;
    int fd = take_fd(&h);
    bool is_whole = n == (ssize_t)sizeof in && (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    if (is_whole && in.magic == MAGIC && in.kind < TAKEOVER_KINDS) {
        *ret = in;
        *ret_fd = fd;
        return 0;
    }
    if (fd >= 0)
        (void)close(fd);
    return n == 0 ? ERR_EOF : ERR_PROTO;
}

/* ---- a queue ---- */

int takeover_queue_put(struct takeover_queue *q, enum takeover_kind kind, const struct uuid *tunnel)
{
    if (q->count == q->room) {
        size_t room = q->room > 0 ? 2 * q->room : 16;
        struct takeover_message *more =
            room <= QUEUE_MAX ? realloc(q->items, room * sizeof *more) : NULL;
        if (more == NULL)
            return room <= QUEUE_MAX ? ERR_NOMEM : ERR_LIMIT;
        q->items = more;
        q->room = room;
    }
    q->items[q->count] = (struct takeover_message){ .kind = (uint16_t)kind };
    if (tunnel != NULL)
        q->items[q->count].tunnel = *tunnel;
    q->count++;
    return 0;
}

int takeover_queue_send(struct takeover_queue *q, int socket)
{
    for (; q->at < q->count; q->at++) {
        int r = takeover_send(socket, &q->items[q->at], -1);
        if (r < 0)
            return r;
    }
    q->at = q->count = 0;
    return 0;
}

void takeover_queue_free(struct takeover_queue *q)
{
    free(q->items);
    *q = (struct takeover_queue){ 0 };
}
