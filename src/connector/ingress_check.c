#include "connector/ingress_check.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "connector/ingress_check_int.h"
#include "connector/rule_extras.h"
#include "connector/warp.h"

/* ---- the report ---- */

void check_add(struct check *c, struct ingress_finding f)
{
    struct ingress_report *r = c->report;
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].line == f.line && r->list[i].column == f.column && f.text != NULL &&
            strcmp(r->list[i].text, f.text) == 0) {
            r->list[i].hint = r->list[i].hint != NULL ? r->list[i].hint : f.hint;
            return;
        }
    if (f.is_warning)
        r->warnings++;
    else
        r->mistakes++;
    if (f.text != NULL && r->count < FINDINGS_MAX)
        r->list[r->count++] = f;
}

void check_mistake(struct check *c, unsigned line, unsigned column, const char *text,
                   const char *hint)
{
    check_add(
        c, (struct ingress_finding){ .line = line, .column = column, .text = text, .hint = hint });
}

void check_warn(struct check *c, unsigned line, unsigned column, const char *text, const char *hint)
{
    check_add(c,
              (struct ingress_finding){
                  .is_warning = true, .line = line, .column = column, .text = text, .hint = hint });
}

/* A fault that has its place, or gets that of a node. */
static void take_fault(struct check *c, const struct fault *f, const struct yaml_node *at,
                       const char *hint)
{
    unsigned line = f->line, column = f->column;
    if (line == 0 && at != NULL) {
        line = at->line;
        column = at->column;
    }
    check_mistake(c, line, column, arena_str(c->arena, slice_str(f->text)), hint);
}

/* ---- single keys ---- */

/* A map with one of a map's values alone. */
static struct yaml_node alone(const struct yaml_node *map, const struct yaml_node *value,
                              struct yaml_node *copy)
{
    struct yaml_node one = *map;
    *copy = *value;
    copy->next = NULL;
    one.first = copy;
    return one;
}

static bool is_time(const struct config_map *m, const struct yaml_node *n)
{
    struct config_key key;
    return config_find(m, n->key, false, &key) && key.type == CONFIG_TIME;
}

/* Every value of originRequest by itself. True when all are good. */
static bool check_request(struct check *c, const struct yaml_node *map)
{
    bool is_good = true;
    if (map == NULL || yaml_is_null(map))
        return true;
    if (map->kind != YAML_MAP) {
        check_mistake(c, map->line, map->column, "originRequest: a map is wanted", NULL);
        return false;
    }
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        struct origin_request r;
        struct yaml_node copy, one = alone(map, n, &copy);
        struct fault f = { 0 };
        origin_request_defaults(&r);
        if (origin_request_from_yaml(&one, c->conf->where, &r, &f) == 0)
            continue;
        is_good = false;
        take_fault(c, &f, n,
                   is_time(&CONFIG_ORIGIN_REQUEST, n) ? hint_for_time(c->arena, n) : NULL);
    }
    return is_good;
}

static void check_warp(struct check *c, const struct yaml_node *root)
{
    const struct yaml_node *map = yaml_get(root, "warp-routing");
    struct yaml_node parent = { .kind = YAML_MAP };
    for (const struct yaml_node *n = map != NULL && map->kind == YAML_MAP ? map->first : NULL;
         n != NULL; n = n->next) {
        struct warp_routing w;
        struct yaml_node value, section, one = alone(map, n, &value);
        struct fault f = { 0 };
        section = one;
        section.next = NULL;
        parent.first = &section;
        warp_routing_defaults(&w);
        if (warp_routing_from_yaml(&parent, c->conf->where, &w, &f) < 0)
            take_fault(c, &f, n,
                       is_time(&CONFIG_WARP_ROUTING, n) ? hint_for_time(c->arena, n) : NULL);
    }
}

/* ---- one rule ---- */

static struct slice text_of(const struct yaml_node *rule, const char *key)
{
    const struct yaml_node *n = yaml_get(rule, key);
    return n != NULL && n->kind == YAML_SCALAR && !yaml_is_null(n) ? n->text : SLICE("");
}

static const struct yaml_node *place(const struct yaml_node *rule, const char *key)
{
    const struct yaml_node *n = yaml_get(rule, key);
    return n != NULL ? n : rule;
}

static bool check_service(struct check *c, const struct yaml_node *rule, struct service *ret)
{
    struct slice text = text_of(rule, "service");
    struct fault f = { 0 };
    if (service_parse(text, c->arena, ret, &f) == 0)
        return true;
    take_fault(c, &f, place(rule, "service"), hint_for_service(c->arena, text));
    return false;
}

