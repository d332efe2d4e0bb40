#include "net/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "net/loop_int.h"

#define IOV_MAX_HERE    64
#define READ_BYTES      16000 /* more when a read filled it */
#define READ_IOV        5     /* pieces at once, then: the rest of a chunk and four */
#define READ_IOV_LITTLE 3     /* a small chunk, the rest of a large one, a large one */
#define DROP_STEPS_MAX  64
#define LINGER_NSEC     (30 * NSEC_PER_SEC) /* for what was written before the owner let go */

struct tcp {
    struct stream stream;
    struct task flush;  /* late: one writev a turn */
    struct task notice; /* the descriptor's news, handed on to the stream's owner */
    struct loop *loop;
    struct watch *watch;
    struct buf out;
    struct deadline linger;
    int err;      /* why it is dead; 0 while it lives */
    int send_err; /* why nothing can be sent any more: what has come may still be read */
    bool is_connecting, is_eof;
    bool is_bulk;  /* the last read was given more than it asked for */
    bool is_reset; /* by the peer: the end that reads see after what had come is none */
    bool is_finishing, is_finished; /* FIN is wanted; is out */
    bool is_full;                   /* write said ERR_AGAIN */
    bool is_released;
    struct lingerer lingerer;
    struct reaper reaper;
};

static const struct stream_ops TCP_OPS;

static struct tcp *tcp_of(const struct stream *s)
{
    return (struct tcp *)(void *)((char *)(uintptr_t)s - offsetof(struct tcp, stream));
}

static void reap(struct reaper *r)
{
    struct tcp *t = container_of(r, struct tcp, reaper);
    buf_done(&t->out);
    free(t);
}

static void tcp_free(struct tcp *t)
{
    watch_close(t->watch);
    t->watch = NULL;
    list_remove(&t->lingerer.node);
    deadline_clear(&t->linger);
    task_done(&t->flush);
    task_done(&t->notice);
    loop_reap(t->loop, &t->reaper, reap);
}

static void die(struct tcp *t, int err)
{
    if (t->err == 0)
        t->err = err;
    buf_drop(&t->out, buf_len(&t->out));
    if (t->watch != NULL)
        watch_ignore(t->watch, WATCH_READ | WATCH_WRITE);
    task_wake(t->stream.owner);
}

/* ---- connecting ---- */

static void check_connected(struct tcp *t)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (!t->is_connecting || (watch_ready(t->watch) & WATCH_WRITE) == 0)
        return;
    t->is_connecting = false;
    if (getsockopt(watch_fd(t->watch), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0) {
        die(t, err_from_errno(error));
        return;
    }
    watch_wait(t->watch, WATCH_READ);
    task_wake(&t->flush);
}

/* ---- the five verbs ---- */

/* Into several pieces: a small one first where little is expected, four large ones once a read was
 * given more than it asked for. *ret_room gets how much was asked for, 0 when nothing fits. Returns
 * what readv(2) does, but a negative errno. */
static ssize_t read_some(struct tcp *t, struct buf *to, size_t max, size_t *ret_room)
{
    struct iovec iov[READ_IOV];
    bool is_little = !t->is_bulk;
    size_t count = buf_reserve_iov(to, is_little && max > READ_BYTES ? READ_BYTES : max, is_little,
                                   iov, is_little ? READ_IOV_LITTLE : READ_IOV);
    *ret_room = 0;
    for (size_t i = 0; i < count; i++)
        *ret_room += iov[i].iov_len;
    if (count == 0)
        return 0;
    ssize_t n = readv(watch_fd(t->watch), iov, (int)count);
    int error = errno;
    buf_commit_iov(to, n > 0 ? (size_t)n : 0);
    return n < 0 ? -error : n;
}

static int read_once(struct tcp *t, struct buf *to, size_t max, size_t *ret, bool *ret_was_short)
{
    size_t room;
    ssize_t n = read_some(t, to, max, &room);
    if (room == 0)
        return buf_room(to) > 0 ? ERR_NOMEM : ERR_AGAIN;
    if (n == 0)
        return t->is_reset ? t->send_err : ERR_EOF;
    if (n < 0)
        return err_from_errno((int)-n);
    *ret = (size_t)n;
    *ret_was_short = (size_t)n < room;
    t->is_bulk = !*ret_was_short;
    return 0;
}

