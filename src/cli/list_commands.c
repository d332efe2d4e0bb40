/* adit tunnel list and info: as the reference prints them. */
#include <stdlib.h>

#include "base/err.h"
#include "cli/account.h"
#include "cli/table.h"

#define PAGES_MAX 1000

/* ---- sorting ---- */

struct entry {
    const json_t *value;
    const char *text; /* sorts by this, */
    size_t number;    /* or by this when the texts are equal, */
    size_t index;     /* or as it came */
};

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int r = strcmp(x->text, y->text);
    if (r == 0)
        r = (x->number > y->number) - (x->number < y->number);
    return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

/* The members of an array in the order that --sort-by and --invert-sort want. `keys`: pairs of the
 * flag's word and the member; the first is the default, NULL ends. A NULL member is the number of
 * connections in `conns`. The array lives in the arena; NULL after complaining. */
static struct entry *sorted(struct cli *c, const json_t *list, const char *const (*keys)[2],
                            const char *conns)
{
    size_t n = json_array_size(list), k = 0;
    struct entry *entries = arena_alloc(&c->arena, (n + 1) * sizeof *entries);
    while (keys[k][0] != NULL && c->o.sort_by[0] != 0 && strcmp(keys[k][0], c->o.sort_by) != 0)
        k++;
    /* The environment's order may be another listing's. */
    if (keys[k][0] == NULL && opt_source_of(&c->table, "sort-by") != OPT_FROM_FLAG)
        k = 0;
    if (keys[k][0] == NULL || entries == NULL) {
        (void)fault_set(&c->fault, ERR_INVALID, "--sort-by %s: there is no such order; see --help",
                        c->o.sort_by);
        (void)cli_complain(c);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, i);
        entries[i] = (struct entry){
            .value = value,
            .index = i,
            .text = keys[k][1] != NULL ? member_text(value, keys[k][1]) : "",
            .number = json_array_size(json_object_get(value, conns)),
        };
    }
    qsort(entries, n, sizeof *entries, by_key);
    for (size_t i = 0; c->o.invert_sort && i < n / 2; i++) {
        struct entry e = entries[i];
        entries[i] = entries[n - 1 - i];
        entries[n - 1 - i] = e;
    }
    return entries;
}

/* ---- list ---- */

static const char *list_query(struct cli *c)
{
    const struct {
        const char *key, *value;
    } filters[] = {
        /* In the environment and in files it is the name of a tunnel to run. */
        { "name", opt_source_of(&c->table, "name") == OPT_FROM_FLAG ? c->o.name : "" },
        { "name_prefix", c->o.name_prefix },
        { "uuid", c->o.id },
        { "exclude_prefix", c->o.exclude_prefix },
        { "existed_at", c->o.when },
    };
    const char *text = c->o.show_deleted ? "" : "&is_deleted=false";
    for (size_t i = 0; i < sizeof filters / sizeof filters[0] && text != NULL; i++)
        if (filters[i].value[0] != 0)
            text = arena_fmt(&c->arena, "%s&%s=%s", text, filters[i].key,
                             account_escape(c, filters[i].value));
    if (c->o.fetch_size > 0 && text != NULL)
        text = arena_fmt(&c->arena, "%s&per_page=%lld", text, (long long)c->o.fetch_size);
    return text != NULL ? text : "";
}

/* Every page, until one is empty. */
static int fetch_list(struct cli *c, const struct account *a, json_t **ret)
{
    const char *query = list_query(c);
    json_t *all = json_array();
    for (unsigned page = 1; page <= PAGES_MAX; page++) {
        json_t *list;
        int r = account_call(c, a, "list tunnels", "GET",
                             arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel?page=%u%s",
                                       SLICE_FMT(a->cert.account), page, query),
                             NULL, &list);
        size_t n = r == 0 ? json_array_size(list) : 0;
        if (r == 0)
            (void)json_array_extend(all, list);
        if (r == 0)
            json_decref(list);
        if (r < 0) {
            json_decref(all);
            return r;
        }
        if (n == 0 || c->o.fetch_size == 0 || n < (size_t)c->o.fetch_size)
            break;
    }
    *ret = all;
    return 0;
}

/* The labels of a tunnel's connections, each once: "canary, stable". */
static const char *labels_text(struct cli *c, const json_t *conns)
{
    const char *text = "";
    const json_t *conn;
    size_t i;
    json_array_foreach(conns, i, conn)
    {
        const char *label = member_text(conn, "label");
        bool is_new = label[0] != 0;
        for (size_t k = 0; k < i && is_new; k++)
            is_new = strcmp(member_text(json_array_get(conns, k), "label"), label) != 0;
        if (is_new && text != NULL)
            text = arena_fmt(&c->arena, "%s%s%s", text, text[0] != 0 ? ", " : "", label);
    }
    return text != NULL ? text : "";
}