/* Keys that the reference does not have, each by itself. */
static bool check_extras(struct check *c, const struct yaml_node *rule, bool *ret_conditions)
{
    bool is_good = true;
    for (size_t i = 0; RULE_EXTRA_KEYS[i] != NULL; i++) {
        const struct yaml_node *n = yaml_get(rule, RULE_EXTRA_KEYS[i]);
        struct rule_extras *x = NULL;
        struct fault f = { 0 };
        if (n == NULL)
            continue;
        struct yaml_node copy, one = alone(rule, n, &copy);
        if (rule_extras_from_yaml(&one, c->conf->where, c->arena, &x, &f) < 0) {
            is_good = false;
            take_fault(c, &f, n, NULL);
        }
        *ret_conditions = *ret_conditions || rule_extras_have_conditions(x);
    }
    return is_good;
}

static bool check_hostname(struct check *c, struct seen_rule *s, size_t index, size_t count)
{
    struct fault f = { 0 };
    struct rule_extras some = { .method_count = s->has_conditions ? 1 : 0 };
    const struct rule r = { .hostname = s->hostname, .path = s->path, .extras = &some };
    const char *hint = hint_for_hostname(c->arena, s->hostname);
    if (rule_check_hostname(&r, index, count, &f) == 0)
        return true;
    bool is_last = slice_starts(slice_str(f.text), SLICE("The last"));
    if (is_last)
        hint = "add a rule behind it: - service: http_status:404";
    else if (slice_starts(slice_str(f.text), SLICE("Rule #")))
        hint = "put this rule last, or give it a hostname or a path";
    take_fault(c, &f, place(s->node, "hostname"), hint);
    return is_last; /* what it matches is clear */
}

static bool check_expression(struct check *c, struct slice path, const struct yaml_node *rule,
                             size_t index)
{
    struct regex *regex = NULL;
    struct fault inner = { 0 }, f = { 0 };
    int e = path.n > 0 ? regex_new(path, &regex, &inner) : 0;
    regex_free(regex);
    if (e == 0 || e == ERR_NOMEM)
        return true;
    (void)fault_set(&f, ERR_PARSE, "Rule #%zu has an invalid regex: %s", index + 1, inner.text);
    take_fault(c, &f, place(rule, "path"),
               path.p[0] == '*' ? "a path is a regular expression: .* stands for anything" : NULL);
    return false;
}

/* A value that is no text where one is wanted. */
static bool check_texts(struct check *c, const struct yaml_node *rule)
{
    static const char *const KEYS[] = { "hostname", "path", "service" };
    bool is_good = true;
    for (size_t i = 0; i < 3; i++) {
        const struct yaml_node *n = yaml_get(rule, KEYS[i]);
        if (n == NULL || n->kind == YAML_SCALAR)
            continue;
        check_mistake(c, n->line, n->column, "a text is wanted", NULL);
        is_good = false;
    }
    return is_good;
}

/* What only a whole rule shows: it stands alone in a document here, in front of one that catches
 * all. */
static void check_whole(struct check *c, const struct yaml_node *root, const struct yaml_node *rule)
{
    struct yaml_node service = { .kind = YAML_SCALAR,
                                 .text = SLICE("http_status:404"),
                                 .key = SLICE("service"),
                                 .is_plain = true };
    struct yaml_node last = { .kind = YAML_MAP, .first = &service }, first = *rule,
                     list = { .kind = YAML_LIST, .first = &first, .key = SLICE("ingress") },
                     top = { .kind = YAML_MAP, .first = &list }, global;
    const struct yaml_node *given = yaml_get(root, "originRequest");
    struct ingress *made = NULL;
    struct fault f = { 0 };
    bool is_last = text_of(rule, "hostname").n == 0 && text_of(rule, "path").n == 0;
    first.next = is_last ? NULL : &last;
    if (given != NULL) {
        global = *given;
        global.next = NULL;
        list.next = &global;
    }
    if (ingress_from_yaml(&top, c->conf->where, &made, &f) < 0)
        take_fault(c, &f, rule, NULL);
    ingress_unref(made);
}

/* ---- what has no effect ---- */

static bool is_true(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_get(map, key);
    bool truth = false;
    return n != NULL && yaml_bool(n, &truth) == 0 && truth;
}

static void warn_of_plain(struct check *c, const struct yaml_node *request, const char *key,
                          const struct service *s)
{
    const struct yaml_node *n = yaml_get(request, key);
    if (n != NULL && !yaml_is_null(n) && n->text.n > 0 &&
        (n->text.p[0] == 'f' ? !slice_eq(n->text, SLICE("false")) : true))
        check_warn(c, n->key_line, n->key_column,
                   arena_fmt(c->arena, "%s has no effect: %.*s is asked without TLS", key,
                             SLICE_FMT(s->text)),
                   "for TLS the service is written https://… or unix+tls:…");
}