/* The kernel tells an error once, and an orderly end afterwards: it is kept here. */
static int peek(struct tcp *t)
{
    char byte;
    ssize_t n = recv(watch_fd(t->watch), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return 0;
    int r = n == 0 ? ERR_EOF : err_from_errno(errno);
    if (r == ERR_EOF && t->is_reset)
        r = t->send_err;
    if (r != ERR_EOF && r != ERR_AGAIN)
        t->err = r;
    return r;
}

static int tcp_read(struct stream *s, struct buf *to, size_t max)
{
    struct tcp *t = tcp_of(s);
    size_t total = 0, got = 0;
    if (t->err < 0)
        return t->err;
    if (t->is_connecting)
        return ERR_AGAIN;
    if (max == 0 && t->is_reset)
        return t->send_err; /* whatever waits to be read */
    if (t->is_eof)
        return ERR_EOF;
    if ((watch_ready(t->watch) & WATCH_READ) == 0)
        return ERR_AGAIN;
    if (max == 0) {
        int r = peek(t);
        if (r == ERR_AGAIN)
            watch_wait(t->watch, WATCH_READ);
        return r;
    }
    for (;;) {
        bool was_short = false;
        int r = read_once(t, to, max - total, &got, &was_short);
        if (r == 0) {
            total += got;
            if (was_short) /* the socket is empty: its next news comes by the poll */
                watch_wait(t->watch, WATCH_READ);
            /* What is left of max after several chunks is less than a call is worth. */
            if (was_short || max - total < READ_BYTES / 4 || buf_room(to) == 0)
                return 0;
            continue;
        }
        if (total > 0 && r != ERR_AGAIN)
            return 0; /* the data first; the end is told by the next read */
        if (r == ERR_AGAIN) {
            if (buf_room(to) > 0)
                watch_wait(t->watch, WATCH_READ);
            return total > 0 ? 0 : ERR_AGAIN;
        }
        watch_ignore(t->watch, WATCH_READ);
        if (r == ERR_EOF)
            t->is_eof = true;
        else
            t->err = r;
        return r;
    }
}

static int tcp_write(struct stream *s, struct buf *from)
{
    struct tcp *t = tcp_of(s);
    if (t->err < 0)
        return t->err;
    if (t->send_err < 0)
        return t->send_err;
    if (t->is_finishing)
        return ERR_CLOSED;
    if (buf_move(&t->out, from, SIZE_MAX) > 0)
        task_wake(&t->flush);
    else if (buf_is_stuck(&t->out, from))
        return ERR_NOMEM;
    t->is_full = !buf_is_empty(from);
    return t->is_full ? ERR_AGAIN : 0;
}

static void tcp_finish(struct stream *s)
{
    struct tcp *t = tcp_of(s);
    if (t->is_finishing)
        return;
    t->is_finishing = true;
    task_wake(&t->flush);
}

static void set_reset_on_close(struct tcp *t)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (t->watch != NULL)
        (void)setsockopt(watch_fd(t->watch), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void tcp_abort(struct stream *s, int why)
{
    struct tcp *t = tcp_of(s);
    if (t->err == 0)
        set_reset_on_close(t);
    die(t, why < 0 ? why : ERR_CLOSED);
}

/* To close with something unread is a reset, which would destroy what was sent on its way. */
static void drop_unread(struct tcp *t)
{
    char bytes[16384];
    for (unsigned step = 0; step < DROP_STEPS_MAX; step++)
        if (recv(watch_fd(t->watch), bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
            return;
}

static void tcp_linger_end(struct lingerer *l)
{
    struct tcp *t = container_of(l, struct tcp, lingerer);
    set_reset_on_close(t);
    tcp_free(t);
}

static void tcp_release(struct stream *s)
{
    struct tcp *t = tcp_of(s);
    t->is_released = true;
    t->stream.owner = NULL;
    if (t->err < 0 || t->send_err < 0 || t->is_finished) {
        if (t->err == 0)
            drop_unread(t);
        tcp_free(t);
        return;
    }
    if (!t->is_finishing) {
        set_reset_on_close(t);
        tcp_free(t);
        return;
    }
    watch_ignore(t->watch, WATCH_READ);
    loop_linger(t->loop, &t->lingerer, tcp_linger_end);
    deadline_set(&t->linger, &t->flush, loop_now(t->loop) + LINGER_NSEC);
    task_wake(&t->flush);
}

/* The kernel's buffer may hold megabytes, and takes more only when a good part of it is free. */
static uint64_t tcp_waiting(struct stream *s)
{
    struct tcp *t = tcp_of(s);
    int sent = 0;
    if (t->watch == NULL || ioctl(watch_fd(t->watch), TIOCOUTQ, &sent) < 0 || sent < 0)
        sent = 0;
    return buf_len(&t->out) + (uint64_t)sent;
}

static const struct stream_ops TCP_OPS = {
    .kind = "tcp",
    .read = tcp_read,
    .write = tcp_write,
    .finish = tcp_finish,
    .abort = tcp_abort,
    .release = tcp_release,
    .waiting = tcp_waiting,
};

/* ---- sending ---- */

static int send_some(struct tcp *t)
{
    struct iovec iov[IOV_MAX_HERE];
    struct msghdr message = { .msg_iov = iov };
    message.msg_iovlen = buf_iov(&t->out, iov, IOV_MAX_HERE);
    ssize_t n = sendmsg(watch_fd(t->watch), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return err_from_errno(errno);
    buf_drop(&t->out, (size_t)n);
    return 0;
}

/* A peer that has answered may have closed without reading on: its answer is still to be read, so
 * the stream lives until reading has come to its end. */
static void stop_sending(struct tcp *t, int err, bool is_reset)
{
    t->send_err = err;
    t->is_reset = is_reset;
    buf_drop(&t->out, buf_len(&t->out));
    watch_ignore(t->watch, WATCH_WRITE);
    task_wake(t->stream.owner);
}

static void flush_run(struct task *task)
{
    struct tcp *t = container_of(task, struct tcp, flush);
    int r = 0;
    if (deadline_take(&t->linger)) {
        set_reset_on_close(t);
        tcp_free(t);
        return;
    }
    if (t->err < 0 || t->is_connecting)
        return;
    while (r == 0 && t->send_err == 0 && !buf_is_empty(&t->out))
        r = send_some(t);
    if (r == ERR_AGAIN)
        watch_wait(t->watch, WATCH_WRITE);
    else if (r < 0)
        stop_sending(t, r, errno != EPIPE); /* EPIPE: its end had come in order before */
    if (t->is_full && buf_len(&t->out) <= t->out.max / 2) {
        t->is_full = false;
        task_wake(t->stream.owner);
    }
    if (t->is_finishing && !t->is_finished && t->send_err == 0 && buf_is_empty(&t->out)) {
        t->is_finished = true;
        (void)shutdown(watch_fd(t->watch), SHUT_WR);
    }
    if (t->is_released && (t->is_finished || t->send_err < 0)) {
        drop_unread(t);
        tcp_free(t);
    }
}

/* A reset while nobody reads: the kernel's error is taken, so that neither a full buffer nor unread
 * data hide it. */
static void check_reset(struct tcp *t)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (t->err < 0 || t->is_connecting || t->send_err < 0 ||
        (watch_ready(t->watch) & WATCH_ERROR) == 0)
        return;
    if (getsockopt(watch_fd(t->watch), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
        stop_sending(t, err_from_errno(error), error != EPIPE);
    if (t->is_released)
        task_wake(&t->flush);
}

static void notice_run(struct task *task)
{
    struct tcp *t = container_of(task, struct tcp, notice);
    check_connected(t);
    check_reset(t);
    if ((watch_ready(t->watch) & WATCH_WRITE) != 0 && !buf_is_empty(&t->out))
        task_wake(&t->flush);
    task_wake(t->stream.owner);
}

/* ---- making them ---- */

static int tcp_new(struct loop *loop, int fd, struct task *owner, struct tcp **ret)
{
    struct tcp *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->stream = (struct stream){ .ops = &TCP_OPS, .owner = owner };
    t->loop = loop;
    list_init(&t->lingerer.node);
    task_init_late(&t->flush, loop, flush_run);
    task_init(&t->notice, loop, notice_run);
    buf_init(&t->out, loop_chunks(loop), STREAM_SEND_BYTES_MAX);
    int r = watch_open(loop, fd, &t->notice, &t->watch);
    if (r < 0) {
        free(t);
        return r;
    }
    *ret = t;
    return 0;
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* a socket without it works too */
}

int tcp_from_fd(struct loop *loop, int fd, struct task *owner, struct stream **ret)
{
    struct tcp *t;
    int r = tcp_new(loop, fd, owner, &t);
    if (r < 0)
        return r;
    watch_wait(t->watch, WATCH_READ);
    *ret = &t->stream;
    return 0;
}

int tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
             struct task *owner, struct stream **ret)
{
    int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    if (to->sa.ss_family != AF_UNIX)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (opts->keepalive > 0) {
        int seconds =
            (int)(opts->keepalive / NSEC_PER_SEC > 0 ? opts->keepalive / NSEC_PER_SEC : 1);
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
    }
    struct tcp *t;
    int r = 0;
    if (opts->bind != NULL &&
        bind(fd, (const struct sockaddr *)&opts->bind->sa, opts->bind->size) < 0)
        r = err_from_errno(errno);
    if (r == 0 && connect(fd, (const struct sockaddr *)&to->sa, to->size) < 0 &&
        errno != EINPROGRESS)
        r = err_from_errno(errno);
    if (r == ERR_AGAIN)
        r = ERR_REFUSED; /* a unix socket whose backlog is full */
    if (r == 0)
        r = tcp_new(loop, fd, owner, &t);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    t->is_connecting = true;
    watch_wait(t->watch, WATCH_WRITE);
    *ret = &t->stream;
    return 0;
}

bool tcp_is_connected(const struct stream *s)
{
    return !tcp_of(s)->is_connecting;
}

void tcp_local_addr(const struct stream *s, struct addr *ret)
{
    struct addr a = { .size = sizeof a.sa };
    if (tcp_of(s)->watch == NULL ||
        getsockname(watch_fd(tcp_of(s)->watch), (struct sockaddr *)&a.sa, &a.size) < 0)
        a = (struct addr){ 0 };
    *ret = a;
}

bool tcp_is_quiet(struct stream *s)
{
    struct tcp *t = tcp_of(s);
    return t->err == 0 && !t->is_eof && peek(t) == ERR_AGAIN;
}
