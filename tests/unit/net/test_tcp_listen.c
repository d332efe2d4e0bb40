#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "net/sockets.h"

/* A listener whose owner counts its wakes. */
struct door {
    struct loop *loop;
    struct task task, stream_task;
    unsigned wakes;
    struct tcp_listener *listener;
    struct addr addr;
};

static const struct tcp_listen_opts PLAIN = { .fd = -1 };

static void door_run(struct task *t)
{
    container_of(t, struct door, task)->wakes++;
}

static void door_init(struct door *d)
{
    *d = (struct door){ 0 };
    assert_int_equal(loop_new(&d->loop), 0);
    task_init(&d->task, d->loop, door_run);
    task_init(&d->stream_task, d->loop, do_nothing);
}

static void door_open(struct door *d)
{
    struct addr any;
    door_init(d);
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &any), 0);
    assert_int_equal(tcp_listen(d->loop, &any, &PLAIN, &d->task, &d->listener, &d->addr), 0);
    assert_true(addr_port(&d->addr) != 0);
}

static void door_close(struct door *d)
{
    tcp_listener_close(d->listener);
    task_done(&d->task);
    task_done(&d->stream_task);
    loop_turn(d->loop, 0);
    loop_free(d->loop);
}

static int knock(const struct addr *to)
{
    int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to->sa, to->size), 0);
    return fd;
}

TEST(connections_are_accepted_with_their_address_until_there_are_no_more)
{
    struct door d;
    struct stream *s;
    struct addr peer;
    struct buf in;
    door_open(&d);
    CHECK_ERR(ERR_AGAIN, tcp_accept(d.listener, &d.stream_task, &s, &peer));
    int one = knock(&d.addr), two = knock(&d.addr);
    UNTIL(d.loop, d.wakes > 0);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tcp_accept(d.listener, &d.stream_task, &s, &peer));
        CHECK(addr_is_loopback(&peer) && addr_port(&peer) != 0);
        raw_send(i == 0 ? one : two, "hello");
        buf_init(&in, loop_chunks(d.loop), 100);
        UNTIL(d.loop, stream_read(s, &in, 100) == 0);
        CHECK_SLICE(buf_front(&in), SLICE("hello"));
        buf_done(&in);
        stream_release(s);
    }
    CHECK_ERR(ERR_AGAIN, tcp_accept(d.listener, &d.stream_task, &s, &peer));
    unsigned wakes = d.wakes;
    int three = knock(&d.addr);
    UNTIL(d.loop, d.wakes > wakes); /* after "no more" the next one is news again */
    CHECK_OK(tcp_accept(d.listener, &d.stream_task, &s, &peer));
    stream_release(s);
    (void)close(one);
    (void)close(two);
    (void)close(three);
    door_close(&d);
}

TEST(a_port_in_use_is_told)
{
    struct door d;
    struct tcp_listener *other = NULL;
    struct addr got;
    door_open(&d);
    CHECK_ERR(ERR_BUSY, tcp_listen(d.loop, &d.addr, &PLAIN, &d.task, &other, &got));
    CHECK(other == NULL);
    door_close(&d);
}

TEST(several_workers_share_a_port)
{
    struct door d;
    struct tcp_listener *two = NULL;
    struct tcp_listen_opts shared = { .reuse_port = true, .fd = -1 };
    struct addr any, got;
    door_init(&d);
    CHECK_OK(addr_parse(SLICE("127.0.0.1:0"), &any));
    CHECK_OK(tcp_listen(d.loop, &any, &shared, &d.task, &d.listener, &d.addr));
    CHECK_OK(tcp_listen(d.loop, &d.addr, &shared, &d.task, &two, &got));
    CHECK(addr_eq(&got, &d.addr));
    tcp_listener_close(two);
    door_close(&d);
}

TEST(any_address_takes_visitors_of_both_families)
{
    struct door d;
    struct stream *s;
    struct addr any, peer, to;
    char text[ADDR_TEXT_BYTES];
    door_init(&d);
    CHECK_OK(addr_parse(SLICE(":0"), &any));
    CHECK_OK(tcp_listen(d.loop, &any, &PLAIN, &d.task, &d.listener, &d.addr));
    CHECK_OK(addr_parse_ip(SLICE("127.0.0.1"), addr_port(&d.addr), &to));
    int fd = knock(&to);
    UNTIL(d.loop, tcp_accept(d.listener, &d.stream_task, &s, &peer) == 0);
    assert_string_equal(addr_ip_text(&peer, text), "127.0.0.1");
    stream_release(s);
    (void)close(fd);
    door_close(&d);
}

TEST(without_descriptors_it_pauses_and_comes_back_by_itself)
{
    struct door d;
    struct stream *s;
    struct addr peer;
    struct rlimit before, tight;
    door_open(&d);
    int fd = knock(&d.addr);
    UNTIL(d.loop, d.wakes > 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)close(next);
    tight = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    int r = tcp_accept(d.listener, &d.stream_task, &s, &peer);
    unsigned wakes = d.wakes;
    for (int i = 0; i < 5; i++) /* the connection waits, and nothing spins meanwhile */
        loop_turn(d.loop, 1);
    unsigned soon = d.wakes;
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_ERR(ERR_LIMIT, r);
    CHECK(soon == wakes);
    UNTIL(d.loop, d.wakes > wakes);
    UNTIL(d.loop, tcp_accept(d.listener, &d.stream_task, &s, &peer) == 0);
    stream_release(s);
    (void)close(fd);
    door_close(&d);
}

