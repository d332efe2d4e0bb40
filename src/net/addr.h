#pragma once
/* Socket addresses as values, and their text forms. Pure. */
#include <sys/socket.h>

#include "base/slice.h"

struct addr {
    socklen_t size; /* 0 = none */
    struct sockaddr_storage sa;
};

#define ADDR_TEXT_BYTES 128

/* "127.0.0.1:80", "[::1]:80", ":80" (any address, dual stack), "localhost:0" is refused: names are
 * net/resolve.h's. 0, ERR_PARSE. */
int addr_parse(struct slice text, struct addr *ret);
/* An IP literal without a port. */
int addr_parse_ip(struct slice text, uint16_t port, struct addr *ret);
/* AF_UNIX; ERR_TOOLARGE when the path does not fit. */
int addr_unix(struct slice path, struct addr *ret);
/* "ip:port", "[ip6]:port", "unix:/path"; mapped IPv4 is shown as IPv4. Returns text. */
char *addr_text(const struct addr *a, char text[static ADDR_TEXT_BYTES]);
/* The IP alone. */
char *addr_ip_text(const struct addr *a, char text[static ADDR_TEXT_BYTES]);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_eq(const struct addr *a, const struct addr *b);
/* 0.0.0.0 or ::, what a socket for every address is bound to. */
bool addr_is_any(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
