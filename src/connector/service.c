#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "codec/uri.h"
#include "connector/ingress.h"

static int bad_address(struct slice text, struct fault *f)
{
    return fault_set(f, ERR_PARSE,
                     "%.*s is an invalid address, please make sure it has a scheme and a hostname",
                     SLICE_FMT(text));
}

static int parse_status(struct slice text, struct arena *arena, struct service *ret,
                        struct fault *f)
{
    struct slice number = slice_sub(text, 12, SIZE_MAX), digits = number;
    uint64_t value;
    bool is_negative = slice_starts(digits, SLICE("-"));
    if (is_negative || slice_starts(digits, SLICE("+")))
        digits = slice_sub(digits, 1, SIZE_MAX);
    int r = slice_u64(digits, INT64_MAX, &value);
    if (r == ERR_RANGE)
        return fault_set(
            f, ERR_PARSE,
            "invalid HTTP status code: strconv.Atoi: parsing \"%.*s\": value out of range",
            SLICE_FMT(number));
    if (r < 0)
        return fault_set(f, ERR_PARSE,
                         "invalid HTTP status code: strconv.Atoi: parsing \"%.*s\": invalid syntax",
                         SLICE_FMT(number));
    if (is_negative || value < 100 || value > 999)
        return fault_set(f, ERR_PARSE, "invalid HTTP status code: %.*s", SLICE_FMT(number));
    /* It is shown without a sign. */
    const char *shown = arena_fmt(arena, "http_status:%llu", (unsigned long long)value);
    if (shown == NULL)
        return fault_set(f, ERR_NOMEM, "out of memory");
    *ret = (struct service){ .kind = SERVICE_STATUS,
                             .text = slice_str(shown),
                             .status = (unsigned)value };
    return 0;
}

static bool scheme_is_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i], lower = c | 0x20;
        bool is_letter = lower >= 'a' && lower <= 'z';
        if (!is_letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    return s.n > 0;
}

/* The parts of scheme://authority[/path][?…][#…]. */
struct parts {
    struct slice scheme, host, path;
    bool has_port;
    uint16_t port;
};

