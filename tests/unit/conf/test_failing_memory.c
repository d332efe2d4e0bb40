#include "failing.h"
#include "options.h"

static const char FILE_TEXT[] = "name: a name of some length\ncount: 9\nedge: [one, two, three]\n"
                                "other: &x {a: 1, b: [c, d]}\nmore: *x\n";

/* Either all that was given is in place, or the error is told. */
static int options_one(void)
{
    struct program p;
    program_init(&p);
    int r = file(&p, FILE_TEXT);
    if (r == 0)
        r = opt_env(&p.table, &p.arena, &p.fault);
    if (r == 0)
        r = args(&p, "--tag=x=y", "--tag", "z", "--old-name=given");
    assert_non_null(p.o.name);
    if (r == 0) {
        assert_string_equal(p.o.name, "given");
        assert_int_equal(p.o.count, 9);
        assert_int_equal(p.o.edges.count, 3);
        assert_string_equal(p.o.edges.items[2], "three");
        assert_int_equal(p.o.tags.count, 2);
    } else {
        assert_int_equal(p.fault.code, r);
    }
    program_done(&p);
    return r;
}

TEST(options_survive_failing_memory)
{
    CHECK(sweep("options", options_one) > 1);
}

/* The same with an arena that ends at every byte. */
TEST(options_survive_a_full_arena)
{
    bool fitted = false;
    for (size_t max = 0; max < 20000 && !fitted; max += 16) {
        struct program p;
        program_init(&p);
        arena_done(&p.arena);
        arena_init(&p.arena, max);
        int r = file(&p, FILE_TEXT);
        fitted = r == 0;
        if (r == 0) {
            CHECK(strcmp(p.o.name, "a name of some length") == 0 && p.o.count == 9);
            CHECK(p.o.edges.count == 3 && strcmp(p.o.edges.items[2], "three") == 0);
        } else {
            CHECK(r == ERR_LIMIT || r == ERR_NOMEM);
            CHECK(p.fault.code == r && p.o.name != NULL);
        }
        program_done(&p);
    }
    CHECK(fitted);
}

TESTS(RUN(options_survive_failing_memory), RUN(options_survive_a_full_arena))
