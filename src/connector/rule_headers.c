/* The keys of a rule that name header fields: headers (conditions), requestHeaders and
 * responseHeaders (edits). */
#include "base/err.h"
#include "codec/http1_names.h"
#include "connector/rewrite.h"
#include "connector/rule_extras.h"

/* Names that no rule may test or change: the connection's, and what frames the message. */
static int check_name(const struct yaml_node *n, struct slice name, const char *where,
                      struct fault *f)
{
    if (!field_name_is_valid(name) || name.n > EXTRA_VALUE_MAX)
        return extra_refuse(f, where, n, "\"%.*s\" is no name of a header field", SLICE_FMT(name));
    enum http1_name known = http1_name_of(name);
    if (known == HTTP1_HOST)
        return extra_refuse(f, where, n,
                            "the host is not a field here: use the rule's hostname to test it, "
                            "originRequest.httpHostHeader to change it");
    if ((http1_name_marks(known) & HTTP1_HOP) != 0 || known == HTTP1_CONTENT_LENGTH ||
        known == HTTP1_TRAILER || known == HTTP1_EXPECT || known == HTTP1_SEC_WEBSOCKET_KEY ||
        known == HTTP1_SEC_WEBSOCKET_ACCEPT)
        return extra_refuse(f, where, n,
                            "this field belongs to the connection or frames the message: a rule "
                            "cannot touch it");
    return 0;
}

/* ---- conditions ---- */

static int take_condition(const struct yaml_node *n, const char *where, struct arena *arena,
                          struct header_condition *c, struct fault *f)
{
    int e = check_name(n, n->key, where, f);
    if (e == 0)
        e = extra_take_text(n, where, arena, &c->value, f);
    if (e < 0)
        return e;
    c->name = arena_copy(arena, n->key);
    if (c->name.p == NULL)
        return extra_no_memory(f);
    if (slice_eq(c->value, SLICE("*"))) {
        c->test = HEADER_IS_THERE;
        return 0;
    }
    if (!slice_starts(c->value, SLICE("~"))) {
        c->test = HEADER_IS;
        c->value = slice_trim(c->value);
        return field_value_is_valid(c->value)
                   ? 0
                   : extra_refuse(f, where, n, "no header field can have this value");
    }
    c->test = HEADER_MATCHES;
    return extra_take_regex(n, slice_sub(c->value, 1, SIZE_MAX), where, arena, &c->regex, f);
}

int header_conditions_from_yaml(const struct yaml_node *map, const char *where, struct arena *arena,
                                struct rule_extras *x, struct fault *f)
{
    size_t count;
    if (map->kind != YAML_MAP)
        return extra_refuse(f, where, map,
                            "a map of names and values is wanted: a value, ~expression, or * for "
                            "any");
    int e = extra_count(map, where, &count, f);
    if (e < 0)
        return e;
    x->headers = arena_alloc(arena, (count + 1) * sizeof *x->headers);
    if (x->headers == NULL)
        return extra_no_memory(f);
    for (const struct yaml_node *n = map->first; n != NULL && e == 0; n = n->next)
        e = take_condition(n, where, arena, &x->headers[x->header_count++], f);
    return e;
}

/* ---- edits ---- */

struct editing {
    const char *where;
    struct arena *arena;
    struct header_edits *to;
    struct fault *fault;
};

/* `n` is the node to blame. */
static int put_edit(const struct editing *w, const struct yaml_node *n, enum header_act act,
                    struct slice name, struct slice value)
{
    struct header_edit *edit = &w->to->list[w->to->count++];
    int e = check_name(n, name, w->where, w->fault);
    if (e < 0)
        return e;
    *edit = (struct header_edit){ .act = act,
                                  .name = arena_copy(w->arena, name),
                                  .value = arena_copy(w->arena, slice_trim(value)) };
    if (edit->name.p == NULL || edit->value.p == NULL)
        return extra_no_memory(w->fault);
    if (!field_value_is_valid(edit->value) || edit->value.n > EXTRA_VALUE_MAX)
        return extra_refuse(w->fault, w->where, n, "no header field can have this value");
    struct slice unknown;
    edit->has_variables = slice_find(edit->value, '$') < edit->value.n;
    if (!rewrite_variables_are_known(edit->value, &unknown))
        return extra_refuse(w->fault, w->where, n,
                            "%.*s is no variable: there are ${request_id}, ${visitor_ip} and "
                            "${host}, and $$ for a dollar",
                            SLICE_FMT(slice_sub(unknown, 0, 40)));
    return 0;
}

