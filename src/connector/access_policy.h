#pragma once
/* What a rule with `access.required` demands (docs/configuration.md): whose tokens, for which
 * audience. Plain data of the rules' arena. Any thread. */
#include "base/arena.h"
#include "base/fault.h"
#include "net/tls.h"

#define ACCESS_AUDIENCES_MAX 256

struct origin_request;

struct access_policy {
    struct slice issuer;   /* what `iss` must be; empty: nobody is named, and no token is good */
    struct slice keys_url; /* where the issuer's keys are */
    struct slice host;     /* of that URL, without brackets */
    uint16_t port;
    struct slice authority, target; /* of that URL, as they are sent */
    struct slice ca_pool;           /* path of more roots for that URL, or empty */
    struct slice *audiences;
    size_t audience_count;
    struct tls_creds *tls; /* for that URL, made when the rules are loaded; counted */
};

/* NULL in *ret when no token is wanted. `request` and what it points to must live as long as the
 * arena. The fault has the reference's words where it has any. */
int access_policy_make(const struct origin_request *request, struct arena *arena,
                       struct access_policy **ret, struct fault *fault)
    __attribute__((warn_unused_result));
