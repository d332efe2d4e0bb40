#include "connector/rule_extras.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "codec/http1_names.h"
#include "conf/duration.h"
#include "connector/ingress.h"
#include "connector/upstreams.h"

/* ---- what all parsers of extras share ---- */

int extra_refuse(struct fault *f, const char *where, const struct yaml_node *n, const char *format,
                 ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fault_set(f, ERR_PARSE, "%.*s%s%s", SLICE_FMT(n->key), n->key.n > 0 ? ": " : "", text);
    (void)fault_at(f, where, n->line, n->column);
    return ERR_PARSE;
}

int extra_no_memory(struct fault *f)
{
    return fault_set(f, ERR_NOMEM, "the rules take too much memory");
}

int extra_take_text(const struct yaml_node *n, const char *where, struct arena *arena,
                    struct slice *ret, struct fault *f)
{
    if (n->kind != YAML_SCALAR || yaml_is_null(n))
        return extra_refuse(f, where, n, "a text is wanted");
    *ret = arena_copy(arena, n->text);
    return ret->p != NULL ? 0 : extra_no_memory(f);
}

static void free_regex(void *regex)
{
    regex_free(regex);
}

int extra_take_regex(const struct yaml_node *n, struct slice pattern, const char *where,
                     struct arena *arena, struct regex **ret, struct fault *f)
{
    struct fault inner = { 0 };
    struct regex *made = NULL;
    int e = regex_new(pattern, &made, &inner);
    if (e == ERR_NOMEM)
        return extra_no_memory(f);
    if (e < 0)
        return extra_refuse(f, where, n, "%s", inner.text);
    if (arena_defer(arena, free_regex, made) < 0) {
        regex_free(made);
        return extra_no_memory(f);
    }
    *ret = made;
    return 0;
}

int extra_count(const struct yaml_node *n, const char *where, size_t *ret, struct fault *f)
{
    *ret = 0;
    for (const struct yaml_node *below = n->first; below != NULL; below = below->next)
        ++*ret;
    return *ret <= EXTRA_LIST_MAX
               ? 0
               : extra_refuse(f, where, n, "no more than %d are possible", EXTRA_LIST_MAX);
}

/* ---- one parser for each key ---- */

struct reading {
    const char *where;
    struct arena *arena;
    struct fault *fault;
};

static int take_method(const struct reading *r, const struct yaml_node *n, const char *key,
                       struct rule_extras *x)
{
    struct slice *to = &x->methods[x->method_count++];
    int e = extra_take_text(n, r->where, r->arena, to, r->fault);
    if (e < 0)
        return e;
    bool has_lower = false;
    for (size_t i = 0; i < to->n; i++)
        has_lower = has_lower || (to->p[i] >= 'a' && to->p[i] <= 'z');
    if (!http1_is_token(*to))
        return extra_refuse(r->fault, r->where, n, "%s: \"%.*s\" is no HTTP method", key,
                            SLICE_FMT(*to));
    /* Methods are told apart by case (RFC 9110 §9.1): "get" would never match. */
    return has_lower ? extra_refuse(r->fault, r->where, n,
                                    "%s: methods are written in capitals, such as GET", key)
                     : 0;
}

static int take_methods(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    size_t count = 1;
    int e = n->kind == YAML_LIST ? extra_count(n, r->where, &count, r->fault) : 0;
    if (e < 0)
        return e;
    if (count == 0 || n->kind == YAML_MAP)
        return extra_refuse(r->fault, r->where, n, "a method or a list of methods is wanted");
    x->methods = arena_alloc(r->arena, count * sizeof *x->methods);
    if (x->methods == NULL)
        return extra_no_memory(r->fault);
    if (n->kind == YAML_SCALAR)
        return take_method(r, n, "one of them", x);
    for (const struct yaml_node *m = n->first; m != NULL && e == 0; m = m->next)
        e = take_method(r, m, "method", x);
    return e;
}

static int take_headers(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    return header_conditions_from_yaml(n, r->where, r->arena, x, r->fault);
}

/* Visible ASCII that can stand in the path of a request's target. */
static bool is_path_text(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '?' || s.p[i] == '#')
            return false;
    return s.n <= EXTRA_VALUE_MAX;
}

