#include "cli/table.h"

#include <stdlib.h>

#include "base/err.h"

/* ---- columns ---- */

void table_init(struct table *t, struct cli *c, size_t columns, const char *const *heads)
{
    *t = (struct table){ .cli = c, .columns = columns };
    table_add(t, heads);
}

void table_add(struct table *t, const char *const *cells)
{
    if (t->count == t->room) {
        size_t room = t->room > 0 ? 2 * t->room : 16;
        const char **more = arena_alloc(&t->cli->arena, room * t->columns * sizeof *more);
        if (more == NULL)
            return;
        if (t->count > 0)
            memcpy(more, t->cells, t->count * t->columns * sizeof *more);
        t->cells = more;
        t->room = room;
    }
    memcpy(t->cells + t->count * t->columns, cells, t->columns * sizeof *cells);
    t->count++;
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text != 0; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void table_print(const struct table *t, FILE *to)
{
    int widths[TABLE_COLUMNS_MAX] = { 0 };
    for (size_t i = 0; i < t->count * t->columns; i++) {
        int *widest = &widths[i % t->columns], n = width_of(t->cells[i]);
        if (n > *widest)
            *widest = n;
    }
    for (size_t i = 0; i < t->count * t->columns; i++) {
        int pad = widths[i % t->columns] + 1 - width_of(t->cells[i]);
        (void)fprintf(to, "%s%*s%s", t->cells[i], pad, "",
                      i % t->columns + 1 == t->columns ? "\n" : "");
    }
}

/* ---- values ---- */

const char *member_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

const char *time_seconds(struct cli *c, const char *rfc3339)
{
    struct slice s = slice_str(rfc3339);
    size_t point = slice_find(s, '.');
    const char *text = point < s.n ? arena_fmt(&c->arena, "%.*sZ", (int)point, rfc3339) : rfc3339;
    return text != NULL ? text : "";
}

struct place {
    const char *name;
    size_t count;
};

static int by_place(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

#define PLACES_MAX 32

const char *connections_text(struct cli *c, const json_t *conns)
{
    struct place places[PLACES_MAX] = { 0 };
    size_t count = 0, i;
    const json_t *conn;
    json_array_foreach(conns, i, conn)
    {
        size_t k = 0;
        if (json_is_true(json_object_get(conn, "is_pending_reconnect")) && !c->o.show_recent)
            continue;
        const char *name = member_text(conn, "colo_name");
        while (k < count && strcmp(places[k].name, name) != 0)
            k++;
        if (k == PLACES_MAX)
            continue;
        if (k == count)
            places[count++] = (struct place){ .name = name };
        places[k].count++;
    }
    qsort(places, count, sizeof places[0], by_place);
    const char *text = "";
    for (i = 0; i < count && text != NULL; i++)
        text = arena_fmt(&c->arena, "%s%s%zux%s", text, i > 0 ? ", " : "", places[i].count,
                         places[i].name);
    return text != NULL ? text : "";
}

/* ---- JSON ---- */

int wants_json(struct cli *c)
{
    struct slice output = slice_str(c->o.output);
    if (output.n == 0 || slice_eq(output, SLICE("default")))
        return 0;
    if (slice_eq(output, SLICE("json")))
        return 1;
    (void)fault_set(&c->fault, ERR_INVALID, "Unknown output format '%s'; json is offered",
                    c->o.output);
    (void)cli_complain(c);
    return -1;
}

int print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));
    (void)printf("%s\n", text != NULL ? text : "");
    explicit_bzero(text, text != NULL ? strlen(text) : 0);
    free(text);
    json_decref(value);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* The reference prints its zero time for what has not happened. */
static json_t *time_shape(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_string(value) ? json_incref(value) : json_string("0001-01-01T00:00:00Z");
}

static void copy(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    (void)json_object_set_new(to, key, value != NULL ? json_incref(value) : json_null());
}

/* What the reference's command has no word of: only where there is something to say. */
static void copy_more(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value != NULL && !json_is_null(value))
        (void)json_object_set(to, key, value);
}

static json_t *conns_shape(const json_t *conns)
{
    static const char *const KEYS[] = { "colo_name", "id", "is_pending_reconnect", "origin_ip",
                                        "opened_at" };
    /* Of an edge of ours. */
    static const char *const MORE[] = { "transport", "rtt_ms", "label" };
    json_t *list = json_array();
    const json_t *conn;
    size_t i;
    json_array_foreach(conns, i, conn)
    {
        json_t *o = json_object();
        for (size_t k = 0; k < sizeof KEYS / sizeof KEYS[0]; k++)
            copy(o, conn, KEYS[k]);
        for (size_t k = 0; k < sizeof MORE / sizeof MORE[0]; k++)
            copy_more(o, conn, MORE[k]);
        (void)json_array_append_new(list, o);
    }
    return list;
}

json_t *tunnel_shape(const json_t *tunnel)
{
    json_t *o = json_object();
    copy(o, tunnel, "id");
    copy(o, tunnel, "name");
    (void)json_object_set_new(o, "created_at", time_shape(tunnel, "created_at"));
    (void)json_object_set_new(o, "deleted_at", time_shape(tunnel, "deleted_at"));
    (void)json_object_set_new(o, "connections",
                              conns_shape(json_object_get(tunnel, "connections")));
    return o;
}

json_t *connector_shape(const json_t *connector)
{
    json_t *o = json_object();
    copy(o, connector, "id");
    copy(o, connector, "features");
    copy(o, connector, "version");
    copy(o, connector, "arch");
    (void)json_object_set_new(o, "run_at", time_shape(connector, "run_at"));
    (void)json_object_set_new(o, "conns", conns_shape(json_object_get(connector, "conns")));
    copy_more(o, connector, "label");
    /* Of an edge of ours, where the tunnel has a remote configuration: the reference's command has
     * no word of it. */
    if (json_integer_value(json_object_get(connector, "config_version_wanted")) > 0) {
        copy(o, connector, "config_version");
        copy(o, connector, "config_version_wanted");
        copy(o, connector, "config_refused");
    }
    return o;
}
