#include "net/udp.h"

#include <errno.h>

#include "net/sockets.h"

/* Two sockets of ours on loopback, a to b. */
struct pair {
    struct loop *loop;
    struct task task;
    unsigned wakes;
    struct udp *a, *b;
    struct addr a_addr, b_addr;
};

static void pair_run(struct task *t)
{
    container_of(t, struct pair, task)->wakes++;
}

static struct udp *open_one(struct pair *p, const char *at, struct addr *ret)
{
    struct udp_opts opts = { .fd = -1 };
    struct addr any;
    struct udp *u;
    assert_int_equal(addr_parse(slice_str(at), &any), 0);
    assert_int_equal(udp_open(p->loop, &any, &opts, &p->task, &u, ret), 0);
    return u;
}

static void pair_open(struct pair *p)
{
    *p = (struct pair){ 0 };
    assert_int_equal(loop_new(&p->loop), 0);
    task_init(&p->task, p->loop, pair_run);
    p->a = open_one(p, "127.0.0.1:0", &p->a_addr);
    p->b = open_one(p, "127.0.0.1:0", &p->b_addr);
}

static void pair_close(struct pair *p)
{
    udp_close(p->a);
    udp_close(p->b);
    task_done(&p->task);
    loop_turn(p->loop, 0);
    loop_free(p->loop);
}

/* Takes datagrams of b, at most `max` a call, until `count` have come; each must start with its
 * number. */
static void expect(struct pair *p, size_t count, size_t max, size_t size, void **state_)
{
    size_t seen = 0;
    struct udp_packet packets[64];
    nsec end = clock_monotonic() + TURN_NSEC_MAX;
    while (seen < count && clock_monotonic() < end) {
        size_t n = 0;
        int r = udp_receive(p->b, packets, max, &n);
        if (r == ERR_AGAIN) {
            loop_turn(p->loop, 10);
            continue;
        }
        CHECK_OK(r);
        CHECK(n >= 1 && n <= max);
        for (size_t i = 0; i < n; i++, seen++) {
            CHECK(packets[i].data.n == size);
            CHECK(packets[i].data.p[0] == (uint8_t)seen);
            CHECK(packets[i].data.p[size - 1] == (uint8_t)seen);
            CHECK(addr_eq(packets[i].from, &p->a_addr));
            CHECK(addr_eq(packets[i].to, &p->b_addr));
        }
    }
    CHECK(seen == count);
}

static void fill(uint8_t *data, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++)
        memset(data + i * size, (int)(uint8_t)i, size);
}

TEST(a_batch_goes_out_as_datagrams_of_its_segment_size)
{
    struct pair p;
    static uint8_t data[40 * 1200];
    size_t sent = 0;
    pair_open(&p);
    fill(data, 40, 1200);
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1200, &sent));
    CHECK(sent == sizeof data);
    expect(&p, 40, 64, 1200, state_);
    pair_close(&p);
}

TEST(a_batch_is_handed_out_in_pieces_to_whoever_takes_few)
{
    struct pair p;
    static uint8_t data[40 * 1200];
    size_t sent = 0;
    pair_open(&p);
    fill(data, 40, 1200);
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1200, &sent));
    expect(&p, 40, 3, 1200, state_);
    pair_close(&p);
}

TEST(the_last_datagram_of_a_batch_may_be_shorter)
{
    struct pair p;
    static uint8_t data[3 * 1000 + 1];
    size_t sent = 0, count = 0, n;
    size_t sizes[4];
    struct udp_packet packets[64];
    pair_open(&p);
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1000, &sent));
    while (count < 4) {
        UNTIL(p.loop, udp_receive(p.b, packets, 64, &n) == 0);
        for (size_t i = 0; i < n && count < 4; i++)
            sizes[count++] = packets[i].data.n;
    }
    CHECK(sizes[0] == 1000 && sizes[1] == 1000 && sizes[2] == 1000 && sizes[3] == 1);
    pair_close(&p);
}

TEST(more_datagrams_than_one_system_call_takes_all_arrive_in_order)
{
    struct pair p;
    uint8_t data[100];
    size_t sent;
    pair_open(&p);
    for (int i = 0; i < 50; i++) {
        memset(data, i, sizeof data);
        CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1200, &sent));
    }
    expect(&p, 50, 64, 100, state_);
    size_t n;
    struct udp_packet one;
    CHECK_ERR(ERR_AGAIN, udp_receive(p.b, &one, 1, &n));
    unsigned wakes = p.wakes;
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, SLICE("more"), 1200, &sent));
    UNTIL(p.loop, p.wakes > wakes); /* the queue was empty: the next one is news */
    UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
    pair_close(&p);
}

