#include "conf/yaml_tree.h"

#include <yaml.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"

struct reading {
    yaml_document_t doc;
    struct arena *arena;
    const char *where;
    struct fault *fault;
    struct yaml_complaints *all; /* or NULL: the first complaint ends it */
    bool has_complained;
    size_t nodes;
};

/* Of a key, which can be left out: the fault is about the first, the list has all. */
static int refuse_name(struct reading *r, const yaml_mark_t *at, const char *text,
                       struct slice name, unsigned first_line)
{
    unsigned line = (unsigned)at->line + 1, column = (unsigned)at->column + 1;
    struct yaml_complaints *all = r->all;
    if (!r->has_complained) {
        (void)fault_set(r->fault, ERR_PARSE, "%s%.*s", text, SLICE_FMT(name));
        (void)fault_at(r->fault, r->where, line, column);
    }
    r->has_complained = true;
    if (all == NULL || all->count == YAML_COMPLAINTS_MAX)
        return ERR_PARSE;
    const char *copy = arena_fmt(r->arena, "%s%.*s", text, SLICE_FMT(name));
    if (copy != NULL)
        all->list[all->count++] = (struct yaml_complaint){ line, column, copy, first_line };
    return ERR_PARSE;
}

static int refuse_key(struct reading *r, const yaml_mark_t *at, const char *text)
{
    return refuse_name(r, at, text, SLICE(""), 0);
}

static int refuse(struct reading *r, const yaml_mark_t *at, const char *text)
{
    (void)fault_set(r->fault, ERR_PARSE, "%s", text);
    (void)fault_at(r->fault, r->where, (unsigned)at->line + 1, (unsigned)at->column + 1);
    return ERR_PARSE;
}

static int too_large(struct reading *r)
{
    return fault_set(r->fault, ERR_LIMIT, "%s is too large", r->where);
}

static int take(struct reading *r, int index, unsigned depth, struct yaml_node **ret);

static int take_list(struct reading *r, const yaml_node_t *n, unsigned depth, struct yaml_node *to)
{
    struct yaml_node **end = &to->first;
    for (yaml_node_item_t *item = n->data.sequence.items.start; item < n->data.sequence.items.top;
         item++) {
        int e = take(r, *item, depth + 1, end);
        if (e < 0)
            return e;
        end = &(*end)->next;
    }
    return 0;
}

struct seen_key {
    struct map_node node;
    unsigned line;
};

