#pragma once
/* The proxies of the connector's environment. Origins are asked through HTTP_PROXY for http,
 * HTTPS_PROXY for https; the edge is reached through HTTPS_PROXY or else ALL_PROXY, over HTTP/2,
 * and its API likewise, over http through HTTP_PROXY or else ALL_PROXY; NO_PROXY is what is asked
 * directly; all also in small letters. As the reference has it, localhost
 * and loopback addresses are always asked directly, and so are unix sockets and streams of bytes.
 * Immutable once made. Any thread. */
#include "base/arena.h"
#include "base/fault.h"

enum proxy_scheme { PROXY_OTHER, PROXY_HTTP, PROXY_HTTPS, PROXY_SOCKS5 };

struct origin_proxy {
    enum proxy_scheme scheme; /* OTHER: not understood */
    struct slice text;        /* for people: without a password */
    struct slice host;        /* without brackets */
    uint16_t port;
    struct slice authorization;  /* the value of Proxy-Authorization; or empty */
    struct slice user, password; /* decoded; for socks5 */
    bool is_usable;              /* for origins: of the scheme http, and understood */
};

struct origin_proxies;

/* NULL texts count as empty. ERR_NOMEM. */
int origin_proxies_new(const char *http, const char *https, const char *no_proxy,
                       struct origin_proxies **ret) __attribute__((warn_unused_result));
int origin_proxies_from_environment(struct origin_proxies **ret)
    __attribute__((warn_unused_result));
/* That through which the edge is reached: give them `true`. */
int edge_proxies_from_environment(struct origin_proxies **ret) __attribute__((warn_unused_result));
/* Those through which its API is called: over http, and over https. */
int api_proxies_from_environment(struct origin_proxies **ret) __attribute__((warn_unused_result));
/* Whether the one for https is a proxy over TLS, whose certificate must be verified. */
bool edge_proxies_need_tls(const struct origin_proxies *p);
void origin_proxies_free(struct origin_proxies *p); /* NULL is accepted */
/* The proxy for an origin; NULL: it is asked directly. One that is not usable must not be passed
 * by: the request fails. */
const struct origin_proxy *origin_proxy_for(const struct origin_proxies *p, bool is_tls,
                                            struct slice host, uint16_t port);
