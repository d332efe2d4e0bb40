/* Cookie fields of visitors, one for each line of the input: no cookie of the edge is left, every
 * other pair is, in its order, and what is clean stays as it is. */
#include <stdlib.h>

#include "edge/balance.h"

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_ours(struct slice pair)
{
    return slice_starts(slice_trim(pair), SLICE(AFFINITY_COOKIE_NAME "="));
}

/* The pairs that are not ours, one after the other; those that are counted in *ret_ours. */
static struct slice pairs(const struct fields *f, struct arena *arena, size_t *ret_ours)
{
    uint8_t *all = arena_alloc(arena, 2 * BYTES_MAX);
    size_t n = 0;
    if (all == NULL)
        abort();
    *ret_ours = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct slice rest = f->lines[i].value, pair;
        while (slice_split(&rest, ';', &pair)) {
            *ret_ours += is_ours(pair);
            pair = slice_trim(pair);
            if (is_ours(pair) || pair.n == 0)
                continue;
            memcpy(all + n, pair.p, pair.n);
            n += pair.n;
            all[n++] = ';';
        }
    }
    return slice_of(all, n);
}

static void ask(struct exchange *ex, struct balance_rule *rule, struct balance_ask *ret)
{
    static const uint64_t SECRET[2] = { 1, 2 };
    struct addr visitor = { 0 };
    if (balance_ask_init(ret, rule, SECRET, ex, &visitor, false) < 0)
        abort();
    balance_ask_done(ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct exchange ex = { 0 };
    struct balance b = balance_preset();
    struct balance_ask first, again;
    struct slice rest = slice_of(data, size), line;
    size_t ours, left;
    if (size > BYTES_MAX)
        return 0;
    arena_init(&ex.arena, 1 << 20);
    fields_init(&ex.request.fields, &ex.arena);
    for (size_t i = 0; i < 16 && slice_split(&rest, '\n', &line); i++)
        if (fields_add(&ex.request.fields, SLICE("Cookie"), line) < 0)
            abort();
    b.affinity = AFFINITY_COOKIE;
    struct balance_rule *rule = balance_rule_new(&b);
    struct slice before = pairs(&ex.request.fields, &ex.arena, &ours);
    ask(&ex, rule, &first);
    size_t lines = ex.request.fields.count;
    if (!slice_eq(before, pairs(&ex.request.fields, &ex.arena, &left)) || left > 0 ||
        (first.has_cookie && ours == 0))
        abort();
    ask(&ex, rule, &again);
    if (again.has_cookie || ex.request.fields.count != lines)
        abort();
    balance_rule_unref(rule);
    arena_done(&ex.arena);
    return 0;
}
