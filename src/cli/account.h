#pragma once
/* Commands that speak with the edge's API: who is asking, and the call itself. */
#include "cli/cli.h"
#include "codec/json.h"

struct account {
    struct origin_cert cert;
    struct slice api; /* base URL, without a final slash */
    const char *dir;  /* of cert.pem: credentials are kept beside it */
};

/* cert.pem by --origincert, the configuration directories, or the edge of this machine. */
int account_open(struct cli *c, struct account *ret) __attribute__((warn_unused_result));
/* One call. `path` is behind the base URL. The result (or null) is the caller's. A refusal of the
 * API is put into words; ERR_EXISTS for 409, ERR_NOTFOUND for 404. */
int account_call(struct cli *c, const struct account *a, const char *what, const char *method,
                 const char *path, const json_t *body, json_t **ret)
    __attribute__((warn_unused_result));
/* A tunnel by name or id. */
int account_find(struct cli *c, const struct account *a, const char *ref, json_t **ret)
    __attribute__((warn_unused_result));
