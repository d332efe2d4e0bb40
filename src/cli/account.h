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
/* The id of a tunnel that is named by id or name; names are looked up. ERR_NOTFOUND when there is
 * none of that name, which is for the caller to put into words. */
int account_id(struct cli *c, const struct account *a, const char *ref,
               char ret[static UUID_TEXT_BYTES]) __attribute__((warn_unused_result));
/* The id of the zone that a hostname belongs to. The certificate is of one zone, but the edge may
 * have several: the one that the hostname is in, else the certificate's, to which it is relative.
 */
const char *account_zone(struct cli *c, const struct account *a, const char *hostname);
/* `text` as a value in a query, in the arena. */
const char *account_escape(struct cli *c, const char *text);
/* The admin token of the edge of this machine as an account. */
int account_of_local_edge(struct cli *c, const struct local_edge *local, struct account *ret)
    __attribute__((warn_unused_result));
/* Where an edge with default addresses serves its API: for who may not read its data directory. */
#define ACCOUNT_DEFAULT_LOCAL "127.0.0.1:7845"
