#include "http/trace.h"

#include "test.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void build(struct arena *a, struct fields *f, const char *const *values)
{
    arena_init(a, 65536);
    fields_init(f, a);
    assert_true(fields_add(f, SLICE("Tracestate"), SLICE("a=1")) == 0);
    for (; *values != NULL; values++)
        assert_true(fields_add(f, SLICE("TraceParent"), slice_str(*values)) == 0);
}

TEST(a_valid_traceparent_stays_with_its_tracestate)
{
    static const char *const GOOD[] = {
        "00-" TRACE "-" PARENT "-01",
        "00-" TRACE "-" PARENT "-ff",
        "cc-" TRACE "-" PARENT "-00",
        "01-" TRACE "-" PARENT "-01-what-comes-later",
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        struct arena a;
        struct fields f;
        struct slice trace;
        build(&a, &f, (const char *[]){ GOOD[i], NULL });
        CHECK(trace_of(&f, &trace));
        CHECK_SLICE(trace, SLICE(TRACE));
        trace_clean(&f);
        CHECK(f.count == 2);
        CHECK_SLICE(fields_get(&f, SLICE("traceparent"))->value, slice_str(GOOD[i]));
        arena_done(&a);
    }
}

TEST(an_invalid_traceparent_goes_and_tracestate_with_it)
{
    static const char *const BAD[] = {
        "",
        "00",
        "00-" TRACE "-" PARENT,
        "00-" TRACE "-" PARENT "-0",
        "00-" TRACE "-" PARENT "-0g",
        "00-" TRACE "-" PARENT "-01-more",
        "00-" TRACE "-" PARENT "-011",
        "ff-" TRACE "-" PARENT "-01",
        "0x-" TRACE "-" PARENT "-01",
        "01-" TRACE "-" PARENT "-01.more",
        "00_" TRACE "-" PARENT "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-" TRACE "_" PARENT "-01",
        "00-" TRACE "-" PARENT "_01",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct arena a;
        struct fields f;
        struct slice trace;
        build(&a, &f, (const char *[]){ BAD[i], NULL });
        CHECK(!trace_of(&f, &trace));
        trace_clean(&f);
        CHECK(f.count == 0);
        arena_done(&a);
    }
}

TEST(two_traceparents_are_none)
{
    struct arena a;
    struct fields f;
    struct slice trace;
    const char *one = "00-" TRACE "-" PARENT "-01";
    build(&a, &f, (const char *[]){ one, one, NULL });
    CHECK(!trace_of(&f, &trace));
    trace_clean(&f);
    CHECK(f.count == 0);
    arena_done(&a);
}

TEST(a_tracestate_alone_is_left_alone)
{
    struct arena a;
    struct fields f;
    build(&a, &f, (const char *[]){ NULL });
    trace_clean(&f);
    CHECK(f.count == 1);
    arena_done(&a);
}

TESTS(RUN(a_valid_traceparent_stays_with_its_tracestate),
      RUN(an_invalid_traceparent_goes_and_tracestate_with_it), RUN(two_traceparents_are_none),
      RUN(a_tracestate_alone_is_left_alone))
