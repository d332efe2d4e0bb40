#pragma once
/* Rules whose service is a stream of bytes (docs/protocol.md §12): tcp, ssh, rdp, smb and other
 * schemes, bastion, socks-proxy. Loop thread. */
#include "connector/serve.h"

/* Attaches a flow to where the rule, or for a bastion the request, says; or fails the exchange. */
void byte_service_attach(struct serve *s, struct exchange *ex, const struct rule *rule,
                         struct ingress *rules);
/* The host and port that a bastion is asked for: host:port with or without a path, or a URL of
 * which nothing else counts. ERR_INVALID. */
int jump_destination(struct slice value, struct slice *ret_host, uint16_t *ret_port)
    __attribute__((warn_unused_result));
