#include "codec/http1_int.h"
#include "codec/uri.h"

/* RFC 9112 §3.2.2. The authority replaces Host; userinfo is refused (RFC 9110 §4.2.4), and so is a
 * query without a path, which could not be forwarded without making a new target. */
static bool absolute_parse(struct http1_head *head)
{
    struct slice rest = head->target;
    size_t colon = slice_find(rest, ':');
    struct slice scheme = slice_sub(rest, 0, colon);
    if (!slice_eq_nocase(scheme, SLICE("http")) && !slice_eq_nocase(scheme, SLICE("https")))
        return false;
    rest = slice_sub(rest, colon, SIZE_MAX);
    if (!slice_starts(rest, SLICE("://")))
        return false;
    rest = slice_sub(rest, 3, SIZE_MAX);
    size_t end = slice_find(rest, '/');
    struct slice authority = slice_sub(rest, 0, end);
    if (!http1_is_host(authority))
        return false;
    bool is_options = slice_eq(head->method, SLICE("OPTIONS"));
    head->form = HTTP1_ABSOLUTE;
    head->scheme = scheme;
    head->authority = authority;
    head->path = slice_sub(rest, end, SIZE_MAX);
    if (head->path.n == 0)
        head->path = is_options ? SLICE("*") : SLICE("/");
    return true;
}

/* RFC 9112 §3.2.3: host and port, both. */
static bool authority_parse(struct http1_head *head)
{
    struct host_port parts;
    if (host_port_parse(head->target, &parts) < 0 || !parts.has_port)
        return false;
    head->form = HTTP1_AUTHORITY;
    head->authority = head->target;
    head->path = (struct slice){ 0 };
    return true;
}

static bool target_parse(struct http1_head *head)
{
    struct slice target = head->target;
    for (size_t i = 0; i < target.n; i++)
        if (!http1_char_is(target.p[i], CH_TARGET))
            return false;
    head->scheme = head->authority = (struct slice){ 0 };
    if (slice_eq(head->method, SLICE("CONNECT")))
        return authority_parse(head);
    if (target.n == 0)
        return false;
    if (target.p[0] == '/') {
        head->form = HTTP1_ORIGIN;
        head->path = target;
        return true;
    }
    if (slice_eq(target, SLICE("*")) && slice_eq(head->method, SLICE("OPTIONS"))) {
        head->form = HTTP1_ASTERISK;
        head->path = target;
        return true;
    }
    return absolute_parse(head);
}

int http1_target_parse(struct http1_head *head)
{
    if (!target_parse(head))
        return http1_refuse(&head->why, HTTP1_WHY_TARGET, ERR_PARSE);
    return 0;
}
