#include "connector/rewrite.h"

#include "base/err.h"
#include "base/limits.h"
#include "net/addr.h"

#define GROUPS_MAX 10 /* $0 to $9 */

/* ---- variables ---- */

enum variable { VARIABLE_REQUEST_ID, VARIABLE_VISITOR_IP, VARIABLE_HOST, VARIABLES_COUNT };

static const char *const VARIABLES[VARIABLES_COUNT] = {
    [VARIABLE_REQUEST_ID] = "${request_id}",
    [VARIABLE_VISITOR_IP] = "${visitor_ip}",
    [VARIABLE_HOST] = "${host}",
};

bool rewrite_visitor_addr(const struct exchange *ex, struct addr *ret)
{
    static const struct slice NAME = { (const uint8_t *)"Cf-Connecting-Ip", 16 };
    const struct field *ip = fields_get(&ex->request.fields, NAME);
    return ip != NULL && fields_count(&ex->request.fields, NAME) == 1 &&
           addr_parse_ip(ip->value, 0, ret) == 0;
}

/* Which variable stands at the front; VARIABLES_COUNT when none does. */
static enum variable variable_at(struct slice text)
{
    unsigned v = 0;
    while (v < VARIABLES_COUNT && !slice_starts(text, slice_str(VARIABLES[v])))
        v++;
    return (enum variable)v;
}

bool rewrite_variables_are_known(struct slice text, struct slice *ret_unknown)
{
    for (size_t i = 0; i < text.n; i++) {
        struct slice rest = slice_sub(text, i, SIZE_MAX);
        if (slice_starts(rest, SLICE("$$"))) {
            i++;
        } else if (slice_starts(rest, SLICE("${")) && variable_at(rest) == VARIABLES_COUNT) {
            *ret_unknown = slice_sub(rest, 0, slice_find(rest, '}') + 1);
            return false;
        }
    }
    return true;
}

static struct slice value_of(struct exchange *ex, enum variable v, struct slice host,
                             char ip[static ADDR_TEXT_BYTES])
{
    struct addr a;
    switch (v) {
    case VARIABLE_REQUEST_ID:
        return slice_str(ex->id);
    case VARIABLE_VISITOR_IP:
        return rewrite_visitor_addr(ex, &a) ? slice_str(addr_ip_text(&a, ip)) : SLICE("");
    case VARIABLE_HOST:
        return host;
    case VARIABLES_COUNT:
        break;
    }
    return SLICE("");
}

/* Writes the text with its variables to `out`, or only measures it when that is NULL. */
static size_t expand(struct exchange *ex, struct slice text, struct slice host, uint8_t *out)
{
    char ip[ADDR_TEXT_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        struct slice rest = slice_sub(text, i, SIZE_MAX), piece = slice_sub(rest, 0, 1);
        enum variable v = variable_at(rest);
        i += v < VARIABLES_COUNT ? strlen(VARIABLES[v]) : slice_starts(rest, SLICE("$$")) ? 2 : 1;
        if (v < VARIABLES_COUNT)
            piece = value_of(ex, v, host, ip);
        if (out != NULL && piece.n > 0)
            memcpy(out + n, piece.p, piece.n);
        n += piece.n;
    }
    return n;
}

struct slice rewrite_value(struct exchange *ex, struct slice text, struct slice host)
{
    if (slice_find(text, '$') == text.n)
        return text;
    size_t n = expand(ex, text, host, NULL);
    uint8_t *out = arena_alloc(&ex->arena, n + 1);
    if (out != NULL)
        (void)expand(ex, text, host, out);
    return slice_of(out, n);
}

/* ---- fields ---- */

static int edit_fields(struct exchange *ex, struct fields *f, const struct header_edits *edits,
                       struct slice host)
{
    int r = 0;
    for (size_t i = 0; i < edits->count && r == 0; i++) {
        const struct header_edit *e = &edits->list[i];
        struct slice value = e->has_variables ? rewrite_value(ex, e->value, host) : e->value;
        if (value.p == NULL)
            return ERR_NOMEM;
        /* A Host of an edge is not ours to trust: nothing may break the line that it is put in. */
        if (e->has_variables && !field_value_is_valid(value))
            return ERR_PARSE;
        if (e->act == HEADER_REMOVE)
            (void)fields_remove(f, e->name);
        else
            r = e->act == HEADER_SET ? fields_set(f, e->name, value)
                                     : fields_add(f, e->name, value);
    }
    return r;
}

int rewrite_response(struct exchange *ex, const struct rule_extras *x, struct slice host)
{
    if (x == NULL || ex->response == NULL)
        return 0;
    return edit_fields(ex, &ex->response->fields, &x->response, host);
}

