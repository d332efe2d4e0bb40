#include <stdlib.h>

#include "base/err.h"
#include "connector/access_policy.h"
#include "connector/client_identity.h"
#include "connector/ingress_int.h"
#include "connector/origin.h"
#include "connector/rule_extras.h"

#define INGRESS_BYTES_MAX (16 * 1024 * 1024)
#define RULES_MAX         10000

struct ingress *ingress_ref(struct ingress *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void ingress_unref(struct ingress *i)
{
    if (i == NULL || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t k = 0; k < i->count; k++) {
        regex_free(i->rules[k].regex);
        tls_creds_unref(i->rules[k].tls);
        if (i->rules[k].access != NULL)
            tls_creds_unref(i->rules[k].access->tls);
        tls_creds_unref(i->rules[k].tls_h2);
        origin_kept_unref(i->rules[k].kept);
        client_identity_unref(i->rules[k].identity);
    }
    arena_done(&i->arena);
    free(i);
}

static struct ingress *ingress_new(size_t count)
{
    struct ingress *i = calloc(1, sizeof *i);
    if (i == NULL)
        return NULL;
    atomic_init(&i->refs, 1);
    arena_init(&i->arena, INGRESS_BYTES_MAX);
    i->rules = arena_alloc(&i->arena, count * sizeof *i->rules);
    if (i->rules == NULL) {
        ingress_unref(i);
        return NULL;
    }
    return i;
}

static int keep_node(struct arena *a, const struct yaml_node **n, const struct yaml_node *kept)
{
    if (*n == NULL || *n == kept)
        return 0;
    *n = yaml_copy(*n, a);
    return *n != NULL ? 0 : ERR_NOMEM;
}

/* What is kept must outlive the document that it came from. What is the same as in `kept` is kept
 * already. */
static int keep_request(struct arena *a, struct origin_request *r,
                        const struct origin_request *kept)
{
    struct slice *const texts[] = { &r->host_header, &r->server_name, &r->ca_pool, &r->proxy_type,
                                    &r->proxy_address };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->n == 0)
            continue;
        *texts[i] = arena_copy(a, *texts[i]);
        if (texts[i]->p == NULL)
            return ERR_NOMEM;
    }
    int e = keep_node(a, &r->access, kept != NULL ? kept->access : NULL);
    return e == 0 ? keep_node(a, &r->ip_rules, kept != NULL ? kept->ip_rules : NULL) : e;
}

static int too_large(struct fault *f)
{
    return fault_set(f, ERR_NOMEM, "the rules take too much memory");
}

/* ---- validation, in the reference's order: service, access, hostname, path ---- */

static bool host_has_port(struct slice h)
{
    size_t first = slice_find(h, ':');
    return first < h.n && slice_find(slice_sub(h, first + 1, SIZE_MAX), ':') == h.n - first - 1;
}

static bool is_catch_all(const struct rule *r)
{
    return (r->hostname.n == 0 || slice_eq(r->hostname, SLICE("*"))) && r->path.n == 0 &&
           !rule_extras_have_conditions(r->extras);
}

int rule_check_hostname(const struct rule *r, size_t index, size_t count, struct fault *f)
{
    struct slice h = r->hostname;
    bool is_last = index + 1 == count;
    if (host_has_port(h))
        return fault_set(f, ERR_PARSE, "Hostname cannot contain a port");
    if (slice_find(slice_sub(h, 1, SIZE_MAX), '*') + 1 < h.n)
        return fault_set(
            f, ERR_PARSE,
            "Hostname patterns can have at most one wildcard character (\"*\") and it can only be "
            "used for subdomains, e.g. \"*.example.com\"");
    if (is_last && !is_catch_all(r))
        return fault_set(
            f, ERR_PARSE,
            "The last ingress rule must match all URLs (i.e. it should not have a hostname or "
            "path filter)");
    if (!is_last && is_catch_all(r))
        return fault_set(
            f, ERR_PARSE,
            "Rule #%zu is matching the hostname '%.*s', but this will match every hostname, "
            "meaning the rules which follow it will never be triggered.",
            index + 1, SLICE_FMT(h));
    return 0;
}

static int compile_path(struct rule *r, size_t index, struct fault *f)
{
    struct fault inner = { 0 };
    int e = r->path.n > 0 ? regex_new(r->path, &r->regex, &inner) : 0;
    if (e == 0)
        return 0;
    if (e == ERR_NOMEM)
        return too_large(f);
    return fault_set(f, ERR_PARSE, "Rule #%zu has an invalid regex: %s", index + 1, inner.text);
}

/* Before anything of the request is pointed to. */
static int keep_rule_request(struct ingress *i, struct rule *r, const struct origin_request *kept,
                             struct fault *f)
{
    return keep_request(&i->arena, &r->request, kept) == 0 ? 0 : too_large(f);
}