static int print_list(struct cli *c, const struct entry *entries, size_t n, bool as_json)
{
    static const char *const HEADS[] = { "ID", "NAME", "CREATED", "CONNECTIONS", "REPLICAS" };
    struct table table;
    bool has_labels = false;
    if (as_json) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(list, tunnel_shape(entries[i].value));
        return print_json(list);
    }
    if (n == 0) {
        (void)printf("No tunnels were found for the given filter flags. You can use 'adit tunnel "
                     "create' to create a tunnel.\n");
        return 0;
    }
    (void)printf("You can obtain more detailed information for each tunnel with `adit tunnel info "
                 "<name/uuid>`\n");
    for (size_t i = 0; i < n; i++)
        has_labels |= labels_text(c, json_object_get(entries[i].value, "connections"))[0] != 0;
    table_init(&table, c, has_labels ? 5 : 4, HEADS); /* without labels, as the reference's */
    for (size_t i = 0; i < n; i++) {
        const json_t *t = entries[i].value, *conns = json_object_get(t, "connections");
        table_add(&table, (const char *[]){ member_text(t, "id"), member_text(t, "name"),
                                            time_seconds(c, member_text(t, "created_at")),
                                            connections_text(c, conns), labels_text(c, conns) });
    }
    table_print(&table, stdout);
    return 0;
}

int cmd_list(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    static const char *const KEYS[][2] = {
        { "name", "name" },
        { "id", "id" },
        { "createdAt", "created_at" },
        { "deletedAt", "deleted_at" },
        { "numConnections", NULL },
        { NULL, NULL },
    };
    struct account a;
    json_t *list = NULL;
    int as_json = wants_json(c);
    if (as_json < 0)
        return 1;
    int r = account_open(c, &a);
    if (r == 0)
        r = fetch_list(c, &a, &list);
    if (r < 0)
        return cli_complain(c);
    const struct entry *entries = sorted(c, list, KEYS, "connections");
    int status = entries != NULL ? print_list(c, entries, json_array_size(list), as_json == 1) : 1;
    json_decref(list);
    return status;
}

/* ---- info ---- */

/* "2026-01-02 03:04:05.678901 +0000 UTC", as the reference shows it here. */
static const char *long_time(struct cli *c, const char *rfc3339)
{
    struct slice s = slice_str(rfc3339);
    size_t t = slice_find(s, 'T');
    if (t == s.n || s.p[s.n - 1] != 'Z')
        return rfc3339;
    const char *text = arena_fmt(&c->arena, "%.*s %.*s +0000 UTC", (int)t, rfc3339,
                                 (int)(s.n - t - 2), rfc3339 + t + 1);
    return text != NULL ? text : "";
}

static const char *milliseconds(struct cli *c, const json_t *value)
{
    const char *text = arena_fmt(&c->arena, "%.2f ms", json_number_value(value));
    return text != NULL ? text : "";
}

/* Below the table, of each connector that does not serve by the newest remote configuration. */
static void print_configuration(const json_t *k)
{
    const json_t *refused = json_object_get(k, "config_refused");
    json_int_t wanted = json_integer_value(json_object_get(k, "config_version_wanted")),
               applied = json_integer_value(json_object_get(k, "config_version"));
    if (wanted == 0 || applied >= wanted)
        return;
    (void)printf("\n%s serves by configuration %lld of %lld.\n", member_text(k, "id"),
                 (long long)applied, (long long)wanted);
    if (json_is_object(refused))
        (void)printf("It refused %lld: %s\n",
                     (long long)json_integer_value(json_object_get(refused, "version")),
                     member_text(refused, "reason"));
}

/* Below the table of connectors, which is the reference's: how each connection is. */
static void print_connections(struct cli *c, const struct entry *entries, size_t n)
{
    static const char *const HEADS[] = { "CONNECTION ID", "CONNECTOR ID", "TRANSPORT", "RTT",
                                         "LABEL" };
    struct table table;
    table_init(&table, c, 5, HEADS);
    for (size_t i = 0; i < n; i++) {
        const json_t *k = entries[i].value, *conn;
        size_t at;
        json_array_foreach(json_object_get(k, "conns"), at, conn)
        {
            const json_t *rtt = json_object_get(conn, "rtt_ms");
            if (json_is_true(json_object_get(conn, "is_pending_reconnect")) && !c->o.show_recent)
                continue;
            table_add(&table, (const char *[]){ member_text(conn, "id"), member_text(k, "id"),
                                                member_text(conn, "transport"),
                                                json_is_number(rtt) ? milliseconds(c, rtt) : "-",
                                                member_text(k, "label") });
        }
    }
    (void)printf("\n");
    table_print(&table, stdout);
}

