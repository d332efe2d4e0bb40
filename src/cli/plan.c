#include "cli/plan.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"

static const char *const KEYS[] = { "tunnel",   "credentials-file", "token-file",
                                    "edge",     "edge-srv",         "cacert",
                                    "protocol", "ingress",          "originRequest" };
#define KEY_COUNT (sizeof KEYS / sizeof KEYS[0])

const char *plans_key(size_t index)
{
    return index < KEY_COUNT ? KEYS[index] : NULL;
}

const struct yaml_node *plans_list(const struct cli *c)
{
    return yaml_get(c->file, "tunnels");
}

/* ---- what is said for all ---- */

/* Credentials are one tunnel's: they are not what an entry begins with. */
static int begin(struct cli *c, struct tunnel_plan *p)
{
    *p = (struct tunnel_plan){ .token = "",
                               .token_file = "",
                               .credentials_file = "",
                               .credentials_contents = "",
                               .edges = c->o.edge.items,
                               .edge_count = c->o.edge.count,
                               .edge_srv = c->o.edge_srv,
                               .cacert = c->o.cacert };
    return cli_protocol(c, c->o.protocol, &p->protocol);
}

static int make_room(struct cli *c, size_t count)
{
    c->plans = arena_alloc(&c->arena, count * sizeof *c->plans);
    c->plan_count = 0;
    if (c->plans == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    memset(c->plans, 0, count * sizeof *c->plans);
    return 0;
}

int plan_single(struct cli *c, const char *ref)
{
    int r = make_room(c, 1);
    if (r == 0)
        r = begin(c, &c->plans[0]);
    if (r < 0)
        return r;
    struct tunnel_plan *p = &c->plans[0];
    c->plan_count = 1;
    p->ref = ref;
    p->credentials_file = c->o.credentials_file;
    p->credentials_contents = c->o.credentials_contents;
    /* The token wins, as with the reference; but not one that is lying about in the environment
     * over a file that is named here and now. */
    bool is_text_meant = c->o.token_file[0] == 0 || opt_source_of(&c->table, "token") >=
                                                        opt_source_of(&c->table, "token-file");
    p->token = is_text_meant ? c->o.token : "";
    p->token_file = p->token[0] == 0 ? c->o.token_file : "";
    return 0;
}

/* ---- an entry of the list ---- */

static int wrong(struct cli *c, const struct yaml_node *n, const char *text)
{
    return yaml_fault(&c->fault, ERR_INVALID, c->file_path, n, text);
}

/* A text of the entry, in the place of what is said for all. */
static int take_text(struct cli *c, const struct yaml_node *entry, const char *key,
                     const char **text)
{
    const struct yaml_node *n = yaml_get(entry, key);
    if (n == NULL || yaml_is_null(n))
        return 0;
    if (n->kind != YAML_SCALAR || slice_find(n->text, 0) < n->text.n)
        return wrong(c, n, arena_fmt(&c->arena, "%s of a tunnel is a text", key));
    *text = arena_str(&c->arena, n->text);
    return *text != NULL ? 0 : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

static int take_edges(struct cli *c, const struct yaml_node *entry, struct tunnel_plan *p)
{
    const struct yaml_node *n = yaml_get(entry, "edge");
    size_t count = 0;
    if (n == NULL || yaml_is_null(n))
        return 0;
    const struct yaml_node *first = n->kind == YAML_LIST ? n->first : n;
    const char **texts = arena_alloc(&c->arena, OPT_LIST_MAX * sizeof *texts);
    if (texts == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    for (const struct yaml_node *e = first; e != NULL; e = n->kind == YAML_LIST ? e->next : NULL) {
        if (e->kind != YAML_SCALAR || count == OPT_LIST_MAX)
            return wrong(c, e, "edge of a tunnel is host:port, or a list of up to 64 of them");
        texts[count++] = arena_str(&c->arena, e->text);
    }
    p->edges = texts;
    p->edge_count = count;
    return 0;
}

static int check_keys(struct cli *c, const struct yaml_node *entry)
{
    if (entry->kind != YAML_MAP)
        return wrong(c, entry, "each of tunnels is a map, with tunnel: or token-file: in it");
    for (const struct yaml_node *n = entry->first; n != NULL; n = n->next) {
        size_t i = 0;
        while (i < KEY_COUNT && !slice_eq(n->key, slice_str(KEYS[i])))
            i++;
        if (i == KEY_COUNT)
            return wrong(c, n,
                         "a tunnel has tunnel, credentials-file, token-file, edge, edge-srv, "
                         "cacert, protocol, ingress and originRequest");
    }
    return 0;
}

static int take_entry(struct cli *c, const struct yaml_node *entry, struct tunnel_plan *p)
{
    const char *protocol = c->o.protocol;
    int r = check_keys(c, entry);
    if (r == 0)
        r = begin(c, p);
    if (r == 0)
        r = take_text(c, entry, "tunnel", &p->ref);
    if (r == 0)
        r = take_text(c, entry, "credentials-file", &p->credentials_file);
    if (r == 0)
        r = take_text(c, entry, "token-file", &p->token_file);
    if (r == 0)
        r = take_text(c, entry, "edge-srv", &p->edge_srv);
    if (r == 0)
        r = take_text(c, entry, "cacert", &p->cacert);
    if (r == 0)
        r = take_text(c, entry, "protocol", &protocol);
    if (r == 0)
        r = take_edges(c, entry, p);
    if (r == 0 && cli_protocol(c, protocol, &p->protocol) < 0)
        r = wrong(c, yaml_get(entry, "protocol"), "protocol is auto, quic or http2");
    if (r < 0)
        return r;
    p->has_rules = yaml_get(entry, "ingress") != NULL;
    p->key = p->ref != NULL                ? p->ref
             : p->token_file[0] != 0       ? p->token_file
             : p->credentials_file[0] != 0 ? p->credentials_file
                                           : NULL;
    if (p->key == NULL)
        r = wrong(c, entry, "a tunnel needs tunnel: NAME|ID, token-file: or credentials-file:");
    return r;
}

static const struct yaml_node *entry_of(const struct yaml_node *list, const char *key)
{
    static const char *const BY[] = { "tunnel", "token-file", "credentials-file" };
    for (const struct yaml_node *e = list != NULL ? list->first : NULL; e != NULL; e = e->next)
        for (size_t i = 0; i < sizeof BY / sizeof BY[0]; i++) {
            const struct yaml_node *n = yaml_get(e, BY[i]);
            if (n == NULL || yaml_is_null(n))
                continue;
            if (n->kind == YAML_SCALAR && slice_eq(n->text, slice_str(key)))
                return e;
            break; /* an entry is known by the first of these that it has */
        }
    return NULL;
}

const struct yaml_node *plans_entry(const struct cli *c, const char *key)
{
    return entry_of(plans_list(c), key);
}

/* ---- all of them ---- */

static int too_many(struct cli *c)
{
    return fault_set(&c->fault, ERR_LIMIT, "one process runs up to %d tunnels", CONNECTORS_MAX);
}

static int take_named(struct cli *c, const struct yaml_node *list, int argc, char **argv)
{
    int r = argc > CONNECTORS_MAX ? too_many(c) : make_room(c, CONNECTORS_MAX);
    for (int i = 0; i < argc && r == 0; i++) {
        struct tunnel_plan *p = &c->plans[c->plan_count];
        const struct yaml_node *entry = entry_of(list, argv[i]);
        r = entry != NULL ? take_entry(c, entry, p) : begin(c, p);
        p->ref = argv[i];
        c->plan_count++;
    }
    return r;
}

static int take_listed(struct cli *c, const struct yaml_node *list)
{
    if (list->kind != YAML_LIST || list->first == NULL)
        return wrong(c, list, "tunnels is a list of the tunnels to run");
    if (yaml_get(c->file, "tunnel") != NULL)
        return wrong(c, yaml_get(c->file, "tunnel"), "say either tunnel: or tunnels:");
    int r = make_room(c, CONNECTORS_MAX);
    for (const struct yaml_node *e = list->first; e != NULL && r == 0; e = e->next) {
        if (c->plan_count == CONNECTORS_MAX)
            return too_many(c);
        r = take_entry(c, e, &c->plans[c->plan_count]);
        if (r == 0 && entry_of(list, c->plans[c->plan_count].key) != e)
            r = wrong(c, e, "this tunnel is in the list twice");
        c->plan_count++;
    }
    return r;
}

static bool has_credentials(const struct cli *c)
{
    return c->o.token[0] != 0 || c->o.token_file[0] != 0 || c->o.credentials_file[0] != 0 ||
           c->o.credentials_contents[0] != 0;
}

/* Two connectors of one tunnel in one process would be one to the edge. */
static int check_distinct(struct cli *c)
{
    for (size_t i = 0; i < c->plan_count; i++)
        for (size_t k = 0; k < i; k++)
            if (uuid_eq(&c->plans[i].cred.tunnel, &c->plans[k].cred.tunnel))
                return fault_set(&c->fault, ERR_INVALID, "one tunnel is named twice: %s",
                                 c->plans[i].ref != NULL ? c->plans[i].ref : c->plans[i].key);
    return 0;
}

static int find_credentials(struct cli *c)
{
    int r = 0;
    for (size_t i = 0; i < c->plan_count && r == 0; i++) {
        struct tunnel_plan *p = &c->plans[i];
        r = credential_find(c, p, &p->cred);
        if (r == 0 && p->cacert != c->o.cacert && p->cacert[0] != 0)
            r = cli_read_file(c, p->cacert, false, &p->ca_pem);
    }
    return r == 0 ? check_distinct(c) : r;
}

int plans_take(struct cli *c, int argc, char **argv, bool *ret_is_usage)
{
    const struct yaml_node *named = yaml_get(c->file, "tunnel"), *list = plans_list(c);
    bool is_listed = argc > 1 || list != NULL;
    int r;
    if (is_listed && has_credentials(c)) {
        *ret_is_usage = true;
        return fault_set(
            &c->fault, ERR_INVALID,
            "the credentials of one tunnel were given, and several are to be run: name "
            "each one's in tunnels: of the configuration file");
    }
    if (argc > 0 && is_listed)
        r = take_named(c, list, argc, argv);
    else if (is_listed)
        r = take_listed(c, list);
    else
        r = plan_single(c, argc > 0        ? argv[0]
                           : named != NULL ? arena_str(&c->arena, named->text)
                                           : NULL);
    return r == 0 ? find_credentials(c) : r;
}

/* ---- rules ---- */

static int rules_of_all(struct cli *c, struct ingress **ret)
{
    int r = cli_ingress(c, ret);
    if (r < 0 || *ret != NULL)
        return r;
    log_warn("no ingress rules: every request will be answered with 503; use --url, or "
             "ingress: in config.yml");
    /* It asks no origin: the edge is told of a request without values (§18.5). */
    return ingress_single("http_status:503", &(struct origin_request){ 0 }, ret, &c->fault);
}

static int rules_of_entry(struct cli *c, const struct yaml_node *entry, struct ingress **ret)
{
    int r = ingress_from_yaml(entry, c->file_path, ret, &c->fault);
    c->is_file_broken = r < 0;
    return r == 0 ? ingress_load_tls(*ret, &c->fault) : r;
}

int plans_rules(struct cli *c, const struct tunnel_plan *plans, size_t count, struct ingress **ret)
{
    struct ingress *all = NULL, *found[CONNECTORS_MAX] = { NULL };
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        const struct yaml_node *entry =
            plans[i].key != NULL ? entry_of(plans_list(c), plans[i].key) : NULL;
        if (entry != NULL && yaml_get(entry, "ingress") != NULL) {
            r = rules_of_entry(c, entry, &found[i]);
            continue;
        }
        if (all == NULL)
            r = rules_of_all(c, &all);
        if (r == 0)
            found[i] = ingress_ref(all);
    }
    if (r == 0 && plans_list(c) != NULL)
        cli_log_warnings(c);
    for (size_t i = 0; i < count; i++)
        if (r < 0)
            ingress_unref(found[i]);
        else
            ret[i] = found[i];
    ingress_unref(all);
    return r;
}

bool plans_have_file_rules(const struct cli *c)
{
    bool has = false, has_shared = false;
    for (size_t i = 0; i < c->plan_count; i++) {
        has = has || c->plans[i].has_rules;
        has_shared = has_shared || !c->plans[i].has_rules;
    }
    return has || (has_shared && cli_has_file_rules(c));
}

void plans_done(struct cli *c)
{
    for (size_t i = 0; i < c->plan_count; i++)
        ingress_unref(c->plans[i].ingress);
    c->plan_count = 0;
}
