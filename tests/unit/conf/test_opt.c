#include "conf/opt.h"

#include "options.h"
#include "test.h"

TEST(without_anything_the_defaults_hold)
{
    struct program p;
    program_init(&p);
    CHECK_SLICE(slice_str(p.o.name), SLICE("adit"));
    CHECK(p.o.force == false && p.o.loud == true && p.o.count == 4 &&
          p.o.wait == 1500 * NSEC_PER_MSEC);
    CHECK(p.o.edges.count == 0 && p.o.tags.count == 1 && strcmp(p.o.tags.items[0], "a=b") == 0);
    CHECK(opt_source_of(&p.table, "name") == OPT_FROM_DEFAULT);
    CHECK(opt_knows(&p.table, SLICE("n")) && opt_knows(&p.table, SLICE("old-name")));
    CHECK(opt_knows(&p.table, SLICE("quiet")) && opt_knows(&p.table, SLICE("tag")));
    CHECK(!opt_knows(&p.table, SLICE(".quiet")) && !opt_knows(&p.table, SLICE("nam")));
    CHECK(!opt_knows(&p.table, SLICE("")) && !opt_knows(&p.table, SLICE("name,n")));
    program_done(&p);
}

TEST(flags_come_in_every_form_and_leave_the_rest_in_order)
{
    struct program p;
    program_init(&p);
    CHECK_OK(args(&p, "run", "--name", "x", "first", "-c", "7", "--wait=2s", "--force", "-",
                  "--edge=a:1", "--edge", "b:2", "--loud=false", "second", "--", "--name", "-c"));
    CHECK_SLICE(slice_str(p.o.name), SLICE("x"));
    CHECK(p.o.count == 7 && p.o.wait == 2 * NSEC_PER_SEC && p.o.force && !p.o.loud);
    CHECK(p.o.edges.count == 2 && strcmp(p.o.edges.items[1], "b:2") == 0);
    CHECK(p.argc == 6);
    static const char *const REST[] = { "run", "first", "-", "second", "--name", "-c" };
    for (int i = 0; i < 6; i++)
        CHECK(strcmp(p.argv[i], REST[i]) == 0);
    program_done(&p);
    program_init(&p);
    CHECK_OK(args(&p, "-name=y", "--n", "z", "--old-name=")); /* one dash or two, all names */
    CHECK_SLICE(slice_str(p.o.name), SLICE(""));
    CHECK(p.argc == 0 && opt_source_of(&p.table, "n") == OPT_FROM_FLAG);
    program_done(&p);
    program_init(&p);
    CHECK_OK(args(&p, "--name", "--force")); /* a value may look like a flag */
    CHECK_SLICE(slice_str(p.o.name), SLICE("--force"));
    CHECK(!p.o.force);
    program_done(&p);
}

TEST(help_is_asked_for_by_itself)
{
    static const char *const HELP[] = { "--help", "-h", "-help", "--h", "--help=x" };
    for (size_t i = 0; i < 5; i++) {
        struct program p;
        program_init(&p);
        CHECK_ERR(ERR_CANCELED, args(&p, "run", HELP[i], "--nonsense"));
        CHECK(p.fault.code == 0);
        program_done(&p);
    }
}