static int print_info(struct cli *c, const json_t *tunnel, const struct entry *entries, size_t n,
                      bool as_json)
{
    static const char *const HEADS[] = { "CONNECTOR ID", "CREATED",   "ARCHITECTURE",
                                         "VERSION",      "ORIGIN IP", "EDGE" };
    struct table table;
    if (as_json) {
        json_t *conns = json_array();
        for (size_t i = 0; i < n; i++)
            (void)json_array_append_new(conns, connector_shape(entries[i].value));
        return print_json(json_pack("{s:s,s:s,s:s,s:o}", "id", member_text(tunnel, "id"), "name",
                                    member_text(tunnel, "name"), "createdAt",
                                    member_text(tunnel, "created_at"), "conns", conns));
    }
    if (n == 0) {
        (void)printf("Your tunnel %s does not have any active connection.\n",
                     member_text(tunnel, "id"));
        return 0;
    }
    (void)printf("NAME:     %s\nID:       %s\nCREATED:  %s\n\n", member_text(tunnel, "name"),
                 member_text(tunnel, "id"), long_time(c, member_text(tunnel, "created_at")));
    table_init(&table, c, 6, HEADS);
    for (size_t i = 0; i < n; i++) {
        const json_t *k = entries[i].value, *conns = json_object_get(k, "conns");
        table_add(&table,
                  (const char *[]){ member_text(k, "id"), time_seconds(c, member_text(k, "run_at")),
                                    member_text(k, "arch"), member_text(k, "version"),
                                    member_text(json_array_get(conns, 0), "origin_ip"),
                                    connections_text(c, conns) });
    }
    table_print(&table, stdout);
    if (member_text(json_array_get(json_object_get(entries[0].value, "conns"), 0), "transport")[0])
        print_connections(c, entries, n);
    for (size_t i = 0; i < n; i++)
        print_configuration(entries[i].value);
    return 0;
}

/* Fetches the tunnel and its connectors. */
static int fetch_info(struct cli *c, const struct account *a, const char *ref, json_t **ret_tunnel,
                      json_t **ret_conns)
{
    char id[UUID_TEXT_BYTES];
    json_t *list = NULL;
    int r = account_id(c, a, ref, id);
    if (r == ERR_NOTFOUND)
        return fault_set(&c->fault, r,
                         "error parsing tunnel ID: %s is neither the ID nor the name of any of "
                         "your tunnels",
                         ref);
    if (r < 0)
        return r;
    r = account_call(c, a, "list connection details", "GET",
                     arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel/%s/connections",
                               SLICE_FMT(a->cert.account), id),
                     NULL, ret_conns);
    if (r < 0)
        return r;
    r = account_call(
        c, a, "list tunnels", "GET",
        arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel?uuid=%s", SLICE_FMT(a->cert.account), id),
        NULL, &list);
    if (r < 0) {
        json_decref(*ret_conns);
        return r;
    }
    *ret_tunnel = json_incref(json_array_get(list, 0));
    json_decref(list);
    return 0;
}

int cmd_info(struct cli *c, int argc, char **argv)
{
    static const char *const KEYS[][2] = { { "createdAt", "run_at" },
                                           { "id", "id" },
                                           { "numConnections", NULL },
                                           { "version", "version" },
                                           { NULL, NULL } };
    struct account a;
    json_t *tunnel = NULL, *conns = NULL;
    if (argc != 1)
        return cli_usage(c, "tunnel info", "exactly 1 argument, the ID or name of the tunnel");
    int as_json = wants_json(c);
    if (as_json < 0)
        return 1;
    if (account_open(c, &a) < 0 || fetch_info(c, &a, argv[0], &tunnel, &conns) < 0)
        return cli_complain(c);
    const struct entry *entries = sorted(c, conns, KEYS, "conns");
    int status =
        entries != NULL ? print_info(c, tunnel, entries, json_array_size(conns), as_json == 1) : 1;
    json_decref(conns);
    json_decref(tunnel);
    return status;
}