/* ---- the path ---- */

static int hex(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Bytes of the path that are the prefix, escapes read as what they stand for (but never as a
 * slash, which would be another path); 0 when it does not begin so, or goes on amid a segment. */
static size_t prefix_of(struct slice path, struct slice prefix)
{
    size_t at = 0;
    for (size_t i = 0; i < prefix.n; i++) {
        if (at == path.n)
            return 0;
        int c = path.p[at], high = at + 2 < path.n ? hex(path.p[at + 1]) : -1,
            low = high >= 0 ? hex(path.p[at + 2]) : -1;
        bool is_escape = c == '%' && low >= 0;
        if (is_escape)
            c = high << 4 | low;
        if (c != prefix.p[i] || (is_escape && c == '/'))
            return 0;
        at += is_escape ? 3 : 1;
    }
    return at == path.n || path.p[at] == '/' ? at : 0;
}

static int strip(struct exchange *ex, struct slice prefix, struct slice *path)
{
    static const struct slice NAME = { (const uint8_t *)"X-Forwarded-Prefix", 18 };
    size_t n = prefix_of(*path, prefix);
    (void)fields_remove(&ex->request.fields, NAME); /* nobody else says what was stripped here */
    if (n == 0)
        return 0;
    *path = slice_sub(*path, n, SIZE_MAX);
    if (path->n == 0)
        *path = SLICE("/");
    return fields_add(&ex->request.fields, NAME, prefix);
}

/* Writes `to` with its groups, or only measures it. */
static size_t fill_in(struct slice to, const struct slice *groups, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < to.n; i++) {
        struct slice piece = slice_sub(to, i, 1);
        if (to.p[i] == '$' && ++i < to.n && to.p[i] != '$')
            piece = groups[to.p[i] - '0'];
        if (out != NULL && piece.n > 0)
            memcpy(out + n, piece.p, piece.n);
        n += piece.n;
    }
    return n;
}

/* What the expression matched becomes `to`; what stands before and behind it stays. */
static int replace(struct exchange *ex, const struct rule_extras *x, struct slice *path)
{
    struct slice groups[GROUPS_MAX] = { 0 };
    int r = regex_find(x->rewrite, *path, groups, GROUPS_MAX);
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    size_t before = (size_t)(groups[0].p - path->p), behind = path->n - before - groups[0].n;
    size_t middle = fill_in(x->rewrite_to, groups, NULL);
    size_t n = before + middle + behind;
    if (n + 1 > TARGET_BYTES_MAX)
        return ERR_LIMIT;
    uint8_t *out = arena_alloc(&ex->arena, n + 2);
    if (out == NULL)
        return ERR_NOMEM;
    memcpy(out + 1, path->p, before);
    (void)fill_in(x->rewrite_to, groups, out + 1 + before);
    memcpy(out + 1 + before + middle, groups[0].p + groups[0].n, behind);
    out[0] = '/'; /* for a result that would not begin with one */
    *path = n > 0 && out[1] == '/' ? slice_of(out + 1, n) : slice_of(out, n + 1);
    return 0;
}

/* A target is one word of the request line. */
static bool is_one_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static int rewrite_path(struct exchange *ex, const struct rule_extras *x)
{
    struct slice target = ex->request.target, path = slice_sub(target, 0, slice_find(target, '?')),
                 query = slice_sub(target, path.n, SIZE_MAX), before = path;
    if (!slice_starts(path, SLICE("/")))
        return 0; /* the asterisk of OPTIONS has no path */
    int r = x->strip_prefix.n > 0 ? strip(ex, x->strip_prefix, &path) : 0;
    if (r == 0 && x->rewrite != NULL)
        r = replace(ex, x, &path);
    if (r < 0 || path.p == before.p)
        return r;
    if (path.n + query.n > TARGET_BYTES_MAX)
        return ERR_LIMIT;
    uint8_t *whole = arena_alloc(&ex->arena, path.n + query.n + 1);
    if (whole == NULL)
        return ERR_NOMEM;
    memcpy(whole, path.p, path.n);
    if (query.n > 0)
        memcpy(whole + path.n, query.p, query.n);
    ex->request.target = slice_of(whole, path.n + query.n);
    return is_one_word(ex->request.target) ? 0 : ERR_PARSE;
}

int rewrite_request(struct exchange *ex, const struct rule_extras *x, struct slice host)
{
    if (x == NULL)
        return 0;
    int r = x->strip_prefix.n > 0 || x->rewrite != NULL ? rewrite_path(ex, x) : 0;
    return r == 0 ? edit_fields(ex, &ex->request.fields, &x->request, host) : r;
}