TEST(a_datagram_of_no_bytes_harms_nobody)
{
    struct pair p;
    size_t sent, n = 0;
    struct udp_packet packets[8];
    pair_open(&p);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(sendto(fd, "", 0, 0, (const struct sockaddr *)&p.b_addr.sa, p.b_addr.size) == 0);
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, SLICE("after it"), 1200, &sent));
    bool is_seen = false;
    nsec end = clock_monotonic() + TURN_NSEC_MAX;
    while (!is_seen && clock_monotonic() < end) {
        loop_turn(p.loop, 10);
        while (udp_receive(p.b, packets, 8, &n) == 0)
            for (size_t i = 0; i < n; i++)
                is_seen |= slice_eq(packets[i].data, SLICE("after it"));
    }
    CHECK(is_seen);
    (void)close(fd);
    pair_close(&p);
}

TEST(congestion_marks_arrive)
{
    static const char *const ANY[] = { "127.0.0.1:0", "[::1]:0" };
    for (int i = 0; i < 2; i++) {
        struct pair p;
        struct udp_packet one;
        struct addr local, remote;
        size_t sent, n;
        pair_open(&p);
        udp_close(p.a);
        udp_close(p.b);
        p.a = open_one(&p, ANY[i], &local);
        p.b = open_one(&p, ANY[i], &remote);
        CHECK_OK(udp_send(p.a, NULL, &remote, 2, SLICE("ect0"), 1200, &sent));
        UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
        CHECK(one.ecn == 2 && addr_eq(one.to, &remote));
        CHECK_OK(udp_send(p.a, NULL, &remote, 0, SLICE("none"), 1200, &sent));
        UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
        CHECK(one.ecn == 0);
        pair_close(&p);
    }
}

TEST(an_answer_leaves_from_the_address_that_was_asked)
{
    struct pair p;
    struct udp_packet one;
    struct addr any, to;
    char text[ADDR_TEXT_BYTES];
    size_t sent, n;
    pair_open(&p);
    udp_close(p.b);
    p.b = open_one(&p, "0.0.0.0:0", &any);
    CHECK_OK(addr_parse_ip(SLICE("127.0.0.2"), addr_port(&any), &to));
    CHECK_OK(udp_send(p.a, NULL, &to, 0, SLICE("ask"), 1200, &sent));
    UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
    assert_string_equal(addr_ip_text(one.to, text), "127.0.0.2");
    CHECK(addr_port(one.to) == addr_port(&any));
    CHECK_OK(udp_send(p.b, one.to, one.from, 0, SLICE("answer"), 1200, &sent));
    UNTIL(p.loop, udp_receive(p.a, &one, 1, &n) == 0);
    assert_string_equal(addr_ip_text(one.from, text), "127.0.0.2");
    pair_close(&p);
}

TEST(a_socket_of_both_families_shows_mapped_addresses_and_answers_from_them)
{
    struct pair p;
    struct udp_packet one;
    struct addr any, to;
    char text[ADDR_TEXT_BYTES];
    size_t sent, n;
    pair_open(&p);
    udp_close(p.b);
    p.b = open_one(&p, ":0", &any);
    CHECK_OK(addr_parse_ip(SLICE("127.0.0.3"), addr_port(&any), &to));
    CHECK_OK(udp_send(p.a, NULL, &to, 0, SLICE("ask"), 1200, &sent));
    UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
    assert_string_equal(addr_ip_text(one.to, text), "127.0.0.3");
    assert_string_equal(addr_ip_text(one.from, text), "127.0.0.1");
    CHECK_OK(udp_send(p.b, one.to, one.from, 0, SLICE("answer"), 1200, &sent));
    UNTIL(p.loop, udp_receive(p.a, &one, 1, &n) == 0);
    assert_string_equal(addr_ip_text(one.from, text), "127.0.0.3");
    pair_close(&p);
}

TEST(a_port_where_nobody_listens_is_told_with_its_address)
{
    struct pair p;
    struct addr gone, to;
    size_t sent;
    int error = 0;
    pair_open(&p);
    CHECK_ERR(ERR_AGAIN, udp_take_error(p.a, &to, &error));
    struct udp *closed = open_one(&p, "127.0.0.1:0", &gone);
    udp_close(closed);
    CHECK_OK(udp_send(p.a, NULL, &gone, 0, SLICE("hello?"), 1200, &sent));
    UNTIL(p.loop, udp_take_error(p.a, &to, &error) == 0);
    CHECK(error == ECONNREFUSED && addr_eq(&to, &gone));
    /* What is sent next is not held up by it, and nothing is told twice. */
    CHECK_OK(udp_send(p.a, NULL, &gone, 0, SLICE("again"), 1200, &sent));
    CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, SLICE("there"), 1200, &sent));
    struct udp_packet one;
    size_t n;
    UNTIL(p.loop, udp_receive(p.b, &one, 1, &n) == 0);
    CHECK_SLICE(one.data, SLICE("there"));
    CHECK_ERR(ERR_AGAIN, udp_receive(p.a, &one, 1, &n)); /* an error is no datagram */
    pair_close(&p);
}