TEST(a_bad_flag_says_what_is_wanted)
{
    static const struct {
        const char *words[3];
        int code;
        const char *text;
    } BAD[] = {
        { { "--nam" }, ERR_INVALID, "there is no flag --nam; did you mean --name?" },
        { { "--xyzzy-plugh" }, ERR_INVALID, "there is no flag --xyzzy-plugh; see --help" },
        { { "--=x" }, ERR_INVALID, "there is no flag --; see --help" },
        { { "---name", "x" }, ERR_INVALID, "there is no flag ---name; did you mean --name?" },
        { { "--name" }, ERR_INVALID, "--name needs a value" },
        { { "--count", "x" }, ERR_INVALID, "--count x: a whole number is wanted" },
        { { "--count=" }, ERR_INVALID, "--count : a whole number is wanted" },
        { { "--count= 5" }, ERR_INVALID, "--count  5: a whole number is wanted" },
        { { "--count=5 " }, ERR_INVALID, "--count 5 : a whole number is wanted" },
        { { "--count=+5" }, ERR_INVALID, "--count +5: a whole number is wanted" },
        { { "--count=0x5" }, ERR_INVALID, "--count 0x5: a whole number is wanted" },
        { { "--count=-" }, ERR_INVALID, "--count -: a whole number is wanted" },
        { { "--count=5.0" }, ERR_INVALID, "--count 5.0: a whole number is wanted" },
        { { "--count", "0" }, ERR_RANGE, "--count 0: it must be between 1 and 32" },
        { { "--count", "33" }, ERR_RANGE, "--count 33: it must be between 1 and 32" },
        { { "--count", "-1" }, ERR_RANGE, "--count -1: it must be between 1 and 32" },
        { { "--big=9223372036854775808" },
          ERR_RANGE,
          "--big 9223372036854775808: it must be between -5 and 9223372036854775807" },
        { { "--big=-6" }, ERR_RANGE, "--big -6: it must be between -5 and 9223372036854775807" },
        { { "--wait", "5" }, ERR_INVALID, "--wait 5: a duration is wanted, such as 30s or 1m30s" },
        { { "--wait=1x" }, ERR_INVALID, "--wait 1x: a duration is wanted, such as 30s or 1m30s" },
        { { "--wait=99ms" }, ERR_RANGE, "--wait 99ms: it must be between 100ms and 60000ms" },
        { { "--wait=61s" }, ERR_RANGE, "--wait 61s: it must be between 100ms and 60000ms" },
        { { "--wait=60000.000001ms" },
          ERR_RANGE,
          "--wait 60000.000001ms: it must be between 100ms and 60000ms" },
        { { "--open=-1ns" },
          ERR_RANGE,
          "--open -1ns: it must be 0ms or more, and below 292 years" },
        { { "--open=3000000h" },
          ERR_RANGE,
          "--open 3000000h: it must be 0ms or more, and below 292 years" },
        { { "--force=yes" }, ERR_INVALID, "--force yes: true or false is wanted" },
        { { "--force=" }, ERR_INVALID, "--force : true or false is wanted" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct program p;
        program_init(&p);
        struct options before = p.o;
        int r = args(&p, BAD[i].words[0], BAD[i].words[1], BAD[i].words[2]);
        if (r != BAD[i].code || strcmp(p.fault.text, BAD[i].text) != 0 || p.fault.code != r)
            fail_msg("%s: %d \"%s\"", BAD[i].words[0], r, p.fault.text);
        CHECK(memcmp(&before, &p.o, sizeof before) == 0); /* nothing was changed */
        program_done(&p);
    }
}

TEST(edges_of_every_range_are_inside)
{
    struct program p;
    program_init(&p);
    CHECK_OK(args(&p, "--count=1", "--wait=100ms", "--big=9223372036854775807", "--open=0"));
    CHECK(p.o.count == 1 && p.o.wait == 100 * NSEC_PER_MSEC && p.o.big == INT64_MAX &&
          p.o.open == 0);
    CHECK_OK(args(&p, "--count=32", "--wait=1m", "--big=-5", "--open=2562047h"));
    CHECK(p.o.count == 32 && p.o.wait == 60 * NSEC_PER_SEC && p.o.big == -5);
    CHECK(p.o.open == 2562047ULL * 3600 * NSEC_PER_SEC);
    CHECK_OK(args(&p, "--force=T", "--loud=0"));
    CHECK(p.o.force && !p.o.loud);
    program_done(&p);
}

TEST(tables_are_asked_in_order)
{
    struct program p, q;
    program_init(&p);
    program_init(&q);
    struct opt_table tables[] = { p.table, q.table };
    char *words[] = { (char *)(uintptr_t) "--name=x", (char *)(uintptr_t) "--second=y" };
    tables[0].count = 1; /* the first knows --name alone */
    int count;
    CHECK_OK(opt_args(tables, 2, 1, words, &count, &p.arena, &p.fault));
    CHECK_SLICE(slice_str(p.o.name), SLICE("x"));
    CHECK_SLICE(slice_str(q.o.name), SLICE("adit"));
    words[0] = (char *)(uintptr_t) "--count=9";
    CHECK_OK(opt_args(tables, 2, 1, words, &count, &p.arena, &p.fault));
    CHECK(p.o.count == 4 && q.o.count == 9);
    CHECK_ERR(ERR_INVALID, opt_args(tables, 2, 1, words + 1, &count, &p.arena, &p.fault));
    program_done(&p);
    program_done(&q);
}

TEST(flags_go_before_the_environment_and_that_before_the_file)
{
    struct program p;
    for (unsigned has = 0; has < 8; has++) {
        program_init(&p);
        (void)setenv("TEST_NAME", "from-env", 1);
        (void)setenv("TEST_EDGE", "e1, e2", 1);
        if ((has & 1) != 0)
            CHECK_OK(args(&p, "--name=from-flag", "--edge=f1"));
        if ((has & 2) != 0)
            CHECK_OK(opt_env(&p.table, &p.arena, &p.fault));
        if ((has & 4) != 0)
            CHECK_OK(file(&p, "name: from-file\nedge: [y1, y2, y3]\n"));
        const char *want = (has & 1) != 0   ? "from-flag"
                           : (has & 2) != 0 ? "from-env"
                           : (has & 4) != 0 ? "from-file"
                                            : "adit";
        size_t edges = (has & 1) != 0 ? 1 : (has & 2) != 0 ? 2 : (has & 4) != 0 ? 3 : 0;
        enum opt_source source = (has & 1) != 0   ? OPT_FROM_FLAG
                                 : (has & 2) != 0 ? OPT_FROM_ENV
                                 : (has & 4) != 0 ? OPT_FROM_FILE
                                                  : OPT_FROM_DEFAULT;
        CHECK_SLICE(slice_str(p.o.name), slice_str(want));
        CHECK(p.o.edges.count == edges && opt_source_of(&p.table, "edge") == source);
        CHECK(opt_source_of(&p.table, "name") == source);
        program_done(&p);
    }
    (void)unsetenv("TEST_NAME");
    (void)unsetenv("TEST_EDGE");
    /* In either order of reading: the file first, then the environment and the flags. */
    program_init(&p);
    (void)setenv("TEST_NAME", "from-env", 1);
    CHECK_OK(file(&p, "name: from-file\ncount: 9\nedge: [y1, y2]\n"));
    CHECK_OK(opt_env(&p.table, &p.arena, &p.fault));
    CHECK_SLICE(slice_str(p.o.name), SLICE("from-env"));
    CHECK_OK(args(&p, "--edge=f1", "--name=from-flag"));
    CHECK_SLICE(slice_str(p.o.name), SLICE("from-flag"));
    CHECK(p.o.count == 9 && p.o.edges.count == 1);
    (void)unsetenv("TEST_NAME");
    program_done(&p);
}

TEST(the_environment_is_read_by_all_its_names)
{
    struct program p;
    program_init(&p);
    (void)setenv("TEST_NAME_OLD", "old", 1);
    CHECK_OK(opt_env(&p.table, &p.arena, &p.fault));
    CHECK_SLICE(slice_str(p.o.name), SLICE("old"));
    (void)setenv("TEST_NAME", "new", 1); /* the first name goes before */
    CHECK_OK(opt_env(&p.table, &p.arena, &p.fault));
    CHECK_SLICE(slice_str(p.o.name), SLICE("new"));
    (void)setenv("TEST_NAME", "", 1); /* empty is absent */
    CHECK_OK(opt_env(&p.table, &p.arena, &p.fault));
    CHECK_SLICE(slice_str(p.o.name), SLICE("old"));
    (void)setenv("TEST_COUNT", "99", 1);
    CHECK_ERR(ERR_RANGE, opt_env(&p.table, &p.arena, &p.fault));
    CHECK(strcmp(p.fault.where, "TEST_COUNT") == 0 && p.o.count == 4);
    (void)unsetenv("TEST_NAME");
    (void)unsetenv("TEST_NAME_OLD");
    (void)unsetenv("TEST_COUNT");
    program_done(&p);
}

TEST(a_file_gives_values_of_every_kind)
{
    struct program p;
    program_init(&p);
    CHECK_OK(file(&p, "name: a name\nforce: yes\nloud: off\ncount: 5\nwait: 3s\nopen: 1h\n"
                      "edge:\n  - x\n  - 7\nunknown-key: {a: b}\nbig:\ntag: single\n"));
    CHECK_SLICE(slice_str(p.o.name), SLICE("a name"));
    CHECK(p.o.force && !p.o.loud && p.o.count == 5 && p.o.wait == 3 * NSEC_PER_SEC);
    CHECK(p.o.edges.count == 2 && strcmp(p.o.edges.items[1], "7") == 0);
    CHECK(p.o.big == 0 && opt_source_of(&p.table, "big") == OPT_FROM_DEFAULT); /* null is absent */
    CHECK(p.o.tags.count == 1 && strcmp(p.o.tags.items[0], "single") == 0);
    CHECK_OK(file(&p, ""));
    CHECK_OK(file(&p, "~"));
    program_done(&p);
}

TEST(a_bad_file_says_where)
{
    static const struct {
        const char *text;
        int code;
        unsigned line;
    } BAD[] = {
        { "count: 5\nname: [a]\n", ERR_INVALID, 2 },
        { "name: {a: b}\n", ERR_INVALID, 1 },
        { "edge: {a: b}\n", ERR_INVALID, 1 },
        { "edge: [a, [b]]\n", ERR_INVALID, 1 },
        { "count: 5\nforce: maybe\n", ERR_INVALID, 2 },
        { "force: 'yes'\n", ERR_INVALID, 1 },
        { "\n\ncount: 99\n", ERR_RANGE, 3 },
        { "count: five\n", ERR_INVALID, 1 },
        { "wait: 5\n", ERR_INVALID, 1 },
        { "name: \"a\\0b\"\n", ERR_INVALID, 1 }, /* it would be cut at the NUL */
        { "edge: [\"a\\0b\"]\n", ERR_INVALID, 1 },
        { "- name\n", ERR_INVALID, 1 },
        { "name\n", ERR_INVALID, 1 },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct program p;
        program_init(&p);
        int r = file(&p, BAD[i].text);
        if (r != BAD[i].code || p.fault.line != BAD[i].line ||
            strcmp(p.fault.where, "f.yml") != 0 || p.fault.text[0] == 0)
            fail_msg("%s: %d \"%s\" line %u", BAD[i].text, r, p.fault.text, p.fault.line);
        CHECK_SLICE(slice_str(p.o.name), SLICE("adit"));
        program_done(&p);
    }
}

TEST(a_list_is_bounded)
{
    struct program p;
    program_init(&p);
    for (int i = 0; i < OPT_LIST_MAX; i++)
        CHECK_OK(args(&p, "--edge=x"));
    CHECK_ERR(ERR_LIMIT, args(&p, "--edge=x"));
    CHECK(p.o.edges.count == OPT_LIST_MAX);
    CHECK(strcmp(p.fault.text, "--edge: there are more than 64 values") == 0);
    program_done(&p);
}

TEST(one_value_is_set_by_name)
{
    struct program p;
    program_init(&p);
    CHECK_OK(opt_set(&p.table, SLICE("old-name"), "v", OPT_FROM_FILE, &p.arena, &p.fault));
    CHECK(strcmp(p.o.name, "v") == 0 && opt_source_of(&p.table, "name") == OPT_FROM_FILE);
    CHECK_ERR(ERR_NOTFOUND, opt_set(&p.table, SLICE("x"), "v", OPT_FROM_FILE, &p.arena, &p.fault));
    CHECK_ERR(ERR_RANGE, opt_set(&p.table, SLICE("count"), "0", OPT_FROM_FILE, &p.arena, NULL));
    program_done(&p);
}

TEST(a_value_is_shown_as_it_would_be_written)
{
    struct program p;
    program_init(&p);
    CHECK_OK(args(&p, "--big=-5", "--force"));
    CHECK_SLICE(slice_str(opt_text(&p.table, "n", &p.arena)), SLICE("adit"));
    CHECK_SLICE(slice_str(opt_text(&p.table, "big", &p.arena)), SLICE("-5"));
    CHECK_SLICE(slice_str(opt_text(&p.table, "force", &p.arena)), SLICE("true"));
    CHECK_SLICE(slice_str(opt_text(&p.table, "wait", &p.arena)), SLICE("1.5s"));
    CHECK(opt_text(&p.table, "edge", &p.arena) == NULL);
    struct arena none;
    arena_init(&none, 0);
    CHECK(opt_text(&p.table, "big", &none) == NULL);
    arena_done(&none);
    program_done(&p);
}

TEST(a_text_that_cannot_be_kept_changes_nothing)
{
    struct program p;
    program_init(&p);
    struct arena none;
    arena_init(&none, 4);
    CHECK_ERR(ERR_NOMEM,
              opt_set(&p.table, SLICE("name"), "longer", OPT_FROM_FILE, &none, &p.fault));
    CHECK(strcmp(p.o.name, "adit") == 0 && opt_source_of(&p.table, "name") == OPT_FROM_DEFAULT);
    (void)setenv("TEST_NAME", "x", 1);
    CHECK_ERR(ERR_NOMEM, opt_env(&p.table, &none, &p.fault)); /* and is not passed over */
    (void)unsetenv("TEST_NAME");
    arena_done(&none);
    program_done(&p);
}

TEST(help_is_aligned_and_wrapped)
{
    struct program p;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    program_init(&p);
    opt_help(&p.table, to);
    (void)fclose(to);
    CHECK_SLICE(
        slice_of(text, n),
        SLICE("  --name VALUE                    The name. [adit] ($TEST_NAME,TEST_NAME_OLD)\n"
              "  --force                         Do it.\n"
              "  --loud                          Say it. [true]\n"
              "  --count N                       How many. [4] ($TEST_COUNT)\n"
              "  --big N                         Any number. [0]\n"
              "  --wait TIME                     How long it may take until the other side "
              "has answered, at the\n"
              "                                  very most, before it is given up. [1.5s]\n"
              "  --open TIME                     No bound. [0s]\n"
              "  --edge VALUE                    Where. ($TEST_EDGE)\n"
              "  --tag VALUE                     Pairs. [a=b]\n"
              "  --a-name-that-is-longer-than-its-column VALUE\n"
              "                                  Long.\n"));
    free(text);
    program_done(&p);
}

TESTS(RUN(without_anything_the_defaults_hold),
      RUN(flags_come_in_every_form_and_leave_the_rest_in_order), RUN(help_is_asked_for_by_itself),
      RUN(a_bad_flag_says_what_is_wanted), RUN(edges_of_every_range_are_inside),
      RUN(tables_are_asked_in_order), RUN(flags_go_before_the_environment_and_that_before_the_file),
      RUN(the_environment_is_read_by_all_its_names), RUN(a_file_gives_values_of_every_kind),
      RUN(a_bad_file_says_where), RUN(a_list_is_bounded), RUN(one_value_is_set_by_name),
      RUN(a_value_is_shown_as_it_would_be_written), RUN(a_text_that_cannot_be_kept_changes_nothing),
      RUN(help_is_aligned_and_wrapped))