static int take_value(const struct editing *w, const struct yaml_node *n, enum header_act act,
                      struct slice name)
{
    if (n->kind != YAML_SCALAR || yaml_is_null(n))
        return extra_refuse(w->fault, w->where, n, "a text is wanted");
    return put_edit(w, n, act, name, n->text);
}

/* Names with values; of an addition also lists of values. */
static int take_values(const struct editing *w, const struct yaml_node *map, enum header_act act)
{
    int e = 0;
    if (map->kind != YAML_MAP)
        return extra_refuse(w->fault, w->where, map, "a map of names and values is wanted");
    for (const struct yaml_node *n = map->first; n != NULL && e == 0; n = n->next) {
        bool is_list = n->kind == YAML_LIST && act == HEADER_ADD;
        if (!is_list)
            e = take_value(w, n, act, n->key);
        for (const struct yaml_node *v = is_list ? n->first : NULL; v != NULL && e == 0;
             v = v->next)
            e = take_value(w, v, act, n->key);
    }
    return e;
}

static int take_removals(const struct editing *w, const struct yaml_node *list)
{
    int e = 0;
    if (list->kind == YAML_MAP)
        return extra_refuse(w->fault, w->where, list, "a list of names is wanted");
    if (list->kind == YAML_SCALAR)
        return put_edit(w, list, HEADER_REMOVE, list->text, SLICE(""));
    for (const struct yaml_node *n = list->first; n != NULL && e == 0; n = n->next)
        e = n->kind == YAML_SCALAR ? put_edit(w, n, HEADER_REMOVE, n->text, SLICE(""))
                                   : extra_refuse(w->fault, w->where, n, "a name is wanted");
    return e;
}

/* As many as come of it; a single name to remove stands outside of any list, and is not counted. */
static size_t count_edits(const struct yaml_node *n)
{
    size_t count = 0;
    for (const struct yaml_node *below = n != NULL ? n->first : NULL; below != NULL;
         below = below->next) {
        count += below->kind != YAML_LIST;
        for (const struct yaml_node *value = below->kind == YAML_LIST ? below->first : NULL;
             value != NULL; value = value->next)
            count++;
    }
    return count;
}

int header_edits_from_yaml(const struct yaml_node *map, const char *where, struct arena *arena,
                           struct header_edits *ret, struct fault *f)
{
    const struct editing w = { .where = where, .arena = arena, .to = ret, .fault = f };
    const struct yaml_node *remove = yaml_get(map, "remove"), *set = yaml_get(map, "set"),
                           *add = yaml_get(map, "add");
    if (map->kind != YAML_MAP)
        return extra_refuse(f, where, map, "a map with the keys set, add and remove is wanted");
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (n != remove && n != set && n != add)
            return extra_refuse(f, where, n, "there are the keys set, add and remove");
    size_t count = count_edits(remove) + count_edits(set) + count_edits(add);
    if (count > EXTRA_LIST_MAX)
        return extra_refuse(f, where, map, "no more than %d changes are possible", EXTRA_LIST_MAX);
    ret->list = arena_alloc(arena, (count + 1) * sizeof *ret->list);
    if (ret->list == NULL)
        return extra_no_memory(f);
    int e = remove != NULL && !yaml_is_null(remove) ? take_removals(&w, remove) : 0;
    if (e == 0 && set != NULL && !yaml_is_null(set))
        e = take_values(&w, set, HEADER_SET);
    if (e == 0 && add != NULL && !yaml_is_null(add))
        e = take_values(&w, add, HEADER_ADD);
    return e;
}