/* `kept` is the request that the rule's began with, or NULL; *ret_key is what is looked at. */
static int check_rule(struct ingress *i, struct rule *r, size_t index, size_t count,
                      const struct origin_request *kept, const char **ret_key, struct fault *f)
{
    int e = 0;
    *ret_key = "originRequest";
    /* bastionMode makes a bastion of whatever URL there is. */
    if (r->request.bastion && r->service.kind != SERVICE_STATUS &&
        r->service.kind != SERVICE_HELLO && r->service.kind != SERVICE_UNIX &&
        r->service.kind != SERVICE_SOCKS)
        r->service = (struct service){ .kind = SERVICE_BASTION, .text = SLICE("bastion") };
    if (r->service.kind == SERVICE_SOCKS)
        e = ip_rules_check(r->request.ip_rules, f);
    if (e == 0)
        e = rule_extras_settle(r, f);
    if (e == 0)
        e = keep_rule_request(i, r, kept, f);
    if (e == 0)
        e = access_policy_make(&r->request, &i->arena, &r->access, f);
    if (e < 0)
        return e;
    *ret_key = "hostname";
    e = rule_check_hostname(r, index, count, f);
    if (e < 0)
        return e;
    *ret_key = "path";
    e = compile_path(r, index, f);
    if (e < 0)
        return e;
    if (r->service.kind == SERVICE_HTTP || r->service.kind == SERVICE_UNIX) {
        r->kept = origin_kept_new();
        if (r->kept == NULL)
            return too_large(f);
    }
    if (slice_find(r->hostname, '*') == r->hostname.n)
        r->ascii = idna_ascii(r->hostname, &i->arena);
    return 0;
}

/* ---- from a document ---- */

static int take_text(const struct yaml_node *map, const char *key, const char *where,
                     struct arena *a, struct slice *ret, struct fault *f)
{
    const struct yaml_node *n = yaml_get(map, key);
    *ret = (struct slice){ 0 };
    if (n == NULL || yaml_is_null(n))
        return 0;
    if (n->kind != YAML_SCALAR)
        return yaml_fault(f, ERR_PARSE, where, n, "a text is wanted");
    *ret = arena_copy(a, n->text);
    return ret->p != NULL ? 0 : too_large(f);
}

/* The keys that made the extras, for whoever wants to see them. */
static int keep_written(struct ingress *i, const struct yaml_node *rule, struct rule *r,
                        struct fault *f)
{
    struct yaml_node *map = NULL, **end = NULL;
    for (size_t k = 0; r->extras != NULL && RULE_EXTRA_KEYS[k] != NULL; k++) {
        const struct yaml_node *n = yaml_get(rule, RULE_EXTRA_KEYS[k]);
        if (n == NULL || yaml_is_null(n))
            continue;
        if (map == NULL) {
            map = arena_alloc(&i->arena, sizeof *map);
            if (map == NULL)
                return too_large(f);
            map->kind = YAML_MAP;
            end = &map->first;
        }
        *end = yaml_copy(n, &i->arena);
        if (*end == NULL)
            return too_large(f);
        end = &(*end)->next;
    }
    r->written = map;
    return 0;
}

static int take_rule(struct ingress *i, const struct yaml_node *n,
                     const struct origin_request *global, size_t count, const char *where,
                     struct fault *f)
{
    struct rule *r = &i->rules[i->count];
    struct slice service;
    const char *key = "service";
    if (n->kind != YAML_MAP)
        return yaml_fault(f, ERR_PARSE, where, n, "a rule is a map with the key service");
    r->request = *global;
    int e = take_text(n, "hostname", where, &i->arena, &r->hostname, f);
    if (e == 0)
        e = take_text(n, "path", where, &i->arena, &r->path, f);
    if (e == 0)
        e = take_text(n, "service", where, &i->arena, &service, f);
    if (e == 0)
        e = origin_request_from_yaml(yaml_get(n, "originRequest"), where, &r->request, f);
    if (e < 0)
        return e;
    e = service_parse(service, &i->arena, &r->service, f);
    if (e == 0)
        e = rule_extras_from_yaml(n, where, &i->arena, &r->extras, f);
    if (e == 0)
        e = keep_written(i, n, r, f);
    i->count++;
    if (e == 0)
        e = check_rule(i, r, i->count - 1, count, global, &key, f);
    if (e < 0 && f != NULL && f->line == 0) {
        const struct yaml_node *at = yaml_get(n, key);
        at = at != NULL ? at : n;
        (void)fault_at(f, where, at->line, at->column);
    }
    return e;
}