TEST(a_listener_may_be_closed_during_its_pause)
{
    struct door d;
    struct stream *s;
    struct addr peer;
    struct rlimit before, tight;
    door_open(&d);
    int fd = knock(&d.addr);
    UNTIL(d.loop, d.wakes > 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)close(next);
    tight = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    int r = tcp_accept(d.listener, &d.stream_task, &s, &peer);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_ERR(ERR_LIMIT, r);
    tcp_listener_close(d.listener);
    d.listener = NULL;
    (void)close(fd);
    door_close(&d);
}

TEST(a_visitor_that_left_the_queue_is_no_failure)
{
    struct door d;
    struct stream *s;
    struct addr peer;
    door_open(&d);
    raw_reset(knock(&d.addr));
    int fd = knock(&d.addr);
    UNTIL(d.loop, d.wakes > 0);
    unsigned accepted = 0;
    for (int i = 0; i < 2; i++)
        if (tcp_accept(d.listener, &d.stream_task, &s, &peer) == 0) {
            accepted++;
            stream_release(s);
        }
    CHECK(accepted >= 1);
    (void)close(fd);
    door_close(&d);
}

/* ---- socket files ---- */

static void unix_path(char *path, size_t size, struct addr *ret)
{
    const char *dir = getenv("TMPDIR");
    (void)snprintf(path, size, "%s/adit-listen-%ld.sock", dir != NULL ? dir : "/tmp",
                   (long)getpid());
    (void)unlink(path);
    assert_int_equal(addr_unix(slice_str(path), ret), 0);
}

TEST(a_dead_socket_file_is_replaced_and_a_live_one_is_not)
{
    struct door d;
    struct addr at;
    struct stream *s;
    struct addr peer;
    struct tcp_listener *other = NULL;
    char path[100];
    door_init(&d);
    unix_path(path, sizeof path, &at);
    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(dead, (const struct sockaddr *)&at.sa, at.size) == 0 && close(dead) == 0);
    CHECK_OK(tcp_listen(d.loop, &at, &PLAIN, &d.task, &d.listener, &d.addr));
    CHECK_ERR(ERR_BUSY, tcp_listen(d.loop, &at, &PLAIN, &d.task, &other, &peer));
    int fd = knock(&at);
    UNTIL(d.loop, tcp_accept(d.listener, &d.stream_task, &s, &peer) == 0);
    stream_release(s);
    (void)close(fd);
    (void)unlink(path);
    door_close(&d);
}

TEST(a_file_that_is_no_socket_is_left_alone)
{
    struct door d;
    struct addr at, got;
    struct stat st;
    char path[100];
    door_init(&d);
    unix_path(path, sizeof path, &at);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "precious", 8) == 8 && close(fd) == 0);
    CHECK_ERR(ERR_BUSY, tcp_listen(d.loop, &at, &PLAIN, &d.task, &d.listener, &got));
    CHECK(stat(path, &st) == 0 && st.st_size == 8);
    (void)unlink(path);
    door_close(&d);
}

/* ---- handed over ---- */

TEST(a_listening_descriptor_can_be_handed_over)
{
    struct door d;
    struct addr bound, peer;
    struct stream *s;
    door_init(&d);
    struct tcp_listen_opts given = { .fd = raw_listen(&bound) };
    CHECK(fcntl(given.fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK_OK(tcp_listen(d.loop, &bound, &given, &d.task, &d.listener, &d.addr));
    CHECK(addr_eq(&d.addr, &bound));
    int fd = knock(&bound);
    UNTIL(d.loop, tcp_accept(d.listener, &d.stream_task, &s, &peer) == 0);
    tcp_listener_close(d.listener); /* what was accepted lives on */
    d.listener = NULL;
    say(d.loop, s, "still here");
    loop_turn(d.loop, 1);
    char text[20] = "";
    CHECK(recv(fd, text, sizeof text - 1, 0) == 10);
    assert_string_equal(text, "still here");
    stream_release(s);
    (void)close(fd);
    door_close(&d);
}

TESTS(RUN(connections_are_accepted_with_their_address_until_there_are_no_more),
      RUN(a_port_in_use_is_told), RUN(several_workers_share_a_port),
      RUN(any_address_takes_visitors_of_both_families),
      RUN(without_descriptors_it_pauses_and_comes_back_by_itself),
      RUN(a_listener_may_be_closed_during_its_pause),
      RUN(a_visitor_that_left_the_queue_is_no_failure),
      RUN(a_dead_socket_file_is_replaced_and_a_live_one_is_not),
      RUN(a_file_that_is_no_socket_is_left_alone), RUN(a_listening_descriptor_can_be_handed_over))