static int take_strip(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    int e = extra_take_text(n, r->where, r->arena, &x->strip_prefix, r->fault);
    if (e < 0)
        return e;
    struct slice p = x->strip_prefix;
    if (p.n < 2 || p.p[0] != '/' || p.p[p.n - 1] == '/' || !is_path_text(p) ||
        slice_find(p, '%') < p.n)
        return extra_refuse(r->fault, r->where, n,
                            "a path such as /api is wanted: with a slash in front, none at the "
                            "end, no query and no escapes");
    return 0;
}

/* Refers only to groups that are there. */
static int check_replacement(const struct reading *r, const struct yaml_node *n,
                             const struct rule_extras *x)
{
    struct slice to = x->rewrite_to;
    if (!is_path_text(to))
        return extra_refuse(r->fault, r->where, n,
                            "what can stand in a path is wanted: no space, query or fragment, and "
                            "escapes (%%xx) for what is not ASCII");
    for (size_t i = 0; i < to.n; i++) {
        if (to.p[i] != '$')
            continue;
        uint8_t next = i + 1 < to.n ? to.p[i + 1] : 0;
        if (next != '$' && (next < '0' || next > '9'))
            return extra_refuse(r->fault, r->where, n,
                                "$0 to $9 are what was matched, $$ is a dollar; nothing else may "
                                "follow a dollar");
        if (next != '$' && (size_t)(next - '0') > regex_groups(x->rewrite))
            return extra_refuse(r->fault, r->where, n, "the expression has no group $%c", next);
        i++;
    }
    return 0;
}

static int take_rewrite(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    const struct yaml_node *match = yaml_get(n, "match"), *to = yaml_get(n, "to");
    size_t count;
    int e = extra_count(n, r->where, &count, r->fault);
    if (e < 0)
        return e;
    if (match == NULL || to == NULL || count != 2)
        return extra_refuse(r->fault, r->where, n,
                            "a map with the keys match and to is wanted, and no others");
    struct slice pattern;
    e = extra_take_text(match, r->where, r->arena, &pattern, r->fault);
    if (e == 0)
        e = extra_take_regex(match, pattern, r->where, r->arena, &x->rewrite, r->fault);
    if (e == 0)
        e = extra_take_text(to, r->where, r->arena, &x->rewrite_to, r->fault);
    return e == 0 ? check_replacement(r, to, x) : e;
}

static int take_request_edits(const struct reading *r, const struct yaml_node *n,
                              struct rule_extras *x)
{
    return header_edits_from_yaml(n, r->where, r->arena, &x->request, r->fault);
}

static int take_response_edits(const struct reading *r, const struct yaml_node *n,
                               struct rule_extras *x)
{
    return header_edits_from_yaml(n, r->where, r->arena, &x->response, r->fault);
}

static int take_proxy_protocol(const struct reading *r, const struct yaml_node *n,
                               struct rule_extras *x)
{
    if (n->kind == YAML_SCALAR && slice_eq(n->text, SLICE("v1")))
        x->proxy_protocol = 1;
    else if (n->kind == YAML_SCALAR && slice_eq(n->text, SLICE("v2")))
        x->proxy_protocol = 2;
    else
        return extra_refuse(r->fault, r->where, n, "v1 or v2 is wanted");
    return 0;
}

static int take_certificate(const struct reading *r, const struct yaml_node *n,
                            struct rule_extras *x)
{
    const struct yaml_node *certificate = yaml_get(n, "certificate"), *key = yaml_get(n, "key");
    size_t count;
    int e = extra_count(n, r->where, &count, r->fault);
    if (e < 0)
        return e;
    if (certificate == NULL || key == NULL || count != 2)
        return extra_refuse(r->fault, r->where, n,
                            "a map with the keys certificate and key is wanted, and no others: "
                            "paths of PEM files");
    e = extra_take_text(certificate, r->where, r->arena, &x->certificate, r->fault);
    if (e == 0)
        e = extra_take_text(key, r->where, r->arena, &x->key, r->fault);
    if (e == 0 && (x->certificate.n == 0 || x->key.n == 0))
        return extra_refuse(r->fault, r->where, n, "a path is empty");
    return e;
}

/* ---- several services ---- */

