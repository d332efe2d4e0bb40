#pragma once
/* Plain sockets for the other side of a test: they do exactly what they are told. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"
#include "net/turn.h"

/* A bound TCP socket on loopback; the address in *ret. It refuses connections until it listens. */
static inline int raw_bound(struct addr *ret)
{
    struct addr a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &a), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a.sa, a.size), 0);
    a.size = sizeof a.sa;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a.sa, &a.size), 0);
    *ret = a;
    return fd;
}

static inline int raw_listen(struct addr *ret)
{
    int fd = raw_bound(ret);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* A TCP connection over loopback: ours is non-blocking, theirs blocks. */
static inline void raw_pair(int *ret_ours, int *ret_theirs)
{
    struct addr a;
    int listener = raw_listen(&a);
    int theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(theirs >= 0);
    assert_int_equal(connect(theirs, (const struct sockaddr *)&a.sa, a.size), 0);
    int ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(ours >= 0);
    (void)close(listener);
    *ret_ours = ours;
    *ret_theirs = theirs;
}

/* Closes with a reset, whatever was sent. */
static inline void raw_reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    assert_int_equal(close(fd), 0);
}

static inline void raw_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The owner of a stream that reads when it is woken, and at no other time. */
struct reader {
    struct task task;
    struct stream *stream;
    struct buf in;
    int end; /* what the last read said */
    unsigned wakes;
    bool is_holding; /* does not read */
};

static inline void reader_run(struct task *t)
{
    struct reader *r = container_of(t, struct reader, task);
    r->wakes++;
    while (!r->is_holding && r->stream != NULL && buf_room(&r->in) > 0 &&
           (r->end = stream_read(r->stream, &r->in, 1 << 16)) == 0)
        continue;
}

static inline void reader_init(struct reader *r, struct loop *loop)
{
    *r = (struct reader){ .end = ERR_AGAIN };
    task_init(&r->task, loop, reader_run);
    buf_init(&r->in, loop_chunks(loop), 1 << 20);
}

static inline void reader_done(struct reader *r)
{
    task_done(&r->task);
    buf_done(&r->in);
}

/* Queues a text on a stream that has room for it. */
static inline void say(struct loop *loop, struct stream *s, const char *text)
{
    struct buf out;
    buf_init(&out, loop_chunks(loop), 1 << 16);
    assert_int_equal(buf_put(&out, slice_str(text)), 0);
    assert_int_equal(stream_write(s, &out), 0);
    buf_done(&out);
}
