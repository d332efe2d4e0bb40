#pragma once
/* The three texts by which a connector shows who it is (docs/protocol.md §13): the tunnel token,
 * the credentials file, and cert.pem of the command line. Pure; what is read lives in the arena. */
#include "base/arena.h"
#include "base/fault.h"
#include "base/text.h"

#define TOKEN_EDGES_MAX 16

/* A token or a credentials file. Tokens of our edge also carry where it is and whom to trust; the
 * reference ignores that. */
struct credential {
    struct slice account;
    struct uuid tunnel;
    struct slice secret; /* bytes */
    struct slice endpoint;
    struct slice name;                   /* of credentials files, may be empty */
    struct slice edges[TOKEN_EDGES_MAX]; /* host:port */
    size_t edge_count;
    bool has_pin;
    uint8_t pin[32]; /* SHA-256 of the edge's CA's SubjectPublicKeyInfo */
};

/* Standard base64 with padding of a JSON object with a, s, t. White space around is not part of it.
 * ERR_PARSE. */
int tunnel_token_read(struct slice text, struct arena *arena, struct credential *ret,
                      struct fault *fault) __attribute__((warn_unused_result));
/* A NUL-terminated text in the arena, or NULL. */
char *tunnel_token_write(const struct credential *c, struct arena *arena);

/* JSON with AccountTag, TunnelSecret, TunnelID (which old files lack: *ret_has_id), Endpoint. */
int credential_read(struct slice json, struct arena *arena, struct credential *ret,
                    bool *ret_has_id, struct fault *fault) __attribute__((warn_unused_result));
char *credential_write(const struct credential *c, struct arena *arena);

struct origin_cert {
    struct slice zone, account, token, endpoint;
    struct slice
        api; /* base URL of the API: a key of ours, which the reference ignores; or empty */
};
int origin_cert_read(struct slice pem, struct arena *arena, struct origin_cert *ret,
                     struct fault *fault) __attribute__((warn_unused_result));
char *origin_cert_write(const struct origin_cert *c, struct arena *arena);