/* A key that is new to its map. */
static int take_key(struct reading *r, const yaml_node_t *map, int index, struct map *seen,
                    struct slice *ret)
{
    const yaml_node_t *key = yaml_document_get_node(&r->doc, index);
    if (key == NULL || key->type != YAML_SCALAR_NODE)
        return refuse_key(r, key != NULL ? &key->start_mark : &map->start_mark,
                          "a key must be a plain text");
    struct slice name =
        arena_copy(r->arena, slice_of(key->data.scalar.value, key->data.scalar.length));
    struct seen_key *mark = arena_alloc(r->arena, sizeof *mark);
    if (name.p == NULL || mark == NULL)
        return too_large(r);
    if (slice_eq(name, SLICE("<<")) && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return refuse_key(r, &key->start_mark, "merge keys (<<) are not supported: write them out");
    mark->node.key = name;
    mark->line = (unsigned)key->start_mark.line + 1;
    int e = map_put(seen, &mark->node);
    if (e == ERR_EXISTS) {
        const struct map_node *first = map_get(seen, name);
        return refuse_name(r, &key->start_mark, "this key is there twice: ", name,
                           container_of(first, struct seen_key, node)->line);
    }
    *ret = name;
    return e < 0 ? too_large(r) : 0;
}

static int take_map(struct reading *r, const yaml_node_t *n, unsigned depth, struct yaml_node *to)
{
    struct yaml_node **end = &to->first;
    struct map seen;
    int e = 0;
    map_init(&seen);
    for (yaml_node_pair_t *pair = n->data.mapping.pairs.start;
         e == 0 && pair < n->data.mapping.pairs.top; pair++) {
        struct slice name;
        e = take_key(r, n, pair->key, &seen, &name);
        if (e == ERR_PARSE && r->all != NULL) {
            e = 0;
            continue;
        }
        if (e == 0)
            e = take(r, pair->value, depth + 1, end);
        if (e == 0) {
            const yaml_mark_t at = yaml_document_get_node(&r->doc, pair->key)->start_mark;
            (*end)->key = name;
            (*end)->key_line = (unsigned)at.line + 1;
            (*end)->key_column = (unsigned)at.column + 1;
            end = &(*end)->next;
        }
    }
    map_done(&seen);
    return e;
}

static int take(struct reading *r, int index, unsigned depth, struct yaml_node **ret)
{
    const yaml_node_t *n = yaml_document_get_node(&r->doc, index);
    struct yaml_node *to = arena_alloc(r->arena, sizeof *to);
    if (n == NULL || to == NULL)
        return too_large(r);
    if (depth > YAML_DEPTH_MAX || ++r->nodes > YAML_NODES_MAX)
        return refuse(r, &n->start_mark, "the file is nested too deeply or has too many values");
    to->line = (unsigned)n->start_mark.line + 1;
    to->column = (unsigned)n->start_mark.column + 1;
    *ret = to;
    switch (n->type) {
    case YAML_SCALAR_NODE:
        to->kind = YAML_SCALAR;
        to->text = arena_copy(r->arena, slice_of(n->data.scalar.value, n->data.scalar.length));
        to->is_plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return to->text.p != NULL ? 0 : too_large(r);
    case YAML_SEQUENCE_NODE:
        to->kind = YAML_LIST;
        return take_list(r, n, depth, to);
    case YAML_MAPPING_NODE:
        to->kind = YAML_MAP;
        return take_map(r, n, depth, to);
    case YAML_NO_NODE:
    default:
        return refuse(r, &n->start_mark, "a value of an unknown kind");
    }
}

/* Whether a tab is among what a line is indented with. */
static bool begins_with_tab(struct slice text, size_t line)
{
    struct slice part = { 0 };
    for (size_t i = 0; i <= line; i++)
        if (!slice_split(&text, '\n', &part))
            return false;
    size_t n = 0;
    while (n < part.n && part.p[n] == ' ')
        n++;
    return n < part.n && part.p[n] == '\t';
}

static int syntax_fault(const yaml_parser_t *parser, struct slice text, const char *where,
                        struct fault *fault)
{
    int e = ERR_PARSE;
    if (parser->error == YAML_MEMORY_ERROR)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    if (begins_with_tab(text, parser->problem_mark.line))
        e = fault_set(fault, ERR_PARSE, "there is a tab: YAML is indented with spaces alone");
    else
        e = fault_set(fault, ERR_PARSE, "%s%s%s",
                      parser->problem != NULL ? parser->problem : "it is not YAML",
                      parser->context != NULL ? ", " : "",
                      parser->context != NULL ? parser->context : "");
    (void)fault_at(fault, where, (unsigned)parser->problem_mark.line + 1,
                   (unsigned)parser->problem_mark.column + 1);
    return e;
}

/* *ret is set when the tree is whole, but for the keys that were complained of. */
static int parse(struct reading *r, struct slice text, struct yaml_node **ret)
{
    yaml_parser_t parser;
    if (text.n > YAML_BYTES_MAX)
        return fault_set(r->fault, ERR_TOOLARGE, "%s is larger than a mebibyte", r->where);
    if (yaml_parser_initialize(&parser) == 0)
        return fault_set(r->fault, ERR_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, text.p != NULL ? text.p : (const uint8_t *)"", text.n);
    if (yaml_parser_load(&parser, &r->doc) == 0) {
        int e = syntax_fault(&parser, text, r->where, r->fault);
        yaml_parser_delete(&parser);
        return e;
    }
    struct yaml_node *root = NULL;
    int e = yaml_document_get_root_node(&r->doc) != NULL ? take(r, 1, 0, &root) : 0;
    yaml_document_delete(&r->doc);
    yaml_parser_delete(&parser);
    if (e == 0)
        *ret = root;
    return e;
}

int yaml_parse(struct slice text, const char *where, struct arena *arena, struct yaml_node **ret,
               struct fault *fault)
{
    struct reading r = { .arena = arena, .where = where, .fault = fault };
    return parse(&r, text, ret);
}

int yaml_parse_all(struct slice text, const char *where, struct arena *arena,
                   struct yaml_node **ret, struct yaml_complaints *all, struct fault *fault)
{
    struct reading r = { .arena = arena, .where = where, .fault = fault, .all = all };
    all->count = 0;
    int e = parse(&r, text, ret);
    return e == 0 && r.has_complained ? ERR_PARSE : e;
}

/* No deeper than YAML_DEPTH_MAX: the parser saw to it. */
struct yaml_node *yaml_copy(const struct yaml_node *n, struct arena *arena)
{
    struct yaml_node *copy = n != NULL ? arena_alloc(arena, sizeof *copy) : NULL;
    if (copy == NULL)
        return NULL;
    *copy = *n;
    copy->first = copy->next = NULL;
    copy->text = arena_copy(arena, n->text);
    copy->key = arena_copy(arena, n->key);
    if (copy->text.p == NULL || copy->key.p == NULL)
        return NULL;
    struct yaml_node **end = &copy->first;
    for (const struct yaml_node *below = n->first; below != NULL; below = below->next) {
        *end = yaml_copy(below, arena);
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    }
    return copy;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (slice_eq(n->key, slice_str(key)))
            return n;
    return NULL;
}

static bool is_one_of(const struct yaml_node *n, const char *const *words)
{
    for (; *words != NULL; words++)
        if (slice_eq(n->text, slice_str(*words)))
            return true;
    return false;
}

bool yaml_is_null(const struct yaml_node *n)
{
    static const char *const NULLS[] = { "", "~", "null", "Null", "NULL", NULL };
    return n->kind == YAML_SCALAR && n->is_plain && is_one_of(n, NULLS);
}

int yaml_bool(const struct yaml_node *n, bool *ret)
{
    static const char *const TRUES[] = { "true", "True", "TRUE", "yes", "Yes", "YES",
                                         "on",   "On",   "ON",   "y",   "Y",   NULL };
    static const char *const FALSES[] = { "false", "False", "FALSE", "no", "No", "NO",
                                          "off",   "Off",   "OFF",   "n",  "N",  NULL };
    if (n->kind != YAML_SCALAR || !n->is_plain)
        return ERR_PARSE;
    if (is_one_of(n, TRUES))
        *ret = true;
    else if (is_one_of(n, FALSES))
        *ret = false;
    else
        return ERR_PARSE;
    return 0;
}

int yaml_fault(struct fault *f, int code, const char *where, const struct yaml_node *n,
               const char *text)
{
    (void)fault_set(f, code, "%s", text);
    (void)fault_at(f, where, n->line, n->column);
    return code;
}
