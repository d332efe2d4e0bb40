#pragma once
/* The control plane's records as plain data. Strings are owned by whoever made the struct (arena or
 * caller). */
#include "base/text.h"

#define TUNNEL_NAME_BYTES_MAX   100
#define TUNNEL_SECRET_BYTES_MAX 256
#define ACCOUNT_ID_BYTES        33 /* 32 hexadecimal digits and NUL */

struct tunnel {
    struct uuid id;
    char name[TUNNEL_NAME_BYTES_MAX * 4 + 1]; /* UTF-8 */
    uint8_t secret[TUNNEL_SECRET_BYTES_MAX];
    size_t secret_bytes;
    int64_t created_us, deleted_us; /* since 1970; 0 = not */
    bool is_quick;
    bool is_remote; /* configured from the edge */
};

struct dns_route {
    char hostname[256]; /* lower case; may begin with "*." */
    struct uuid tunnel;
    int64_t created_us;
    const char *balance; /* JSON (model/balance.h), or NULL; while the route is shown */
};
