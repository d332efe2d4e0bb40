/* Keys of a rule and a request's path, a NUL between them: what a rule makes of any path is a
 * bounded path without spaces and line ends, and its fields can be written. */
#include <stdlib.h>

#include "base/limits.h"
#include "connector/ingress.h"
#include "connector/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void nothing(struct task *t)
{
    (void)t;
}

static void check(const struct exchange *ex)
{
    struct slice t = ex->request.target;
    must(t.n > 0 && t.n <= TARGET_BYTES_MAX && t.p[0] == '/');
    for (size_t i = 0; i < t.n; i++)
        must(t.p[i] > ' ' && t.p[i] != 0x7f);
    for (size_t i = 0; i < ex->request.fields.count; i++) {
        must(field_name_is_valid(ex->request.fields.lines[i].name));
        must(field_value_is_valid(ex->request.fields.lines[i].value));
    }
}

static void rewrite(const struct rule_extras *x, struct slice target)
{
    struct loop *loop;
    struct task left;
    must(loop_new(&loop) == 0);
    task_init(&left, loop, nothing);
    struct exchange *ex = exchange_new(loop, &left);
    must(ex != NULL);
    ex->request.method = SLICE("GET");
    ex->request.host = SLICE("h.example");
    ex->request.target = target;
    bool is_path = target.n > 0 && target.n <= TARGET_BYTES_MAX && target.p[0] == '/';
    for (size_t i = 0; i < target.n; i++)
        is_path = is_path && target.p[i] > ' ' && target.p[i] != 0x7f;
    if (fields_add(&ex->request.fields, SLICE("Cf-Connecting-Ip"), SLICE("192.0.2.1")) == 0 &&
        rewrite_request(ex, x, ex->request.host) == 0 &&
        (is_path || ex->request.target.p != target.p))
        check(ex);
    exchange_leave(ex, EX_LEFT);
    task_done(&left);
    loop_turn(loop, 0);
    loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size), keys;
    struct arena arena;
    struct yaml_node *root = NULL;
    struct rule_extras *x = NULL;
    struct fault fault;
    if (size == 0 || !slice_split(&rest, 0, &keys))
        return 0;
    arena_init(&arena, 16 * 1024 * 1024);
    if (yaml_parse(keys, "fuzz", &arena, &root, &fault) == 0 && root != NULL &&
        rule_extras_from_yaml(root, "fuzz", &arena, &x, &fault) == 0) {
        rewrite(x, rest);
        rewrite(x, SLICE("/api/v1/x?y=/api"));
    }
    arena_done(&arena);
    return 0;
}
