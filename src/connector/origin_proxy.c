#include "connector/origin_proxy.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"
#include "codec/uri.h"
#include "connector/ip_policy.h"
#include "net/addr.h"

#define PROXIES_BYTES_MAX                                                                          \
    (16 * 1024 * 1024) /* a variable of the environment has 128 KiB at most                        \
                        */

enum exception_kind {
    EXCEPTION_DOMAIN, /* the name and all below it; with a dot in front those alone */
    EXCEPTION_PREFIX, /* addresses */
};

struct exception {
    enum exception_kind kind;
    struct slice name;
    struct ip_prefix prefix;
    uint16_t port; /* 0 = any */
};

struct origin_proxies {
    struct arena arena;
    struct origin_proxy *http, *https; /* or NULL */
    struct exception *exceptions;
    size_t count;
    bool is_none; /* NO_PROXY is * */
};

/* ---- the proxies ---- */

static int authorize(struct origin_proxies *p, struct slice userinfo, struct origin_proxy *proxy)
{
    size_t n = 0;
    uint8_t *plain = arena_alloc(&p->arena, userinfo.n + 2);
    if (plain == NULL)
        return ERR_NOMEM;
    if (uri_unescape(userinfo, plain, &n) < 0) {
        proxy->scheme = PROXY_OTHER;
        return 0;
    }
    size_t colon = slice_find(slice_of(plain, n), ':');
    proxy->user = slice_sub(slice_of(plain, n), 0, colon);
    proxy->password = slice_sub(slice_of(plain, n), colon + 1, SIZE_MAX);
    if (slice_find(userinfo, ':') == userinfo.n)
        plain[n++] = ':';
    char *coded = arena_alloc(&p->arena, 6 + BASE64_BYTES(n));
    if (coded == NULL)
        return ERR_NOMEM;
    memcpy(coded, "Basic ", 6);
    size_t length = base64_encode(slice_of(plain, n), BASE64_STD, true, coded + 6);
    proxy->authorization = slice_of(coded, 6 + length);
    return 0;
}

static enum proxy_scheme scheme_of(struct slice scheme)
{
    if (slice_eq_nocase(scheme, SLICE("http")))
        return PROXY_HTTP;
    if (slice_eq_nocase(scheme, SLICE("https")))
        return PROXY_HTTPS;
    bool is_socks =
        slice_eq_nocase(scheme, SLICE("socks5")) || slice_eq_nocase(scheme, SLICE("socks5h"));
    return is_socks ? PROXY_SOCKS5 : PROXY_OTHER;
}

/* "scheme://[user[:password]@]host[:port]"; the scheme may be missing. */
static int read_proxy(struct origin_proxies *p, const char *text, struct origin_proxy **ret)
{
    struct uri u;
    *ret = NULL;
    if (text == NULL || text[0] == 0)
        return 0;
    bool has_scheme = strstr(text, "://") != NULL;
    const char *whole = arena_fmt(&p->arena, "%s%s", has_scheme ? "" : "http://", text);
    struct origin_proxy *proxy = arena_alloc(&p->arena, sizeof *proxy);
    if (whole == NULL || proxy == NULL)
        return ERR_NOMEM;
    *ret = proxy;
    proxy->text = SLICE("a proxy that is no http://host:port");
    if (uri_parse(slice_str(whole), &u) < 0 || !u.has_authority)
        return 0;
    const char *shown =
        arena_fmt(&p->arena, "%.*s://%.*s", SLICE_FMT(u.scheme), SLICE_FMT(u.authority));
    if (shown == NULL)
        return ERR_NOMEM;
    proxy->text = slice_str(shown);
    proxy->host = u.at.host;
    proxy->scheme = scheme_of(u.scheme);
    static const uint16_t PORTS[] = {
        [PROXY_OTHER] = 80, [PROXY_HTTP] = 80, [PROXY_HTTPS] = 443, [PROXY_SOCKS5] = 1080
    };
    proxy->port = u.at.has_port ? u.at.port : PORTS[proxy->scheme];
    int r = u.has_userinfo ? authorize(p, u.userinfo, proxy) : 0;
    proxy->is_usable = proxy->scheme == PROXY_HTTP;
    return r;
}

/* ---- what is asked directly ---- */

