#include "codec/uri.h"

#include <arpa/inet.h>

#include "base/err.h"
#include "codec/http1_chars.h"

static bool is_ipv6(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n) != NULL)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool has_only(struct slice s, uint8_t class)
{
    for (size_t i = 0; i < s.n; i++)
        if (!http1_char_is(s.p[i], class))
            return false;
    return true;
}

int host_port_parse(struct slice text, struct host_port *ret)
{
    struct host_port out = { .is_ipv6 = text.n > 0 && text.p[0] == '[' };
    struct slice rest;
    if (out.is_ipv6) {
        size_t end = slice_find(text, ']');
        if (end == text.n)
            return ERR_PARSE;
        out.host = slice_of(text.p + 1, end - 1);
        rest = slice_sub(text, end + 1, SIZE_MAX);
        if (!is_ipv6(out.host))
            return ERR_PARSE;
    } else {
        size_t end = slice_find(text, ':');
        out.host = slice_sub(text, 0, end);
        rest = slice_sub(text, end, SIZE_MAX);
        if (out.host.n == 0 || !has_only(out.host, CH_HOST))
            return ERR_PARSE;
    }
    if (rest.n > 0) {
        uint64_t port;
        if (rest.p[0] != ':' || slice_u64(slice_sub(rest, 1, SIZE_MAX), 65535, &port) < 0 ||
            port == 0)
            return ERR_PARSE;
        out.has_port = true;
        out.port = (uint16_t)port;
    }
    *ret = out;
    return 0;
}

static bool escapes_are_sound(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' && (s.n - i < 3 || !http1_char_is(s.p[i + 1], CH_HEX) ||
                              !http1_char_is(s.p[i + 2], CH_HEX)))
            return false;
    return true;
}

/* RFC 3986 §3.1: a letter, then letters, digits, "+", "-" and ".". */
static bool is_scheme(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t letter = s.p[i] | 0x20;
        if (letter >= 'a' && letter <= 'z')
            continue;
        bool other =
            (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '+' || s.p[i] == '-' || s.p[i] == '.';
        if (i == 0 || !other)
            return false;
    }
    return s.n > 0;
}

/* Takes the part behind the first `byte` off *s. */
static bool cut_tail(struct slice *s, uint8_t byte, struct slice *ret)
{
    size_t at = slice_find(*s, byte);
    if (at == s->n)
        return false;
    *ret = slice_sub(*s, at + 1, SIZE_MAX);
    s->n = at;
    return true;
}

int uri_parse(struct slice text, struct uri *ret)
{
    struct uri out = { 0 };
    struct slice rest = text;
    out.has_fragment = cut_tail(&rest, '#', &out.fragment);
    out.has_query = cut_tail(&rest, '?', &out.query);
    size_t colon = slice_find(rest, ':');
    if (colon == rest.n)
        return ERR_PARSE;
    if (!has_only(rest, CH_TARGET) || !has_only(out.query, CH_TARGET) ||
        !has_only(out.fragment, CH_TARGET) || !escapes_are_sound(text))
        return ERR_PARSE;
    out.scheme = slice_sub(rest, 0, colon);
    if (!is_scheme(out.scheme))
        return ERR_PARSE;
    rest = slice_sub(rest, colon + 1, SIZE_MAX);
    if (slice_starts(rest, SLICE("//"))) {
        out.has_authority = true;
        rest = slice_sub(rest, 2, SIZE_MAX);
        size_t end = slice_find(rest, '/');
        out.authority = slice_sub(rest, 0, end);
        rest = slice_sub(rest, end, SIZE_MAX);
        size_t user = slice_find_last(out.authority, '@');
        if (user < out.authority.n) {
            out.has_userinfo = true;
            out.userinfo = slice_sub(out.authority, 0, user);
            out.authority = slice_sub(out.authority, user + 1, SIZE_MAX);
        }
        if (host_port_parse(out.authority, &out.at) < 0)
            return ERR_PARSE;
    }
    out.path = rest;
    *ret = out;
    return 0;
}

uint16_t uri_default_port(struct slice scheme)
{
    if (slice_eq_nocase(scheme, SLICE("http")) || slice_eq_nocase(scheme, SLICE("ws")))
        return 80;
    if (slice_eq_nocase(scheme, SLICE("https")) || slice_eq_nocase(scheme, SLICE("wss")))
        return 443;
    return 0;
}

int uri_unescape(struct slice text, uint8_t *out, size_t *ret)
{
    size_t n = 0;
    if (!escapes_are_sound(text))
        return ERR_PARSE;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%') {
            out[n++] =
                (uint8_t)(http1_hex_value(text.p[i + 1]) << 4 | http1_hex_value(text.p[i + 2]));
            i += 2;
        } else {
            out[n++] = text.p[i];
        }
    }
    *ret = n;
    return 0;
}
