/* Rules that no request can reach. Only what is certain is said. */
#include "connector/ingress_check_int.h"

#include "base/limits.h"

#define LABEL_BYTES_MAX 63 /* RFC 1035 §2.3.4 */

/* ---- behind another rule ---- */

static bool is_any(struct slice hostname)
{
    return hostname.n == 0 || slice_eq(hostname, SLICE("*"));
}

static bool is_wildcard(struct slice hostname)
{
    return slice_starts(hostname, SLICE("*."));
}

/* Whether the first takes every host that the second takes. */
static bool covers_hosts(const struct seen_rule *a, const struct seen_rule *b)
{
    struct slice h = a->hostname;
    if (is_any(h))
        return true;
    if (is_any(b->hostname))
        return false;
    if (is_wildcard(h)) {
        struct slice suffix = slice_sub(h, 1, SIZE_MAX);
        return slice_ends(b->hostname, suffix) &&
               (b->ascii == NULL || slice_ends(slice_str(b->ascii), suffix));
    }
    return slice_eq(h, b->hostname);
}

/* Expressions that are found in every path. */
static bool takes_every_path(struct slice path)
{
    static const char *const ALL[] = { "",    "/",    "^/", ".*",    "^.*", "^",    "$",     "^.*$",
                                       "/.*", "^/.*", ".",  "^/.*$", ".*$", "(.*)", "^(.*)$" };
    for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++)
        if (slice_eq(path, slice_str(ALL[i])))
            return true;
    return false;
}

static bool covers(const struct seen_rule *a, const struct seen_rule *b)
{
    return !a->has_conditions && covers_hosts(a, b) &&
           (takes_every_path(a->path) || slice_eq(a->path, b->path));
}

static void check_shadow(struct check *c, const struct seen_rule *rules, size_t index)
{
    const struct seen_rule *r = &rules[index];
    for (size_t i = 0; i < index; i++) {
        const struct seen_rule *o = &rules[i];
        if (o->is_broken || !covers(o, r))
            continue;
        bool is_same =
            !r->has_conditions && slice_eq(o->hostname, r->hostname) && slice_eq(o->path, r->path);
        const char *text = arena_fmt(c->arena, "rule #%zu can never match: rule #%zu of line %u %s",
                                     index + 1, i + 1, o->node->line,
                                     is_same ? "has the same hostname and path"
                                             : "comes first and takes all that it would");
        check_warn(c, r->node->line, r->node->column, text,
                   is_same ? "remove one of them, or let them differ in path, method or headers"
                           : arena_fmt(c->arena, "put it in front of rule #%zu", i + 1));
        return;
    }
}

/* ---- hostnames that nobody sends ---- */

static const char *odd_label(struct slice name)
{
    struct slice rest = name, label;
    while (slice_split(&rest, '.', &label)) {
        if (label.n == 0)
            return "it has an empty label";
        if (label.n > LABEL_BYTES_MAX)
            return "one of its labels is longer than 63 characters";
    }
    return name.n > HOSTNAME_BYTES_MAX ? "it is longer than 253 characters" : NULL;
}

static bool has_odd_character(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] == 0x7f || name.p[i] == '/' || name.p[i] == '?' ||
            name.p[i] == '#' || name.p[i] == '@')
            return true;
    return false;
}

static bool has_capital(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return true;
    return false;
}

static bool is_ascii(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] >= 0x80)
            return false;
    return true;
}

/* Why no client sends such a name; or NULL. *ret_hint says what to write. */
static const char *why_never_sent(struct check *c, const struct seen_rule *r, const char **ret_hint)
{
    struct slice h = r->hostname, name = is_wildcard(h) ? slice_sub(h, 2, SIZE_MAX) : h;
    *ret_hint = NULL;
    if (slice_find(name, ':') < name.n)
        return NULL; /* an IPv6 address */
    if (name.n > 0 && name.p[0] == '*') {
        *ret_hint =
            arena_fmt(c->arena, "did you mean *.%.*s?", SLICE_FMT(slice_sub(name, 1, SIZE_MAX)));
        return "a star stands for names only in front of a dot; here it is a letter like others";
    }
    if (has_odd_character(name))
        return "no hostname has such characters";
    const char *odd = odd_label(name);
    if (odd != NULL)
        return odd;
    if (r->ascii != NULL || (is_ascii(name) && !has_capital(name)))
        return NULL;
    const char *form = idna_ascii(name, c->arena);
    if (form != NULL)
        *ret_hint = arena_fmt(c->arena, "write %s%s", is_wildcard(h) ? "*." : "", form);
    return is_ascii(name) ? "clients send names in small letters"
                          : "clients send such names in their ASCII form";
}

static void check_sent(struct check *c, const struct seen_rule *r, size_t index)
{
    const struct yaml_node *at = yaml_get(r->node, "hostname");
    const char *hint, *why = is_any(r->hostname) ? NULL : why_never_sent(c, r, &hint);
    if (why != NULL)
        check_warn(c, at->line, at->column,
                   arena_fmt(c->arena, "rule #%zu can never match: nobody asks for %.*s: %s",
                             index + 1, SLICE_FMT(r->hostname), why),
                   hint);
}

/* ---- paths ---- */

static bool is_quantifier(struct slice rest)
{
    return rest.n > 0 && (rest.p[0] == '*' || rest.p[0] == '?' || rest.p[0] == '{');
}

static bool is_literal(uint8_t ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '-' || ch == '_' || ch == '~' || ch == '%' || ch == '=' || ch == ',' || ch == ':';
}

/* Every path begins with a slash: an expression that is bound to its beginning and wants something
 * else there finds nothing. */
static bool never_matches(struct slice p)
{
    struct slice rest = slice_sub(p, 1, SIZE_MAX);
    if (p.n < 2 || p.p[0] != '^' || slice_find(p, '|') < p.n)
        return false;
    if (slice_starts(rest, SLICE("[^/]")))
        return !is_quantifier(slice_sub(rest, 4, SIZE_MAX));
    if (slice_starts(rest, SLICE("\\.")))
        return !is_quantifier(slice_sub(rest, 2, SIZE_MAX));
    return is_literal(rest.p[0]) && !is_quantifier(slice_sub(rest, 1, SIZE_MAX));
}

static void check_path(struct check *c, const struct seen_rule *r, size_t index)
{
    const struct yaml_node *at = yaml_get(r->node, "path");
    if (never_matches(r->path)) {
        bool is_class = r->path.p[1] == '[';
        check_warn(c, at->line, at->column,
                   arena_fmt(c->arena,
                             "rule #%zu can never match: %.*s wants something else than the slash "
                             "with which every path begins",
                             index + 1, SLICE_FMT(r->path)),
                   is_class ? NULL
                            : arena_fmt(c->arena, "did you mean ^/%.*s?",
                                        SLICE_FMT(slice_sub(r->path, 1, SIZE_MAX))));
    }
}

void check_reach(struct check *c, const struct seen_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].is_broken)
            continue;
        check_sent(c, &rules[i], i);
        check_path(c, &rules[i], i);
        if (i + 1 < count || !is_any(rules[i].hostname) || rules[i].path.n > 0)
            check_shadow(c, rules, i);
    }
}