static void check_effects(struct check *c, const struct yaml_node *rule, const struct service *s)
{
    static const char *const OF_TLS[] = { "noTLSVerify", "caPool", "originServerName",
                                          "matchSNItoHost", "http2Origin" };
    const struct yaml_node *request = yaml_get(rule, "originRequest"),
                           *services = yaml_get(rule, "services"),
                           *access = yaml_get(request, "access"), *host;
    bool is_http = s->kind == SERVICE_HTTP || s->kind == SERVICE_UNIX;
    for (size_t i = 0; i < sizeof OF_TLS / sizeof OF_TLS[0]; i++)
        if (is_http && !s->is_tls && services == NULL)
            warn_of_plain(c, request, OF_TLS[i], s);
    host = yaml_get(request, "httpHostHeader");
    if (host != NULL && s->kind == SERVICE_UNIX && host->text.n > 0)
        check_warn(c, host->key_line, host->key_column,
                   "httpHostHeader has no effect with a unix socket", NULL);
    if (is_true(access, "required") &&
        (yaml_get(access, "audTag") == NULL || yaml_get(access, "audTag")->first == NULL))
        check_warn(c, access->key_line, access->key_column,
                   "access is required but audTag names no audience: nobody is let in",
                   "audTag is a list with the application's audience tag");
}

static void check_file(struct check *c, const struct yaml_node *request)
{
    const struct yaml_node *n = yaml_get(request, "caPool");
    const char *path =
        n != NULL && n->kind == YAML_SCALAR && n->text.n > 0 ? arena_str(c->arena, n->text) : NULL;
    if (path != NULL && access(path, R_OK) != 0)
        check_warn(
            c, n->line, n->column,
            arena_fmt(c->arena, "the file %s cannot be read here: a run would end with that", path),
            NULL);
}

/* ---- all of them ---- */

static void check_rule(struct check *c, const struct yaml_node *root, struct seen_rule *s,
                       size_t index, size_t count)
{
    const struct yaml_node *n = s->node, *request = yaml_get(n, "originRequest");
    struct service service = { 0 };
    if (n->kind != YAML_MAP) {
        check_mistake(c, n->line, n->column, "a rule is a map with the key service",
                      "write - service: http_status:404");
        s->is_broken = true;
        return;
    }
    s->hostname = text_of(n, "hostname");
    s->path = text_of(n, "path");
    if (slice_find(s->hostname, '*') == s->hostname.n)
        s->ascii = idna_ascii(s->hostname, c->arena);
    bool is_good = check_texts(c, n), has_service = check_service(c, n, &service);
    bool has_extras = check_extras(c, n, &s->has_conditions);
    if (is_good) { /* else a missing text would be judged */
        is_good = check_hostname(c, s, index, count);
        is_good = check_expression(c, s->path, n, index) && is_good;
    }
    is_good = is_good && has_extras;
    s->is_broken = !is_good;
    if (check_request(c, request) && is_good && has_service)
        check_whole(c, root, n);
    if (has_service)
        check_effects(c, n, &service);
    check_file(c, request);
}

static void check_rules(struct check *c, const struct yaml_node *root)
{
    const struct yaml_node *list = yaml_get(root, "ingress"), *n;
    size_t count = 0, i = 0;
    for (n = list != NULL && list->kind == YAML_LIST ? list->first : NULL; n != NULL; n = n->next)
        count++;
    struct seen_rule *rules = count > 0 ? arena_alloc(c->arena, count * sizeof *rules) : NULL;
    if (rules == NULL)
        return;
    for (n = list->first; n != NULL; n = n->next, i++) {
        rules[i].node = n;
        if (n->next == NULL && c->conf->is_cut) { /* the mistake may be in this one */
            break;
        }
        check_rule(c, root, &rules[i], i, count);
    }
    check_reach(c, rules, i);
}

static int by_place(const void *a, const void *b)
{
    const struct ingress_finding *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

/* Of the file itself. */
static void take_complaints(struct check *c)
{
    const struct yaml_complaints *all = c->conf->complaints;
    for (size_t i = 0; all != NULL && i < all->count; i++) {
        const struct yaml_complaint *p = &all->list[i];
        const char *hint =
            p->first_line > 0
                ? arena_fmt(c->arena, "line %u has it already: keep one of them", p->first_line)
                : yaml_syntax_hint(slice_str(p->text));
        check_mistake(c, p->line, p->column, p->text, hint);
    }
}

void ingress_check(const struct yaml_node *root, const struct ingress_check_conf *conf,
                   struct arena *arena, struct ingress_report *ret)
{
    struct check c = { .conf = conf, .arena = arena, .report = ret };
    struct ingress *made = NULL;
    struct fault f = { 0 };
    *ret = (struct ingress_report){ 0 };
    take_complaints(&c);
    if (ret->mistakes == 0 && ingress_from_yaml(root, conf->where, &made, &f) < 0)
        take_fault(&c, &f, NULL,
                   f.line == 0 ? "write ingress: with a list of rules; the last one is for all "
                                 "that no other takes, such as - service: http_status:404"
                               : NULL);
    ingress_unref(made);
    size_t fixed = ret->count > 0 ? 1 : 0;
    (void)check_request(&c, yaml_get(root, "originRequest"));
    check_file(&c, yaml_get(root, "originRequest"));
    check_warp(&c, root);
    check_rules(&c, root);
    check_keys(&c, root);
    qsort(ret->list + fixed, ret->count - fixed, sizeof ret->list[0], by_place);
}
