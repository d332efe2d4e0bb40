#pragma once
/* The HTTP proxies of the connector's environment, through which it asks its origins: HTTP_PROXY
 * for http, HTTPS_PROXY for https, NO_PROXY for what is asked directly; also in small letters. As
 * the reference has it, localhost and loopback addresses are always asked directly, and so are unix
 * sockets and streams of bytes. Immutable once made. Any thread. */
#include "base/arena.h"
#include "base/fault.h"

struct origin_proxy {
    struct slice text; /* for people: without a password */
    struct slice host; /* without brackets */
    uint16_t port;
    struct slice authorization; /* the value of Proxy-Authorization; or empty */
    bool is_usable;             /* of the scheme http, and understood */
};

struct origin_proxies;

/* NULL texts count as empty. ERR_NOMEM. */
int origin_proxies_new(const char *http, const char *https, const char *no_proxy,
                       struct origin_proxies **ret) __attribute__((warn_unused_result));
int origin_proxies_from_environment(struct origin_proxies **ret)
    __attribute__((warn_unused_result));
void origin_proxies_free(struct origin_proxies *p); /* NULL is accepted */
/* The proxy for an origin; NULL: it is asked directly. One that is not usable must not be passed
 * by: the request fails. */
const struct origin_proxy *origin_proxy_for(const struct origin_proxies *p, bool is_tls,
                                            struct slice host, uint16_t port);
