#pragma once
/* The edge's data directory: what the first start makes and every later one keeps. 0700; each file
 * 0600 but ca.pem and addresses.json.
 * The files: lock, ca.pem, ca.key, server.pem, server.key, seal.key, quic.secret, admin-token,
 * adit.db, addresses.json. */
#include <sys/types.h>

#include "base/fault.h"
#include "crypto/x509.h"

#define DATADIR_PATH_BYTES 1024
#define ADMIN_TOKEN_BYTES  43

struct datadir {
    char path[DATADIR_PATH_BYTES];
    int lock_fd;
    struct x509_pair ca; /* signs what visitors are shown, hostname by hostname */
    struct x509_pair
        server; /* for connectors, and visitors who ask for no name: leaf and CA; key */
    uint8_t seal_key[32], quic_secret[32];
    char admin_token[ADMIN_TOKEN_BYTES + 1];
    uint8_t pin[32]; /* of the CA */
};

/* Makes what is missing and locks it: `lock` holds the process's number and is write-locked (fcntl,
 * F_OFD_SETLK) while an edge runs, so that others can ask without taking it. `names`: those of
 * the server's certificate, NULL-terminated. `lock_fd`: the lock, from the edge that has it, and
 * taken over in any case; -1 = it is taken. ERR_BUSY when another edge uses it; ERR_DENIED when
 * others may write in it, or read a secret in it. */
int datadir_open(const char *path, const char *const *names, int lock_fd, struct datadir *ret,
                 struct fault *fault) __attribute__((warn_unused_result));
/* Writes our process into a lock that came from another. */
void datadir_claim(struct datadir *d);
/* Only reads the admin token and such, for `adit-edge cert`: no lock. ERR_NOTFOUND. */
int datadir_admin_token(const char *path, char ret[static ADMIN_TOKEN_BYTES + 1],
                        struct fault *fault) __attribute__((warn_unused_result));
void datadir_close(struct datadir *d);
/* Path of a file in it. Returns `to`. */
char *datadir_file(const char *dir, const char *name, char to[static DATADIR_PATH_BYTES]);