static int take_host(struct slice text, struct slice authority, struct parts *p, struct fault *f)
{
    size_t at = slice_find_last(authority, '@'), colon;
    if (at < authority.n)
        authority = slice_sub(authority, at + 1, SIZE_MAX);
    for (size_t i = 0; i < authority.n; i++) {
        uint8_t c = authority.p[i];
        if (c == '%')
            return fault_set(f, ERR_PARSE, "parse \"%.*s\": invalid URL escape \"%.*s\"",
                             SLICE_FMT(text), SLICE_FMT(slice_sub(authority, i, 3)));
        if (c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"')
            return fault_set(f, ERR_PARSE, "parse \"%.*s\": invalid character \"%c\" in host name",
                             SLICE_FMT(text), c);
    }
    p->host = authority;
    if (authority.n > 0 && authority.p[0] == '[') {
        size_t end = slice_find(authority, ']');
        if (end == authority.n)
            return fault_set(f, ERR_PARSE, "parse \"%.*s\": missing ']' in host", SLICE_FMT(text));
        p->host = slice_sub(authority, 1, end - 1);
        authority = slice_sub(authority, end + 1, SIZE_MAX);
        colon = 0;
    } else {
        colon = slice_find_last(authority, ':');
        p->host = slice_sub(authority, 0, colon);
    }
    if (colon >= authority.n)
        return 0;
    struct slice port = slice_sub(authority, colon, SIZE_MAX);
    uint64_t number = 0;
    if (port.n > 1 && slice_u64(slice_sub(port, 1, SIZE_MAX), 65535, &number) < 0)
        return fault_set(f, ERR_PARSE, "parse \"%.*s\": invalid port \"%.*s\" after host",
                         SLICE_FMT(text), SLICE_FMT(port));
    p->has_port = port.n > 1;
    p->port = (uint16_t)number;
    return 0;
}

static int split(struct slice text, struct parts *p, struct fault *f)
{
    *p = (struct parts){ 0 };
    size_t colon = slice_find(text, ':');
    if (colon == text.n)
        return bad_address(text, f);
    p->scheme = slice_sub(text, 0, colon);
    if (!scheme_is_valid(p->scheme))
        return fault_set(f, ERR_PARSE,
                         "parse \"%.*s\": first path segment in URL cannot contain colon",
                         SLICE_FMT(text));
    struct slice rest = slice_sub(text, colon + 1, SIZE_MAX);
    if (!slice_starts(rest, SLICE("//")))
        return bad_address(text, f);
    rest = slice_sub(rest, 2, SIZE_MAX);
    rest = slice_sub(rest, 0, slice_find(rest, '#'));
    rest = slice_sub(rest, 0, slice_find(rest, '?'));
    size_t slash = slice_find(rest, '/');
    p->path = slice_sub(rest, slash, SIZE_MAX);
    return take_host(text, slice_sub(rest, 0, slash), p, f);
}

static uint16_t default_port(struct slice scheme)
{
    static const struct {
        const char *name;
        uint16_t port;
    } PORTS[] = { { "http", 80 }, { "ws", 80 },    { "https", 443 }, { "wss", 443 },
                  { "ssh", 22 },  { "rdp", 3389 }, { "smb", 445 },   { "tcp", 7864 } };
    for (size_t i = 0; i < sizeof PORTS / sizeof PORTS[0]; i++)
        if (slice_eq(scheme, slice_str(PORTS[i].name)))
            return PORTS[i].port;
    return 0;
}

static int parse_url(struct slice text, struct arena *arena, struct service *ret, struct fault *f)
{
    struct parts p;
    int r = split(text, &p, f);
    if (r < 0)
        return r;
    if (p.host.n == 0)
        return bad_address(text, f);
    if (p.path.n > 0)
        return fault_set(f, ERR_PARSE,
                         "%.*s is an invalid address, ingress rules don't support proxying to a "
                         "different path on the "
                         "origin service. The path will be the same as the eyeball request's path",
                         SLICE_FMT(text));
    bool is_tls = slice_eq(p.scheme, SLICE("https")) || slice_eq(p.scheme, SLICE("wss"));
    bool is_http = is_tls || slice_eq(p.scheme, SLICE("http")) || slice_eq(p.scheme, SLICE("ws"));
    *ret = (struct service){
        .kind = is_http ? SERVICE_HTTP : SERVICE_TCP,
        .is_tls = is_tls,
        .text = text,
        .host = p.host,
        .port = p.has_port ? p.port : default_port(p.scheme),
    };
    /* It is shown with the port that it implies. */
    if (!is_http && !p.has_port && ret->port > 0) {
        bool is_ipv6 = slice_find(p.host, ':') < p.host.n;
        const char *shown =
            arena_fmt(arena, "%.*s://%s%.*s%s:%u", SLICE_FMT(p.scheme), is_ipv6 ? "[" : "",
                      SLICE_FMT(p.host), is_ipv6 ? "]" : "", ret->port);
        if (shown == NULL)
            return fault_set(f, ERR_NOMEM, "out of memory");
        ret->text = slice_str(shown);
    }
    return 0;
}

int service_parse(struct slice text, struct arena *arena, struct service *ret, struct fault *f)
{
    static const struct {
        const char *text;
        enum service_kind kind;
    } BUILT_IN[] = { { "hello_world", SERVICE_HELLO },
                     { "hello-world", SERVICE_HELLO },
                     { "bastion", SERVICE_BASTION },
                     { "socks-proxy", SERVICE_SOCKS } };
    text = arena_copy(arena, text);
    if (text.p == NULL)
        return fault_set(f, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < sizeof BUILT_IN / sizeof BUILT_IN[0]; i++)
        if (slice_eq(text, slice_str(BUILT_IN[i].text))) {
            *ret = (struct service){ .kind = BUILT_IN[i].kind, .text = text };
            if (ret->kind == SERVICE_HELLO)
                ret->text = SLICE("hello_world");
            return 0;
        }
    if (slice_starts(text, SLICE("http_status:")))
        return parse_status(text, arena, ret, f);
    bool is_unix_tls = slice_starts(text, SLICE("unix+tls:"));
    if (is_unix_tls || slice_starts(text, SLICE("unix:"))) {
        *ret = (struct service){
            .kind = SERVICE_UNIX,
            .is_tls = is_unix_tls,
            .text = text,
            .host = slice_sub(text, is_unix_tls ? 9 : 5, SIZE_MAX),
        };
        return 0;
    }
    return parse_url(text, arena, ret, f);
}
