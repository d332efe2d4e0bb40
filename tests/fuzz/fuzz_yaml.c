/* YAML as a tree: bounded in depth and number, every text there, places from one on. */
#include <stdlib.h>

#include "base/err.h"
#include "conf/yaml_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static size_t check(const struct yaml_node *n, unsigned depth, bool in_map)
{
    size_t count = 1;
    bool truth;
    must(depth <= YAML_DEPTH_MAX && n->line > 0 && n->column > 0);
    must(n->kind != YAML_SCALAR || (n->text.p != NULL && n->text.p[n->text.n] == 0));
    must(n->kind == YAML_SCALAR || (n->text.p == NULL && !yaml_is_null(n)));
    must(in_map == (n->key.p != NULL));
    must(yaml_bool(n, &truth) < 0 || n->is_plain);
    for (const struct yaml_node *item = n->first; item != NULL; item = item->next)
        count += check(item, depth + 1, n->kind == YAML_MAP);
    return count;
}

/* What is read past a bad key is a tree like others, and no better than a file that is good. */
static void read_all(struct slice text, int strict)
{
    struct arena arena;
    struct yaml_complaints all;
    struct yaml_node *root = NULL;
    struct fault fault = { 0 };
    arena_init(&arena, 16 << 20);
    int r = yaml_parse_all(text, "fuzz", &arena, &root, &all, &fault);
    must((r == 0) == (strict == 0) && all.count <= YAML_COMPLAINTS_MAX);
    must(r == 0 || r == ERR_PARSE || root == NULL);
    if (root != NULL)
        must(check(root, 0, false) <= YAML_NODES_MAX);
    else if (r == ERR_PARSE)
        (void)yaml_parse_before(text, fault.line, &arena);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct yaml_node *root = NULL;
    struct fault fault = { 0 };
    arena_init(&arena, 16 << 20);
    int r = yaml_parse(slice_of(data, size), "fuzz", &arena, &root, &fault);
    must(r == 0 || (root == NULL && fault.code == r && fault.text[0] != 0));
    if (root != NULL)
        must(check(root, 0, false) <= YAML_NODES_MAX);
    arena_done(&arena);
    read_all(slice_of(data, size), r);
    return 0;
}
