#include "net/udp_relay.h"

#include <errno.h>
#include <netinet/in.h>

#include "net/sockets.h"

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(slice_str(text), &a), 0);
    return a;
}

static void scoped(struct addr *a, uint32_t scope)
{
    ((struct sockaddr_in6 *)(void *)&a->sa)->sin6_scope_id = scope;
}

TEST(a_head_says_where_a_packet_came_from_and_to)
{
    static const struct {
        const char *from, *to;
        uint8_t ecn;
    } ROWS[] = {
        { "192.0.2.1:1", "127.0.0.1:65535", 0 },
        { "[2001:db8::1]:4433", "[::1]:7844", 3 },
        { "[fe80::1]:4433", "[fe80::2]:7844", 1 },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct addr from = addr_of(ROWS[i].from), to = addr_of(ROWS[i].to);
        if (i == 2)
            scoped(&from, 70000);
        struct udp_packet p = { .data = SLICE("x"), .from = &from, .to = &to, .ecn = ROWS[i].ecn };
        struct udp_relayed got;
        uint8_t head[UDP_RELAY_HEAD_BYTES];
        udp_relay_write(&p, head);
        CHECK(udp_relay_read(slice_of(head, sizeof head), &got) == 0);
        CHECK(addr_eq(&got.from, &from) && addr_eq(&got.to, &to));
        CHECK(got.ecn == ROWS[i].ecn);
        if (i == 2)
            CHECK(((struct sockaddr_in6 *)(void *)&got.from.sa)->sin6_scope_id == 70000);
        for (size_t n = 0; n < sizeof head; n++)
            CHECK(udp_relay_read(slice_of(head, n), &got) == ERR_PARSE);
    }
}

TEST(what_is_no_head_is_refused)
{
    struct addr a = addr_of("127.0.0.1:1");
    struct udp_packet p = { .data = SLICE("x"), .from = &a, .to = &a };
    static const struct {
        size_t at;
        uint8_t value;
    } ROWS[] = { { 0, 0 }, { 0, 5 }, { 23, 7 }, { 46, 4 }, { 46, 255 } };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        uint8_t head[UDP_RELAY_HEAD_BYTES];
        struct udp_relayed got;
        udp_relay_write(&p, head);
        head[ROWS[i].at] = ROWS[i].value;
        CHECK(udp_relay_read(slice_of(head, sizeof head), &got) == ERR_PARSE);
    }
}

/* A socket that another process reads for us. */
struct relayed {
    struct loop *loop;
    struct task task;
    struct udp *ours;
    struct addr at;
    int out;
};

static void relayed_run(struct task *t)
{
    (void)t;
}

static void relayed_open(struct relayed *x)
{
    struct addr any = addr_of("127.0.0.1:0");
    struct udp_opts opts = { .fd = -1 };
    int in;
    memset(x, 0, sizeof *x);
    assert_int_equal(loop_new(&x->loop), 0);
    task_init(&x->task, x->loop, relayed_run);
    assert_int_equal(udp_open(x->loop, &any, &opts, &x->task, &x->ours, &x->at), 0);
    assert_int_equal(udp_relay_open(&in, &x->out), 0);
    assert_int_equal(udp_hand_over(x->ours, in), 0);
}

static void relayed_close(struct relayed *x)
{
    udp_close(x->ours);
    task_done(&x->task);
    loop_turn(x->loop, 0);
    loop_free(x->loop);
    if (x->out >= 0)
        (void)close(x->out);
}

/* The next packet that has bytes. */
static struct udp_packet next_packet(struct relayed *x)
{
    struct udp_packet p = { 0 };
    size_t count;
    nsec end = clock_monotonic() + TURN_NSEC_MAX;
    while (p.data.n == 0 && clock_monotonic() < end)
        if (udp_receive(x->ours, &p, 1, &count) == ERR_AGAIN)
            loop_turn(x->loop, 10);
    return p;
}

