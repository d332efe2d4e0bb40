#pragma once
/* Ingress rules (docs/protocol.md §12): which service answers which hostname and path, and how
 * it is asked. Immutable once made, counted: exchanges that began under old rules end under them.
 * Any thread. */
#include "base/arena.h"
#include "base/fault.h"
#include "conf/yaml_tree.h"
#include "http/match.h"
#include "net/tls.h"

enum service_kind {
    SERVICE_HTTP,   /* http, ws; with TLS https, wss */
    SERVICE_UNIX,   /* unix:/path; with TLS unix+tls:/path */
    SERVICE_TCP,    /* tcp, ssh, rdp, smb and any other scheme */
    SERVICE_STATUS, /* http_status:N */
    SERVICE_HELLO,
    SERVICE_BASTION,
    SERVICE_SOCKS,
};

struct service {
    enum service_kind kind;
    bool is_tls;
    struct slice text; /* as it is shown */
    struct slice host; /* without brackets; or the path of a unix socket */
    uint16_t port;
    unsigned status; /* of SERVICE_STATUS */
};

/* How an origin is asked: originRequest. Times in nanoseconds; negative tcp_keepalive = off. */
struct origin_request {
    int64_t connect_timeout, tls_timeout, tcp_keepalive, keepalive_timeout;
    int64_t response_timeout, idle_timeout; /* of ours: for the head, for the next byte; 0 = none */
    int64_t keepalive_connections;
    bool no_happy_eyeballs, match_sni, no_tls_verify, no_chunked, bastion, http2;
    struct slice host_header, server_name, ca_pool, proxy_type, proxy_address;
    int64_t proxy_port;
    bool access_required;
    bool access_is_global;                     /* it stands above the rules */
    const struct yaml_node *access, *ip_rules; /* as written; of the rules' own arena in the end */
};

struct client_identity; /* client_identity.h */
struct origin_kept;     /* origin.h */
struct rule_extras;     /* rule_extras.h */
struct request;         /* http/exchange.h */

struct rule {
    struct slice hostname, path;
    char *ascii;         /* IDNA form, or NULL */
    struct regex *regex; /* or NULL */
    struct service service;
    struct origin_request request;
    struct tls_creds *tls;            /* of a TLS origin, made when the rules are; or NULL */
    struct tls_creds *tls_h2;         /* the same with HTTP/2 offered (http2Origin); or NULL */
    struct client_identity *identity; /* tls and tls_h2 while clientCertificate changes; or NULL */
    struct rule_extras *extras;       /* what the reference does not have; or NULL */
    const struct yaml_node *written;  /* a map of those keys, as they were written; or NULL */
    struct origin_kept *kept;         /* connections to its origins, while they are idle; or NULL */
    struct access_policy *access;     /* who wants a token for it, or NULL */
};

struct ingress;

/* From a whole configuration document (its keys ingress and originRequest). `where` names the file.
 * The messages are the reference's. */
int ingress_from_yaml(const struct yaml_node *root, const char *where, struct ingress **ret,
                      struct fault *fault) __attribute__((warn_unused_result));
/* One rule for everything, from flags. */
int ingress_single(const char *service, const struct origin_request *request, struct ingress **ret,
                   struct fault *fault) __attribute__((warn_unused_result));
/* What answers when there are no rules: 503 for everything. The document's originRequest is checked
 * and kept for ingress_global; `root` may be NULL. */
int ingress_without_rules(const struct yaml_node *root, const char *where, struct ingress **ret,
                          struct fault *fault) __attribute__((warn_unused_result));
void origin_request_defaults(struct origin_request *r);

struct ingress *ingress_ref(struct ingress *i);
void ingress_unref(struct ingress *i); /* NULL is accepted */

size_t ingress_count(const struct ingress *i);
const struct rule *ingress_rule(const struct ingress *i, size_t index);
/* What stands above the rules: originRequest over its presets. */
const struct origin_request *ingress_global(const struct ingress *i);
/* The first rule that matches; the last one when none does. `host` may have a port; `path` is
 * decoded. */
size_t ingress_match(const struct ingress *i, struct slice host, struct slice path);
/* The same for a request, whose method and fields must meet the rule's conditions besides. */
size_t ingress_match_request(const struct ingress *i, const struct request *q, struct slice path);
/* Whether a rule takes a host, without a port, whatever the path is. */
bool rule_takes_host(const struct rule *r, struct slice host);
/* Whether a host (with or without a port) is the connector's own, which no rule may catch: its
 * management service, index -1 of the reference. */
bool ingress_is_internal(struct slice host);
/* Loads what TLS origins and issuers of tokens need (CA pools), so that rules can be checked
 * without touching files. */
int ingress_load_tls(struct ingress *i, struct fault *fault) __attribute__((warn_unused_result));

/* service.c. `fault` has the reference's words. */
int service_parse(struct slice text, struct arena *arena, struct service *ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* origin_request.c: over what `r` holds. */
int origin_request_from_yaml(const struct yaml_node *map, const char *where,
                             struct origin_request *r, struct fault *fault)
    __attribute__((warn_unused_result));
/* The policy of a socks-proxy, checked only there. */
int ip_rules_check(const struct yaml_node *rules, struct fault *fault)
    __attribute__((warn_unused_result));
