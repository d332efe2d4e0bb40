/* What to write instead of a value that is wrong. */
#include "connector/ingress_check_int.h"

#include "base/err.h"
#include "conf/duration.h"
#include "conf/spelling.h"

static bool is_number(struct slice s)
{
    uint64_t n;
    return slice_u64(s, UINT64_MAX, &n) == 0;
}

/* The built-in service or the scheme that was nearly written. */
static const char *nearest(struct slice text)
{
    static const char *const WORDS[] = { "hello_world", "bastion", "socks-proxy", "http_status",
                                         "http",        "https",   "unix",        "unix+tls",
                                         "tcp",         "ssh",     "rdp",         "smb",
                                         "ws",          "wss" };
    const char *found = NULL;
    unsigned least = SPELLING_FAR;
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        unsigned d = edit_distance(text, slice_str(WORDS[i]));
        if (d < least && d < strlen(WORDS[i])) {
            least = d;
            found = WORDS[i];
        }
    }
    return found;
}

const char *hint_for_service(struct arena *a, struct slice s)
{
    size_t colon = slice_find(s, ':');
    struct slice scheme = slice_sub(s, 0, colon), rest = slice_sub(s, colon + 1, SIZE_MAX);
    if (s.n == 0)
        return "every rule has a service, such as http://localhost:8000 or http_status:404";
    if (slice_eq_nocase(scheme, SLICE("http_status")))
        return "write http_status:404, with a number from 100 to 999";
    if (s.p[0] == '/')
        return arena_fmt(a, "a unix socket is written unix:%.*s", SLICE_FMT(s));
    if (is_number(s))
        return arena_fmt(a, "did you mean http://localhost:%.*s?", SLICE_FMT(s));
    if (slice_starts(rest, SLICE("//"))) {
        struct slice host = slice_sub(rest, 2, SIZE_MAX);
        size_t slash = slice_find(host, '/');
        if (slash > 0 && slash < host.n)
            return arena_fmt(a,
                             "write %.*s://%.*s: the request's own path goes to the service "
                             "(pathPrefixStrip and pathRewrite change it)",
                             SLICE_FMT(scheme), SLICE_FMT(slice_sub(host, 0, slash)));
        return NULL;
    }
    const char *word = nearest(colon < s.n && !is_number(rest) ? scheme : s);
    if (word != NULL)
        return arena_fmt(a, "did you mean %s%s?", word, colon < s.n ? ":…" : "");
    return arena_fmt(a, "did you mean http://%.*s?", SLICE_FMT(s));
}

const char *hint_for_hostname(struct arena *a, struct slice h)
{
    struct slice bare = h;
    size_t scheme = slice_find(h, ':');
    if (slice_starts(slice_sub(h, scheme, SIZE_MAX), SLICE("://")))
        bare = slice_sub(h, scheme + 3, SIZE_MAX);
    size_t end = slice_find(bare, '/'), colon = slice_find(bare, ':');
    bare = slice_sub(bare, 0, end < colon ? end : colon);
    if (bare.n < h.n && bare.n > 0)
        return arena_fmt(a, "write the name alone: %.*s", SLICE_FMT(bare));
    size_t star = slice_find_last(h, '*');
    struct slice behind = slice_sub(h, star + 1, SIZE_MAX);
    if (star < h.n && behind.n > 1 && behind.p[0] == '.')
        return arena_fmt(a, "*%.*s takes names of any depth below %.*s", SLICE_FMT(behind),
                         SLICE_FMT(slice_sub(behind, 1, SIZE_MAX)));
    return NULL;
}

const char *hint_for_time(struct arena *a, const struct yaml_node *n)
{
    const char *seconds;
    int64_t ns;
    if (n->kind != YAML_SCALAR || n->text.n == 0)
        return "write a number with its unit, such as 30s, 1m30s or 250ms";
    seconds = arena_fmt(a, "%.*ss", SLICE_FMT(n->text));
    if (seconds != NULL && duration_parse(slice_str(seconds), &ns) == 0)
        return arena_fmt(a, "write %s", seconds);
    return "write a number with its unit, such as 30s, 1m30s or 250ms (units: ms, s, m, h)";
}
