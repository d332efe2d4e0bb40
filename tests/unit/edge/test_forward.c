#include "edge/forward.h"

#include "net/turn.h"

struct desk {
    struct loop *loop;
    struct task task;
    struct exchange *ex;
    struct addr visitor;
};

static void desk_open(struct desk *d, const char *ip)
{
    assert_int_equal(loop_new(&d->loop), 0);
    task_init(&d->task, d->loop, do_nothing);
    d->ex = exchange_new(d->loop, &d->task);
    assert_int_equal(addr_parse_ip(slice_str(ip), 5555, &d->visitor), 0);
}

static void desk_close(struct desk *d)
{
    exchange_leave(d->ex, EX_LEFT);
    task_done(&d->task);
    loop_turn(d->loop, 0);
    loop_free(d->loop);
}

static struct slice value(struct desk *d, const char *name)
{
    const struct field *f = fields_get(&d->ex->request.fields, slice_str(name));
    return f != NULL ? f->value : SLICE("(none)");
}

TEST(the_origin_is_told_who_asks_and_how)
{
    static const struct {
        const char *ip, *scheme, *shown, *visitor;
    } TABLE[] = {
        { "203.0.113.9", "http", "203.0.113.9", "{\"scheme\":\"http\"}" },
        { "2001:db8::7", "https", "2001:db8::7", "{\"scheme\":\"https\"}" },
        { "::ffff:192.0.2.1", "https", "192.0.2.1", "{\"scheme\":\"https\"}" },
    };
    for (size_t i = 0; i < 3; i++) {
        struct desk d;
        char ray[RAY_BYTES];
        desk_open(&d, TABLE[i].ip);
        CHECK_OK(forward_request(d.ex, &d.visitor, TABLE[i].scheme));
        CHECK_SLICE(value(&d, "cf-connecting-ip"), slice_str(TABLE[i].shown));
        CHECK_SLICE(value(&d, "x-forwarded-for"), slice_str(TABLE[i].shown));
        CHECK_SLICE(value(&d, "x-forwarded-proto"), slice_str(TABLE[i].scheme));
        CHECK_SLICE(value(&d, "cf-visitor"), slice_str(TABLE[i].visitor));
        CHECK_SLICE(value(&d, "cf-ray"), slice_str(forward_ray(d.ex, ray)));
        CHECK(strlen(ray) == 20 && strncmp(ray, d.ex->id, 16) == 0);
        CHECK_SLICE(value(&d, "accept-encoding"), SLICE("identity"));
        desk_close(&d);
    }
}

TEST(what_a_visitor_might_forge_is_replaced_and_its_proxies_are_kept)
{
    static const char *const FORGED[][2] = {
        { "CF-Connecting-IP", "1.1.1.1" },
        { "cf-connecting-ip", "2.2.2.2" },
        { "Cf-Ray", "forged" },
        { "cf-visitor", "forged" },
        { "X-Forwarded-Proto", "forged" },
        { "X-Forwarded-For", "10.0.0.1, 10.0.0.2" },
        { "Accept-Encoding", "br" },
    };
    struct desk d;
    desk_open(&d, "203.0.113.9");
    for (size_t i = 0; i < sizeof FORGED / sizeof FORGED[0]; i++)
        CHECK_OK(
            fields_add(&d.ex->request.fields, slice_str(FORGED[i][0]), slice_str(FORGED[i][1])));
    CHECK_OK(forward_request(d.ex, &d.visitor, "https"));
    CHECK(fields_count(&d.ex->request.fields, SLICE("cf-connecting-ip")) == 1);
    CHECK_SLICE(value(&d, "cf-connecting-ip"), SLICE("203.0.113.9"));
    CHECK_SLICE(value(&d, "x-forwarded-proto"), SLICE("https"));
    CHECK_SLICE(value(&d, "cf-visitor"), SLICE("{\"scheme\":\"https\"}"));
    CHECK_SLICE(value(&d, "x-forwarded-for"), SLICE("10.0.0.1, 10.0.0.2,203.0.113.9"));
    CHECK_SLICE(value(&d, "accept-encoding"), SLICE("br"));
    CHECK(!slice_eq(value(&d, "cf-ray"), SLICE("forged")));
    desk_close(&d);
}

TEST(several_lines_of_earlier_proxies_are_all_kept)
{
    struct desk d;
    desk_open(&d, "203.0.113.9");
    CHECK_OK(fields_add(&d.ex->request.fields, SLICE("X-Forwarded-For"), SLICE("10.0.0.1")));
    CHECK_OK(fields_add(&d.ex->request.fields, SLICE("x-forwarded-for"), SLICE("10.0.0.2")));
    CHECK_OK(forward_request(d.ex, &d.visitor, "http"));
    CHECK(fields_count(&d.ex->request.fields, SLICE("x-forwarded-for")) == 1);
    CHECK_SLICE(value(&d, "x-forwarded-for"), SLICE("10.0.0.1,10.0.0.2,203.0.113.9"));
    desk_close(&d);
}

TEST(a_request_with_as_many_fields_as_there_may_be_is_a_limit)
{
    struct desk d;
    desk_open(&d, "203.0.113.9");
    for (int i = 0; i < HEAD_FIELDS_MAX; i++)
        CHECK_OK(fields_add(&d.ex->request.fields, SLICE("X-A"), SLICE("1")));
    CHECK_ERR(ERR_LIMIT, forward_request(d.ex, &d.visitor, "http"));
    desk_close(&d);
}

TEST(trailers_of_a_visitor_lose_what_only_the_edge_may_say)
{
    static const char *const NAMES[] = { "X-Sum",  "CF-Connecting-IP", "X-Forwarded-For",
                                         "Cf",     "cdn-loop",         "Forwarded",
                                         "cf-ray", "X-Forwarder" };
    struct desk d;
    struct fields trailers;
    desk_open(&d, "203.0.113.9");
    forward_trailers(d.ex); /* none have come */
    fields_init(&trailers, &d.ex->arena);
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        CHECK_OK(fields_add(&trailers, slice_str(NAMES[i]), SLICE("1")));
    d.ex->up_trailers = &trailers;
    forward_trailers(d.ex);
    CHECK(trailers.count == 3);
    CHECK_SLICE(trailers.lines[0].name, SLICE("X-Sum"));
    CHECK_SLICE(trailers.lines[1].name, SLICE("Cf"));
    CHECK_SLICE(trailers.lines[2].name, SLICE("X-Forwarder"));
    desk_close(&d);
}

TESTS(RUN(the_origin_is_told_who_asks_and_how),
      RUN(what_a_visitor_might_forge_is_replaced_and_its_proxies_are_kept),
      RUN(several_lines_of_earlier_proxies_are_all_kept),
      RUN(a_request_with_as_many_fields_as_there_may_be_is_a_limit),
      RUN(trailers_of_a_visitor_lose_what_only_the_edge_may_say))
