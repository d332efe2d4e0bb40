#pragma once
/* Which addresses a socks-proxy may dial: ipRules of a rule (docs/protocol.md §12). Pure; any
 * thread. */
#include "conf/yaml_tree.h"
#include "net/addr.h"

struct ip_prefix {
    struct slice ip; /* four or sixteen bytes, in `bytes` */
    unsigned bits;
    uint8_t bytes[16];
};

/* "192.0.2.0/24". An IPv4 network written as mapped IPv6 addresses is the IPv4 network. ERR_PARSE.
 * *ret must not be copied. */
int ip_prefix_parse(struct slice text, struct ip_prefix *ret) __attribute__((warn_unused_result));
/* Whether an address is of that network. */
bool ip_prefix_has(const struct ip_prefix *p, const struct addr *a);
/* The four or sixteen bytes of an address; a mapped IPv4 address is the IPv4 address. Empty for
 * other families. A view into *a. */
struct slice ip_bytes(const struct addr *a);
/* The first rule whose prefix has the address, and whose ports are none or have its port, decides.
 * None, or no rules: no. `rules` have passed ip_rules_check. */
bool ip_policy_allows(const struct yaml_node *rules, const struct addr *dest);
