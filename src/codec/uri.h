#pragma once
/* host:port, origin URLs and escaped paths (RFC 3986). Pure; any thread. Views into the caller's
 * bytes; nothing is allocated. */
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct host_port {
    struct slice host; /* without the brackets of an IPv6 address */
    bool is_ipv6;      /* came in brackets */
    bool has_port;
    uint16_t port; /* 1 to 65535 when has_port, else 0 */
};

/* host[:port] or [v6][:port]. A host is letters, digits and "-._~" (IPv4 addresses are among them),
 * an IPv6 address must be a valid one without a zone. 0 or ERR_PARSE. */
int host_port_parse(struct slice text, struct host_port *ret) __attribute__((warn_unused_result));

struct uri {
    struct slice scheme;    /* as it came */
    struct slice userinfo;  /* before '@', or empty */
    struct slice authority; /* host[:port], without userinfo */
    struct host_port at;
    struct slice path;     /* with its '/', or empty; for opaque forms all behind "scheme:" */
    struct slice query;    /* without '?' */
    struct slice fragment; /* without '#' */
    bool has_authority, has_userinfo, has_query, has_fragment;
};

/* scheme://[userinfo@]host[:port][/path][?query][#fragment], or scheme:path without an authority
 * ("unix:/run/app.sock"). Control characters, spaces, bytes above 0x7e and broken escapes are
 * refused; an authority must have a host. What a service URL may have of these is the caller's to
 * say. 0 or ERR_PARSE. */
int uri_parse(struct slice text, struct uri *ret) __attribute__((warn_unused_result));

/* Port that a scheme implies: http and ws 80, https and wss 443; 0 for others. */
uint16_t uri_default_port(struct slice scheme);

/* Decodes every %xx; '+' stays. `out` has text.n bytes and may be text.p itself. ERR_PARSE on a
 * broken escape. *ret is the number of bytes: they may hold any byte, NUL and '/' too. */
int uri_unescape(struct slice text, uint8_t *out, size_t *ret) __attribute__((warn_unused_result));
