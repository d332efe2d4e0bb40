#pragma once
/* What the control plane keeps, in SQLite. The control thread's alone. Tunnel secrets are sealed
 * with the edge's key on their way to the disk. Errors: ERR_IO (logged with SQLite's words),
 * ERR_EXISTS, ERR_NOTFOUND. One that failed changed nothing. */
#include "base/fault.h"
#include "model/tunnel.h"

struct store;

/* Opens or makes the file (0600), and brings its schema up to date. A file that is no database, or
 * from a newer version, is refused. */
int store_open(const char *path, const uint8_t seal_key[static 32], struct store **ret,
               struct fault *fault) __attribute__((warn_unused_result));
void store_close(struct store *s); /* NULL is accepted */
/* Whether the key opens what the database has. ERR_DENIED when it is another. */
int store_check_key(struct store *s, struct fault *fault) __attribute__((warn_unused_result));

/* ---- settings ---- */
int store_get(struct store *s, const char *key, char *ret, size_t size)
    __attribute__((warn_unused_result));
int store_set(struct store *s, const char *key, const char *value)
    __attribute__((warn_unused_result));

/* ---- tunnels ---- */
/* ERR_EXISTS when a live tunnel has that name. */
int store_tunnel_add(struct store *s, const struct tunnel *t) __attribute__((warn_unused_result));
int store_tunnel_get(struct store *s, const struct uuid *id, struct tunnel *ret)
    __attribute__((warn_unused_result));
int store_tunnel_by_name(struct store *s, struct slice name, struct tunnel *ret)
    __attribute__((warn_unused_result));
/* Writes name and secret of a live tunnel. ERR_EXISTS when another has that name. */
int store_tunnel_edit(struct store *s, const struct tunnel *t) __attribute__((warn_unused_result));
/* Marks it deleted, and removes its routes. */
int store_tunnel_delete(struct store *s, const struct uuid *id, int64_t now_us)
    __attribute__((warn_unused_result));
/* Removes it for good: quick tunnels. */
int store_tunnel_purge(struct store *s, const struct uuid *id) __attribute__((warn_unused_result));
size_t store_quick_count(struct store *s);
/* Every quick tunnel; `each` returns 0 to go on, and leaves the store alone. */
int store_quick_each(struct store *s,
                     int (*each)(void *ctx, const struct uuid *id, int64_t created_us), void *ctx)
    __attribute__((warn_unused_result));

struct tunnel_filter {
    struct slice name, name_prefix, exclude_prefix; /* empty = any */
    const struct uuid *id;
    int deleted;           /* 0 = live only, 1 = deleted only, -1 = all */
    int64_t existed_at_us; /* 0 = any */
    bool with_quick;
    uint64_t offset, limit; /* limit 0 = all */
};
/* Fills up to `max` from the offset on, newest first; *ret_total counts all that match. */
int store_tunnel_list(struct store *s, const struct tunnel_filter *f, struct tunnel *ret,
                      size_t max, size_t *ret_count, uint64_t *ret_total)
    __attribute__((warn_unused_result));

/* ---- hostnames ---- */
enum route_change { ROUTE_NEW, ROUTE_UPDATED, ROUTE_UNCHANGED };
/* ERR_EXISTS when the hostname leads elsewhere and `overwrite` is false. */
int store_route_put(struct store *s, const struct dns_route *r, bool overwrite,
                    enum route_change *ret) __attribute__((warn_unused_result));
/* *ret_balance: from malloc, or NULL when the route has none. ERR_NOTFOUND, ERR_NOMEM. */
int store_route_get(struct store *s, const char *hostname, struct dns_route *ret,
                    char **ret_balance) __attribute__((warn_unused_result));
/* How its requests are shared (JSON), NULL = by the preset. It stays when the hostname is led
 * elsewhere. ERR_NOTFOUND. */
int store_route_balance(struct store *s, const char *hostname, const char *json)
    __attribute__((warn_unused_result));
int store_route_delete(struct store *s, const char *hostname) __attribute__((warn_unused_result));
/* Every route, in order of hostname; `each` returns 0 to go on. */
int store_route_each(struct store *s, int (*each)(void *ctx, const struct dns_route *r), void *ctx)
    __attribute__((warn_unused_result));
size_t store_route_count(struct store *s, const struct uuid *tunnel);

/* ---- configurations ---- */
struct store_config {
    int version; /* from 1 */
    int64_t created_us;
    char *json; /* from malloc */
};
/* The newest version; ERR_NOTFOUND when there is none, ERR_NOMEM. */
int store_config_get(struct store *s, const struct uuid *tunnel, struct store_config *ret)
    __attribute__((warn_unused_result));
/* Its number alone; 0 when there is none. */
int store_config_version(struct store *s, const struct uuid *tunnel, int *ret)
    __attribute__((warn_unused_result));
/* A new version, of a tunnel that is managed remotely from then on. The last
 * REMOTE_CONFIG_VERSIONS_MAX are kept. */
int store_config_put(struct store *s, const struct uuid *tunnel, const char *json, int64_t now_us,
                     int *ret_version) __attribute__((warn_unused_result));

/* ---- API tokens: kept as SHA-256 ---- */
/* Instead of every other token of that name, which is valid no more. */
int store_token_put(struct store *s, const uint8_t hash[static 32], const char *name)
    __attribute__((warn_unused_result));
bool store_token_is_known(struct store *s, const uint8_t hash[static 32]);

/* ---- audit: the last AUDIT_ROWS_MAX changes ---- */
int store_audit(struct store *s, int64_t now_us, const char *actor, const char *action,
                const char *object) __attribute__((warn_unused_result));