static struct upstreams *upstreams_of(const struct reading *r, struct rule_extras *x)
{
    if (x->upstreams == NULL)
        x->upstreams = arena_alloc(r->arena, sizeof *x->upstreams);
    if (x->upstreams != NULL && x->upstreams->count == 0) {
        x->upstreams->count = 1; /* the rule's service comes when it is known */
        x->upstreams->silence = UPSTREAM_SILENT_PRESET;
    }
    return x->upstreams;
}

static int take_service(const struct reading *r, const struct yaml_node *n, struct upstreams *u)
{
    struct slice text;
    struct fault inner = { 0 };
    int e = extra_take_text(n, r->where, r->arena, &text, r->fault);
    if (e < 0)
        return e;
    e = service_parse(text, r->arena, &u->list[u->count].service, &inner);
    if (e == ERR_NOMEM)
        return extra_no_memory(r->fault);
    if (e < 0)
        return extra_refuse(r->fault, r->where, n, "services: %s", inner.text);
    u->count++;
    return 0;
}

static int take_services(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    struct upstreams *u = upstreams_of(r, x);
    size_t count;
    if (u == NULL)
        return extra_no_memory(r->fault);
    if (n->kind != YAML_LIST)
        return extra_refuse(r->fault, r->where, n,
                            "a list of services is wanted, which serve besides the rule's service");
    int e = extra_count(n, r->where, &count, r->fault);
    if (e == 0 && count >= UPSTREAMS_MAX)
        return extra_refuse(r->fault, r->where, n, "no more than %d services are possible",
                            UPSTREAMS_MAX);
    for (const struct yaml_node *s = n->first; s != NULL && e == 0; s = s->next)
        e = take_service(r, s, u);
    return e;
}