static void read_exception(struct origin_proxies *p, struct slice member)
{
    struct exception *e = &p->exceptions[p->count];
    struct host_port at;
    *e = (struct exception){ .kind = EXCEPTION_PREFIX };
    if (slice_eq(member, SLICE("*"))) {
        p->is_none = true;
        return;
    }
    if (ip_prefix_parse(member, &e->prefix) == 0) {
        p->count++;
        return;
    }
    if (slice_starts(member, SLICE("*.")))
        member = slice_sub(member, 1, SIZE_MAX);
    struct addr bare; /* an IPv6 address needs no brackets here */
    if (addr_parse_ip(member, 0, &bare) == 0)
        at = (struct host_port){ .host = member };
    else if (host_port_parse(member, &at) < 0)
        return;
    e->kind = EXCEPTION_DOMAIN;
    e->name = at.host;
    e->port = at.port;
    p->count++;
}

static int read_exceptions(struct origin_proxies *p, const char *text)
{
    struct slice rest = arena_copy(&p->arena, slice_str(text)), member;
    size_t most = 1;
    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',';
    p->exceptions = arena_alloc(&p->arena, most * sizeof *p->exceptions);
    if (rest.p == NULL || p->exceptions == NULL)
        return ERR_NOMEM;
    while (slice_split(&rest, ',', &member))
        if (slice_trim(member).n > 0)
            read_exception(p, slice_trim(member));
    return 0;
}

int origin_proxies_new(const char *http, const char *https, const char *no_proxy,
                       struct origin_proxies **ret)
{
    struct origin_proxies *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    arena_init(&p->arena, PROXIES_BYTES_MAX);
    int r = read_proxy(p, http, &p->http);
    if (r == 0)
        r = read_proxy(p, https, &p->https);
    if (r == 0 && (p->http != NULL || p->https != NULL))
        r = read_exceptions(p, no_proxy);
    if (r < 0)
        origin_proxies_free(p);
    else
        *ret = p;
    return r;
}

static const char *of_environment(const char *name, const char *small)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != 0 ? value : getenv(small);
}

int origin_proxies_from_environment(struct origin_proxies **ret)
{
    return origin_proxies_new(of_environment("HTTP_PROXY", "http_proxy"),
                              of_environment("HTTPS_PROXY", "https_proxy"),
                              of_environment("NO_PROXY", "no_proxy"), ret);
}

static const char *of_environment_or_all(const char *name, const char *small)
{
    const char *proxy = of_environment(name, small);
    return proxy != NULL && proxy[0] != 0 ? proxy : of_environment("ALL_PROXY", "all_proxy");
}

int edge_proxies_from_environment(struct origin_proxies **ret)
{
    return origin_proxies_new(NULL, of_environment_or_all("HTTPS_PROXY", "https_proxy"),
                              of_environment("NO_PROXY", "no_proxy"), ret);
}

int api_proxies_from_environment(struct origin_proxies **ret)
{
    return origin_proxies_new(of_environment_or_all("HTTP_PROXY", "http_proxy"),
                              of_environment_or_all("HTTPS_PROXY", "https_proxy"),
                              of_environment("NO_PROXY", "no_proxy"), ret);
}

bool edge_proxies_need_tls(const struct origin_proxies *p)
{
    return p->https != NULL && p->https->scheme == PROXY_HTTPS;
}

void origin_proxies_free(struct origin_proxies *p)
{
    if (p == NULL)
        return;
    arena_done(&p->arena);
    free(p);
}

/* ---- the choice ---- */

static bool is_below(struct slice host, struct slice name)
{
    if (slice_starts(name, SLICE(".")))
        return host.n > name.n && slice_eq_nocase(slice_sub(host, host.n - name.n, name.n), name);
    return slice_eq_nocase(host, name) ||
           (host.n > name.n && host.p[host.n - name.n - 1] == '.' &&
            slice_eq_nocase(slice_sub(host, host.n - name.n, name.n), name));
}

static bool is_excepted(const struct exception *e, struct slice host, const struct addr *ip,
                        uint16_t port)
{
    if (e->port != 0 && e->port != port)
        return false;
    if (e->kind == EXCEPTION_PREFIX)
        return ip != NULL && ip_prefix_has(&e->prefix, ip);
    return is_below(host, e->name);
}

const struct origin_proxy *origin_proxy_for(const struct origin_proxies *p, bool is_tls,
                                            struct slice host, uint16_t port)
{
    const struct origin_proxy *proxy = p == NULL ? NULL : is_tls ? p->https : p->http;
    struct addr ip;
    if (proxy == NULL || p->is_none || slice_eq_nocase(host, SLICE("localhost")))
        return NULL;
    bool is_ip = addr_parse_ip(host, port, &ip) == 0;
    if (is_ip && addr_is_loopback(&ip))
        return NULL;
    for (size_t i = 0; i < p->count; i++)
        if (is_excepted(&p->exceptions[i], host, is_ip ? &ip : NULL, port))
            return NULL;
    return proxy;
}