int ingress_from_yaml(const struct yaml_node *root, const char *where, struct ingress **ret,
                      struct fault *f)
{
    const struct yaml_node *list = yaml_get(root, "ingress");
    struct origin_request global;
    size_t count = 0;
    origin_request_defaults(&global);
    int e = origin_request_from_yaml(yaml_get(root, "originRequest"), where, &global, f);
    global.access_is_global = true;
    if (e < 0)
        return e;
    if (list != NULL && list->kind != YAML_LIST && !yaml_is_null(list))
        return yaml_fault(f, ERR_PARSE, where, list, "ingress must be a list of rules");
    for (const struct yaml_node *n = list != NULL ? list->first : NULL; n != NULL; n = n->next)
        count++;
    if (count == 0 || count > RULES_MAX)
        return fault_set(f, ERR_PARSE,
                         count == 0 ? "The config file doesn't contain any ingress rules"
                                    : "too many ingress rules");
    struct ingress *i = ingress_new(count);
    if (i == NULL)
        return fault_set(f, ERR_NOMEM, "out of memory");
    i->global = global;
    if (keep_request(&i->arena, &i->global, NULL) < 0)
        e = too_large(f);
    for (const struct yaml_node *n = list->first; n != NULL && e == 0; n = n->next)
        e = take_rule(i, n, &i->global, count, where, f);
    if (e < 0) {
        ingress_unref(i);
        return e;
    }
    *ret = i;
    return 0;
}

int ingress_single(const char *service, const struct origin_request *request, struct ingress **ret,
                   struct fault *f)
{
    struct ingress *i = ingress_new(1);
    if (i == NULL)
        return fault_set(f, ERR_NOMEM, "out of memory");
    struct rule *r = &i->rules[0];
    r->request = *request;
    struct slice text = slice_str(service);
    const char *key;
    /* Here, unlike in a file, a final slash is forgiven: people paste URLs. */
    if (slice_find(text, ':') < text.n && slice_ends(text, SLICE("/")) &&
        !slice_ends(text, SLICE("://")) && !slice_starts(text, SLICE("unix")))
        text.n--;
    int e = service_parse(text, &i->arena, &r->service, f);
    i->count = 1;
    if (e == 0)
        e = check_rule(i, r, 0, 1, NULL, &key, f);
    i->global = r->request; /* as it was kept */
    if (e < 0) {
        ingress_unref(i);
        return e;
    }
    *ret = i;
    return 0;
}

int ingress_without_rules(const struct yaml_node *root, const char *where, struct ingress **ret,
                          struct fault *f)
{
    struct ingress *i = NULL;
    struct origin_request global;
    origin_request_defaults(&global);
    int e = origin_request_from_yaml(yaml_get(root, "originRequest"), where, &global, f);
    global.access_is_global = true;
    /* It asks no origin, and has a request without values (docs/protocol.md §7). */
    if (e == 0)
        e = ingress_single("http_status:503", &(struct origin_request){ 0 }, &i, f);
    if (e == 0 && root != NULL)
        i->global = global;
    if (e == 0 && keep_request(&i->arena, &i->global, NULL) < 0)
        e = too_large(f);
    if (e < 0)
        ingress_unref(i);
    else
        *ret = i;
    return e;
}

/* ---- using them ---- */

size_t ingress_count(const struct ingress *i)
{
    return i->count;
}

const struct rule *ingress_rule(const struct ingress *i, size_t index)
{
    return &i->rules[index];
}

const struct origin_request *ingress_global(const struct ingress *i)
{
    return &i->global;
}

/* Without the port, when it parses as host:port. */
static struct slice without_port(struct slice host)
{
    size_t colon = slice_find_last(host, ':');
    if (colon == host.n)
        return host;
    if (host.p[0] == '[')
        return colon > 0 && host.p[colon - 1] == ']' ? slice_sub(host, 1, colon - 2) : host;
    return slice_find(host, ':') == colon ? slice_sub(host, 0, colon) : host;
}

bool ingress_is_internal(struct slice host)
{
    return slice_eq(without_port(host), SLICE("management.argotunnel.com"));
}

bool rule_takes_host(const struct rule *r, struct slice host)
{
    struct slice h = r->hostname;
    if (h.n == 0 || slice_eq(h, SLICE("*")))
        return true;
    if (slice_starts(h, SLICE("*.")))
        return slice_ends(host, slice_sub(h, 1, SIZE_MAX));
    return slice_eq(h, host) || (r->ascii != NULL && slice_eq(slice_str(r->ascii), host));
}

static size_t match(const struct ingress *i, struct slice host, struct slice path,
                    const struct request *q)
{
    host = without_port(host);
    for (size_t k = 0; k < i->count; k++) {
        const struct rule *r = &i->rules[k];
        if (rule_takes_host(r, host) && (r->regex == NULL || regex_matches(r->regex, path)) &&
            (q == NULL || rule_extras_match(r->extras, q)))
            return k;
    }
    return i->count - 1;
}

size_t ingress_match(const struct ingress *i, struct slice host, struct slice path)
{
    return match(i, host, path, NULL);
}

size_t ingress_match_request(const struct ingress *i, const struct request *q, struct slice path)
{
    return match(i, q->host, path, q);
}