TEST(what_is_too_large_for_any_datagram_is_told)
{
    struct pair p;
    static uint8_t large[65535];
    size_t sent = 1;
    pair_open(&p);
    CHECK_ERR(ERR_TOOLARGE,
              udp_send(p.a, NULL, &p.b_addr, 0, slice_of(large, sizeof large), 65535, &sent));
    CHECK(sent == 0);
    pair_close(&p);
}

TEST(what_the_kernel_dropped_for_want_of_room_is_counted)
{
    struct pair p;
    struct udp_opts small = { .fd = -1, .buffer_bytes = 4096 };
    static uint8_t data[1000];
    struct addr any;
    struct udp_packet packets[64];
    size_t sent, n;
    pair_open(&p);
    udp_close(p.b);
    CHECK_OK(addr_parse(SLICE("127.0.0.1:0"), &any));
    CHECK_OK(udp_open(p.loop, &any, &small, &p.task, &p.b, &p.b_addr));
    for (int i = 0; i < 200; i++)
        CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1000, &sent));
    loop_turn(p.loop, 10);
    while (udp_receive(p.b, packets, 64, &n) == 0)
        continue;
    CHECK(udp_dropped(p.b) == 0 || udp_dropped(p.b) < 200);
    for (int i = 0; i < 3; i++)
        CHECK_OK(udp_send(p.a, NULL, &p.b_addr, 0, slice_of(data, sizeof data), 1000, &sent));
    UNTIL(p.loop, udp_receive(p.b, packets, 64, &n) == 0);
    CHECK(udp_dropped(p.b) > 0); /* the first datagram after the loss tells of it */
    pair_close(&p);
}

TEST(a_port_in_use_is_told_unless_it_is_shared)
{
    struct pair p;
    struct udp *u = NULL;
    struct addr got;
    struct udp_opts alone = { .fd = -1 }, shared = { .fd = -1, .reuse_port = true };
    struct udp *one, *two;
    pair_open(&p);
    CHECK_ERR(ERR_BUSY, udp_open(p.loop, &p.a_addr, &alone, &p.task, &u, &got));
    CHECK(u == NULL);
    struct addr any;
    CHECK_OK(addr_parse(SLICE("127.0.0.1:0"), &any));
    CHECK_OK(udp_open(p.loop, &any, &shared, &p.task, &one, &got));
    CHECK_OK(udp_open(p.loop, &got, &shared, &p.task, &two, &any));
    CHECK(addr_eq(&any, &got));
    udp_local_addr(two, &any);
    CHECK(addr_eq(&any, &got));
    udp_close(one);
    udp_close(two);
    udp_close(NULL);
    pair_close(&p);
}

TEST(the_source_towards_loopback_is_loopback)
{
    struct addr to, from;
    char text[ADDR_TEXT_BYTES];
    CHECK_OK(addr_parse(SLICE("127.0.0.1:7844"), &to));
    CHECK_OK(udp_source_addr(&to, &from));
    assert_string_equal(addr_ip_text(&from, text), "127.0.0.1");
    CHECK_OK(addr_parse(SLICE("[::1]:7844"), &to));
    CHECK_OK(udp_source_addr(&to, &from));
    assert_string_equal(addr_ip_text(&from, text), "::1");
    CHECK_OK(addr_unix(SLICE("/nowhere"), &to));
    CHECK(udp_source_addr(&to, &from) < 0);
}

TESTS(RUN(a_batch_goes_out_as_datagrams_of_its_segment_size),
      RUN(a_batch_is_handed_out_in_pieces_to_whoever_takes_few),
      RUN(the_last_datagram_of_a_batch_may_be_shorter),
      RUN(more_datagrams_than_one_system_call_takes_all_arrive_in_order),
      RUN(a_datagram_of_no_bytes_harms_nobody), RUN(congestion_marks_arrive),
      RUN(an_answer_leaves_from_the_address_that_was_asked),
      RUN(a_socket_of_both_families_shows_mapped_addresses_and_answers_from_them),
      RUN(a_port_where_nobody_listens_is_told_with_its_address),
      RUN(what_is_too_large_for_any_datagram_is_told),
      RUN(what_the_kernel_dropped_for_want_of_room_is_counted),
      RUN(a_port_in_use_is_told_unless_it_is_shared), RUN(the_source_towards_loopback_is_loopback))