static void send_text(const struct relayed *x, const char *text)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    ssize_t n = sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&x->at.sa, x->at.size);
    assert_int_equal(n, strlen(text));
    (void)close(fd);
}

TEST(packets_come_by_the_relay_and_not_by_the_socket)
{
    struct relayed x;
    relayed_open(&x);
    struct addr from = addr_of("192.0.2.1:4433");
    struct udp_packet p = { .data = SLICE("relayed"), .from = &from, .to = &x.at, .ecn = 2 };
    send_text(&x, "straight");
    for (int i = 0; i < 20; i++)
        CHECK(udp_relay_send(x.out, &p) == 0);
    for (int i = 0; i < 20; i++) {
        struct udp_packet got = next_packet(&x);
        CHECK(slice_eq(got.data, SLICE("relayed")));
        CHECK(addr_eq(got.from, &from) && addr_eq(got.to, &x.at) && got.ecn == 2);
    }
    relayed_close(&x);
}

TEST(messages_without_a_head_are_nothing_and_do_not_stop_the_others)
{
    struct relayed x;
    relayed_open(&x);
    struct udp_packet p = { .data = SLICE("good"), .from = &x.at, .to = &x.at };
    for (int i = 0; i < 40; i++)
        CHECK(send(x.out, "nonsense", 8, MSG_NOSIGNAL) == 8);
    CHECK(udp_relay_send(x.out, &p) == 0);
    CHECK(slice_eq(next_packet(&x).data, SLICE("good")));
    relayed_close(&x);
}

TEST(when_the_reader_is_gone_the_socket_is_read_again)
{
    struct relayed x;
    relayed_open(&x);
    struct udp_packet p = { .data = SLICE("last"), .from = &x.at, .to = &x.at };
    send_text(&x, "straight");
    CHECK(udp_relay_send(x.out, &p) == 0);
    (void)close(x.out);
    x.out = -1;
    CHECK(slice_eq(next_packet(&x).data, SLICE("last")));
    CHECK(slice_eq(next_packet(&x).data, SLICE("straight")));
    relayed_close(&x);
}

TEST(a_reader_that_is_behind_costs_packets_and_never_a_wait)
{
    struct relayed x;
    relayed_open(&x);
    static const uint8_t BYTES[1200];
    struct udp_packet p = { .data = slice_of(BYTES, sizeof BYTES), .from = &x.at, .to = &x.at };
    int r = 0;
    size_t sent = 0;
    while (r == 0 && sent < 1000000) {
        r = udp_relay_send(x.out, &p);
        sent += r == 0;
    }
    CHECK(r == ERR_AGAIN);
    CHECK(sent > 20);
    CHECK(next_packet(&x).data.n == sizeof BYTES);
    relayed_close(&x);
}

TEST(a_socket_that_is_paused_is_read_from_its_beginning_on)
{
    struct relayed x = { .out = -1 };
    struct addr any = addr_of("127.0.0.1:0");
    struct udp_opts opts = { .fd = -1, .is_paused = true };
    struct udp_packet p;
    size_t count;
    CHECK(loop_new(&x.loop) == 0);
    task_init(&x.task, x.loop, relayed_run);
    CHECK(udp_open(x.loop, &any, &opts, &x.task, &x.ours, &x.at) == 0);
    send_text(&x, "early");
    loop_turn(x.loop, 50);
    CHECK(udp_receive(x.ours, &p, 1, &count) == ERR_AGAIN);
    udp_begin(x.ours);
    CHECK(slice_eq(next_packet(&x).data, SLICE("early")));
    relayed_close(&x);
}

TESTS(RUN(a_head_says_where_a_packet_came_from_and_to), RUN(what_is_no_head_is_refused),
      RUN(packets_come_by_the_relay_and_not_by_the_socket),
      RUN(messages_without_a_head_are_nothing_and_do_not_stop_the_others),
      RUN(when_the_reader_is_gone_the_socket_is_read_again),
      RUN(a_reader_that_is_behind_costs_packets_and_never_a_wait),
      RUN(a_socket_that_is_paused_is_read_from_its_beginning_on))
