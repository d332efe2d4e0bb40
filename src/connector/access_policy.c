#include "connector/access_policy.h"

#include "base/err.h"
#include "base/limits.h"
#include "codec/uri.h"
#include "connector/ingress.h"

#define CERTS_PATH "/cdn-cgi/access/certs"

static struct slice text_of(const struct yaml_node *access, const char *key)
{
    const struct yaml_node *n = yaml_get(access, key);
    return n != NULL && n->kind == YAML_SCALAR && !yaml_is_null(n) ? n->text : (struct slice){ 0 };
}

/* Part of a host's name: anything else would make another URL of it. */
static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       ((c == '-' || c == '.') && i > 0 && i + 1 < s.n);
        if (!is_good)
            return false;
    }
    return s.n <= HOSTNAME_BYTES_MAX;
}

/* Keys that come unprotected would be anybody's. */
static int parse_url(struct slice url, const char *key, struct uri *ret, struct fault *f)
{
    if (uri_parse(url, ret) < 0 || !slice_eq_nocase(ret->scheme, SLICE("https")) ||
        !ret->has_authority || ret->has_userinfo || ret->has_fragment)
        return fault_set(f, ERR_PARSE, "access.%s: a URL that begins with https:// is wanted", key);
    return 0;
}

static int take_issuer(const struct yaml_node *access, struct arena *arena, struct slice *ret,
                       struct fault *f)
{
    struct slice issuer = text_of(access, "issuer"), team = text_of(access, "teamName");
    struct uri parsed;
    *ret = issuer;
    if (issuer.n > 0)
        return parse_url(issuer, "issuer", &parsed, f);
    if (team.n == 0)
        return 0;
    if (!is_name(team))
        return fault_set(f, ERR_PARSE, "access.teamName: letters, digits and hyphens are wanted");
    bool is_fed = slice_eq(text_of(access, "environment"), SLICE("fed"));
    char *made = arena_fmt(arena, "https://%.*s%s.cloudflareaccess.com", SLICE_FMT(team),
                           is_fed ? ".fed" : "");
    *ret = slice_str(made);
    return made != NULL ? 0 : fault_set(f, ERR_NOMEM, "the rules take too much memory");
}

static int take_keys_url(const struct yaml_node *access, struct arena *arena,
                         struct access_policy *p, struct fault *f)
{
    struct slice url = text_of(access, "certsUrl"), base = p->issuer;
    struct uri parsed;
    if (url.n == 0 && base.n == 0)
        return 0;
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    if (url.n == 0)
        url = slice_str(arena_fmt(arena, "%.*s" CERTS_PATH, SLICE_FMT(base)));
    int r = parse_url(url, "certsUrl", &parsed, f);
    if (r < 0)
        return r;
    p->keys_url = url;
    p->host = parsed.at.host;
    p->port = parsed.at.has_port ? parsed.at.port : 443;
    p->authority = parsed.authority;
    p->target = slice_str(arena_fmt(arena, "%s%.*s%s%.*s", parsed.path.n == 0 ? "/" : "",
                                    SLICE_FMT(parsed.path), parsed.has_query ? "?" : "",
                                    SLICE_FMT(parsed.query)));
    return p->target.p != NULL ? 0 : fault_set(f, ERR_NOMEM, "the rules take too much memory");
}

static int take_audiences(const struct yaml_node *list, struct arena *arena,
                          struct access_policy *p, struct fault *f)
{
    size_t count = 0;
    if (list != NULL && !yaml_is_null(list) && list->kind != YAML_LIST)
        return fault_set(f, ERR_PARSE, "access.audTag: a list is wanted");
    const struct yaml_node *first = list != NULL ? list->first : NULL;
    for (const struct yaml_node *n = first; n != NULL; n = n->next, count++)
        if (n->kind != YAML_SCALAR)
            return fault_set(f, ERR_PARSE, "access.audTag: a list of texts is wanted");
    if (count > ACCESS_AUDIENCES_MAX)
        return fault_set(f, ERR_PARSE, "access.audTag: at most %d are taken", ACCESS_AUDIENCES_MAX);
    p->audiences = arena_alloc(arena, (count + 1) * sizeof *p->audiences);
    if (p->audiences == NULL)
        return fault_set(f, ERR_NOMEM, "the rules take too much memory");
    for (const struct yaml_node *n = first; n != NULL; n = n->next)
        p->audiences[p->audience_count++] = n->text;
    return 0;
}

int access_policy_make(const struct origin_request *request, struct arena *arena,
                       struct access_policy **ret, struct fault *f)
{
    const struct yaml_node *access = request->access, *audience = yaml_get(access, "audTag");
    *ret = NULL;
    if (!request->access_required)
        return 0;
    if (audience != NULL && audience->first != NULL && text_of(access, "teamName").n == 0 &&
        text_of(access, "issuer").n == 0)
        return fault_set(f, ERR_PARSE,
                         "access.TeamName cannot be blank when access.audTags are present");
    struct access_policy *p = arena_alloc(arena, sizeof *p);
    if (p == NULL)
        return fault_set(f, ERR_NOMEM, "the rules take too much memory");
    p->ca_pool = text_of(access, "caPool");
    int r = take_issuer(access, arena, &p->issuer, f);
    if (r == 0)
        r = take_keys_url(access, arena, p, f);
    if (r == 0)
        r = take_audiences(audience, arena, p, f);
    if (r == 0)
        *ret = p;
    return r;
}
