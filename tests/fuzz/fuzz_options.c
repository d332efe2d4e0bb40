/* Options of every kind from a YAML file and from words of a command line: what is accepted is
 * within its bounds, and no text is missing. */
#include <stdlib.h>

#include "base/err.h"
#include "conf/opt.h"

#define WORDS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* clang-format off */
#define OPTIONS(OPT)                                                                               \
    OPT(name, STR, "name,n", "", "x", 0, 0, "")                                                    \
    OPT(force, BOOL, "force,f", "", "", 0, 0, "")                                                  \
    OPT(count, INT, "count,c", "", "4", -3, 32, "")                                                \
    OPT(wait, TIME, "wait,w", "", "1s", 100, 60000, "")                                            \
    OPT(edges, LIST, "edge,e", "", "", 0, 0, "")
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

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct options *o)
{
    must(o->name != NULL && o->count >= -3 && o->count <= 32);
    must(o->wait >= 100 * NSEC_PER_MSEC && o->wait <= 60000 * NSEC_PER_MSEC);
    must(o->edges.count <= OPT_LIST_MAX);
    for (size_t i = 0; i < o->edges.count; i++)
        must(o->edges.items[i] != NULL);
}

/* Lines are words. */
static void take_words(const struct opt_table *t, struct slice text, struct arena *arena)
{
    char *words[WORDS_MAX];
    struct slice line;
    struct fault fault = { 0 };
    int count = 0, kept = 0;
    while (count < WORDS_MAX && slice_split(&text, '\n', &line)) {
        words[count] = arena_str(arena, line);
        if (words[count] == NULL)
            return;
        count++;
    }
    int r = opt_args(t, 1, count, words, &kept, arena, &fault);
    must(r == 0 ? kept <= count : r == ERR_CANCELED || fault.code == r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct options values;
    enum opt_source sources[ROW_COUNT];
    const struct opt_table table = {
        .rows = ROWS, .count = ROW_COUNT, .values = &values, .sources = sources
    };
    struct arena arena;
    struct yaml_node *root = NULL;
    struct fault fault = { 0 };
    struct slice text = slice_of(data, size);
    arena_init(&arena, 4 << 20);
    opt_defaults(&table, &arena);
    if (yaml_parse(text, "fuzz", &arena, &root, &fault) == 0) {
        int r = opt_file(&table, root, "fuzz", &arena, &fault);
        must(r == 0 || (fault.code == r && fault.text[0] != 0));
    } else {
        must(root == NULL && fault.text[0] != 0);
    }
    check(&values);
    take_words(&table, text, &arena);
    check(&values);
    arena_done(&arena);
    return 0;
}