static int take_balance(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    static const char *const NAMES[] = { [BALANCE_FAILOVER] = "failover",
                                         [BALANCE_ROUND_ROBIN] = "round-robin",
                                         [BALANCE_LEAST_REQUESTS] = "least-requests" };
    struct upstreams *u = upstreams_of(r, x);
    if (u == NULL)
        return extra_no_memory(r->fault);
    for (unsigned i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (n->kind == YAML_SCALAR && slice_eq(n->text, slice_str(NAMES[i]))) {
            u->balance = (enum balance)i;
            return 0;
        }
    return extra_refuse(r->fault, r->where, n, "failover, round-robin or least-requests is wanted");
}

static int take_silence(const struct reading *r, const struct yaml_node *n, struct rule_extras *x)
{
    struct upstreams *u = upstreams_of(r, x);
    int64_t silence;
    if (u == NULL)
        return extra_no_memory(r->fault);
    if (n->kind != YAML_SCALAR || duration_parse(n->text, &silence) < 0 || silence < 0)
        return extra_refuse(r->fault, r->where, n,
                            "a duration is wanted, such as 30s; 0s is never");
    u->silence = (nsec)silence;
    return 0;
}

/* ---- all of them ---- */

/* clang-format off */
#define KEYS(X)                                                                                    \
    X("method", take_methods)                                                                      \
    X("headers", take_headers)                                                                     \
    X("pathPrefixStrip", take_strip)                                                               \
    X("pathRewrite", take_rewrite)                                                                 \
    X("requestHeaders", take_request_edits)                                                        \
    X("responseHeaders", take_response_edits)                                                      \
    X("proxyProtocol", take_proxy_protocol)                                                        \
    X("clientCertificate", take_certificate)                                                       \
    X("services", take_services)                                                                   \
    X("balance", take_balance)                                                                     \
    X("silentAfter", take_silence)
/* clang-format on */

const char *const RULE_EXTRA_KEYS[] = {
#define X(name, take) name,
    KEYS(X)
#undef X
        NULL,
};

static int (*const TAKE[])(const struct reading *r, const struct yaml_node *n,
                           struct rule_extras *x) = {
#define X(name, take) take,
    KEYS(X)
#undef X
};

int rule_extras_from_yaml(const struct yaml_node *rule, const char *where, struct arena *arena,
                          struct rule_extras **ret, struct fault *fault)
{
    const struct reading r = { .where = where, .arena = arena, .fault = fault };
    struct rule_extras *x = NULL;
    for (size_t i = 0; RULE_EXTRA_KEYS[i] != NULL; i++) {
        const struct yaml_node *n = yaml_get(rule, RULE_EXTRA_KEYS[i]);
        if (n == NULL || yaml_is_null(n))
            continue;
        if (x == NULL && (x = arena_alloc(arena, sizeof *x)) == NULL)
            return extra_no_memory(fault);
        int e = TAKE[i](&r, n, x);
        if (e < 0)
            return e;
    }
    *ret = x;
    return 0;
}

static int cannot(struct fault *f, const char *key, const struct rule *rule, const char *why)
{
    return fault_set(f, ERR_PARSE, "%s: %s, which the service %.*s is not", key, why,
                     SLICE_FMT(rule->service.text));
}

static int settle_services(const struct rule *rule, struct upstreams *u, struct fault *f)
{
    enum service_kind kind = rule->service.kind;
    if (kind != SERVICE_HTTP && kind != SERVICE_UNIX && kind != SERVICE_TCP)
        return cannot(f, "services", rule, "they are of the kinds http, https, unix and tcp");
    u->list[0].service = rule->service;
    for (size_t i = 0; i < u->count; i++) {
        const struct service *s = &u->list[i].service;
        if (s->kind != kind)
            return fault_set(f, ERR_PARSE,
                             "services: %.*s is of another kind than the rule's service %.*s: all "
                             "must be http and https, all unix, or all streams of bytes",
                             SLICE_FMT(s->text), SLICE_FMT(rule->service.text));
        if (kind == SERVICE_TCP && s->port == 0)
            return fault_set(f, ERR_PARSE, "services: %.*s has no port", SLICE_FMT(s->text));
    }
    return 0;
}

struct upstreams *rule_upstreams(const struct rule *rule)
{
    return rule->extras != NULL ? rule->extras->upstreams : NULL;
}

bool rule_has_tls(const struct rule *rule)
{
    const struct upstreams *u = rule_upstreams(rule);
    bool has_tls = rule->service.is_tls;
    for (size_t i = 1; u != NULL && i < u->count; i++)
        has_tls = has_tls || u->list[i].service.is_tls;
    return has_tls;
}

int rule_extras_settle(const struct rule *rule, struct fault *f)
{
    const struct rule_extras *x = rule->extras;
    enum service_kind kind = rule->service.kind;
    bool is_http = kind == SERVICE_HTTP || kind == SERVICE_UNIX;
    bool has_head = is_http || kind == SERVICE_STATUS || kind == SERVICE_HELLO;
    if (x == NULL)
        return 0;
    if ((x->strip_prefix.n > 0 || x->rewrite != NULL || x->request.count > 0) && !is_http)
        return cannot(f, "pathPrefixStrip, pathRewrite, requestHeaders", rule,
                      "they change what an HTTP service is asked");
    if (x->response.count > 0 && !has_head)
        return cannot(f, "responseHeaders", rule, "they change what an HTTP service answers");
    if (x->proxy_protocol > 0 && !is_http && kind != SERVICE_TCP)
        return cannot(f, "proxyProtocol", rule, "it is for a service with an address of its own");
    if (x->certificate.n > 0 && !rule_has_tls(rule))
        return cannot(f, "clientCertificate", rule,
                      "it is shown to a service with TLS (https, wss, unix+tls)");
    return x->upstreams != NULL ? settle_services(rule, x->upstreams, f) : 0;
}

/* ---- conditions ---- */

bool rule_extras_have_conditions(const struct rule_extras *x)
{
    return x != NULL && (x->method_count > 0 || x->header_count > 0);
}

static bool value_meets(const struct header_condition *c, struct slice value)
{
    switch (c->test) {
    case HEADER_IS:
        return slice_eq(value, c->value);
    case HEADER_MATCHES:
        return regex_matches(c->regex, value);
    case HEADER_IS_THERE:
        return true;
    }
    return false;
}

/* A field that came on several lines meets the condition when one of them does. */
static bool header_meets(const struct header_condition *c, const struct fields *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (slice_eq_nocase(f->lines[i].name, c->name) && value_meets(c, f->lines[i].value))
            return true;
    return false;
}

bool rule_extras_match(const struct rule_extras *x, const struct request *q)
{
    if (x == NULL)
        return true;
    bool is_met = x->method_count == 0;
    for (size_t i = 0; i < x->method_count && !is_met; i++)
        is_met = slice_eq(x->methods[i], q->method);
    for (size_t i = 0; i < x->header_count && is_met; i++)
        is_met = header_meets(&x->headers[i], &q->fields);
    return is_met;
}
