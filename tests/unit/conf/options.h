#pragma once
/* A small program's options, for the tests of the option table. */
#include "conf/opt.h"
#include "test.h"

/* clang-format off */
#define OPTIONS(OPT)                                                                               \
    OPT(name, STR, "name,n,old-name", "TEST_NAME,TEST_NAME_OLD", "adit", 0, 0, "The name.")        \
    OPT(force, BOOL, "force,f", "", "", 0, 0, "Do it.")                                            \
    OPT(loud, BOOL, "loud", "", "true", 0, 0, "Say it.")                                           \
    OPT(count, INT, "count,c", "TEST_COUNT", "4", 1, 32, "How many.")                              \
    OPT(big, INT, "big", "", "0", -5, INT64_MAX, "Any number.")                                    \
    OPT(wait, TIME, "wait", "", "1.5s", 100, 60000,                                                \
        "How long it may take until the other side has answered, at the very most, before it is "  \
        "given up.")                                                                               \
    OPT(open, TIME, "open", "", "0s", 0, 0, "No bound.")                                           \
    OPT(edges, LIST, "edge", "TEST_EDGE", "", 0, 0, "Where.")                                      \
    OPT(tags, LIST, "tag", "", "a=b", 0, 0, "Pairs.")                                              \
    OPT(quiet, STR, ".quiet", "", "", 0, 0, "Not shown.")                                          \
    OPT(longest, STR, "a-name-that-is-longer-than-its-column", "", "", 0, 0, "Long.")
/* clang-format on */

struct options {
#define OPT(field, kind, ...) opt_type_##kind field;
    OPTIONS(OPT)
#undef OPT
};

static const struct opt ROWS[] = {
#define OPT(...) OPT_ROW(struct options, __VA_ARGS__)
    OPTIONS(OPT)
#undef OPT
};
#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

struct program {
    struct options o;
    enum opt_source sources[ROW_COUNT];
    struct opt_table table;
    struct arena arena;
    struct fault fault;
    char *argv[32];
    int argc; /* what was no flag */
};

static inline void program_init(struct program *p)
{
    memset(p, 0, sizeof *p);
    p->table = (struct opt_table){
        .rows = ROWS, .count = ROW_COUNT, .values = &p->o, .sources = p->sources
    };
    arena_init(&p->arena, 1 << 20);
    opt_defaults(&p->table, &p->arena);
}

static inline void program_done(struct program *p)
{
    arena_done(&p->arena);
}

static inline int program_args(struct program *p, const char *const *words)
{
    int count = 0;
    for (; words[count] != NULL; count++)
        p->argv[count] = (char *)(uintptr_t)words[count];
    return opt_args(&p->table, 1, count, p->argv, &p->argc, &p->arena, &p->fault);
}

/* Words up to the first NULL. */
#define args(p, ...) program_args(p, (const char *const[]){ __VA_ARGS__, NULL })

static inline int file(struct program *p, const char *text)
{
    struct yaml_node *root = NULL;
    int r = yaml_parse(slice_str(text), "f.yml", &p->arena, &root, &p->fault);
    return r < 0 ? r : opt_file(&p->table, root, "f.yml", &p->arena, &p->fault);
}
