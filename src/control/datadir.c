#include "control/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "crypto/keyfile.h"
#include "crypto/random.h"

#define PEM_BYTES_MAX 65536
#define LEAF_DAYS     90
#define RENEW_SECONDS (30 * 86400)

char *datadir_file(const char *dir, const char *name, char to[static DATADIR_PATH_BYTES])
{
    (void)snprintf(to, DATADIR_PATH_BYTES, "%s/%s", dir, name);
    return to;
}

/* ---- the directory ---- */

static int make_dirs(const char *path, struct fault *fault)
{
    char part[DATADIR_PATH_BYTES];
    for (size_t i = 1; path[i - 1] != 0 && i < sizeof part; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return fault_set(fault, err_from_errno(errno),
                             "%s cannot be made: %s; choose another with --data-dir", part,
                             strerror(errno));
    }
    return 0;
}

/* Who may write here could have put keys of his own in place of ours, or taken them for a look.
 * That others may look into the directory is its owner's choice: each secret in it has a mode of
 * its own. */
static int check_dir(const char *path, struct fault *fault)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return fault_set(fault, err_from_errno(errno), "%s: %s", path, strerror(errno));
    if (st.st_uid != geteuid() && geteuid() != 0)
        return fault_set(fault, ERR_DENIED,
                         "the data directory %s is another user's; choose another with --data-dir",
                         path);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fault_set(fault, ERR_DENIED,
                         "others than its owner may write in the data directory %s: chmod 700 it",
                         path);
    return 0;
}

/* What is not read whole at the start, where file_read looks at the mode. */
static int check_database(const char *path, struct fault *fault)
{
    static const char *const NAMES[] = { "adit.db", "adit.db-wal", "adit.db-shm" };
    char file[DATADIR_PATH_BYTES];
    struct stat st;
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (lstat(datadir_file(path, NAMES[i], file), &st) == 0 && (st.st_mode & 077) != 0)
            return fault_set(fault, ERR_DENIED,
                             "%s holds secrets, but others than its owner may read it: chmod 600 "
                             "it",
                             file);
    return 0;
}

void datadir_claim(struct datadir *d)
{
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, pid, (size_t)n, 0) < 0)
        log_warn("the lock's process number could not be written", LSTR("directory", d->path));
}

static int take_lock(struct datadir *d, struct fault *fault)
{
    char file[DATADIR_PATH_BYTES], pid[32] = "";
    d->lock_fd = open(datadir_file(d->path, "lock", file), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return fault_set(fault, err_from_errno(errno),
                         "%s cannot be opened: %s; choose another directory with --data-dir", file,
                         strerror(errno));
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(d->lock_fd, F_OFD_SETLK, &lock) < 0) {
        ssize_t n = pread(d->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = 0;
        return fault_set(
            fault, ERR_BUSY,
            "the data directory %s is in use by another edge (process %s); take over from it with "
            "--upgrade, stop it, or choose another with --data-dir",
            d->path, pid[0] != 0 ? pid : "unknown");
    }
    datadir_claim(d);
    /* Of an edge that was killed: whoever reads it must not be led to where nobody is. */
    (void)unlink(datadir_file(d->path, "addresses.json", file));
    return 0;
}

/* ---- files that are made once ---- */

/* Exactly n bytes, random on the first start. */
static int keep_bytes(const char *dir, const char *name, uint8_t *ret, size_t n,
                      struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    char *text;
    size_t got;
    int r = file_read(datadir_file(dir, name, file), n, true, &text, &got, fault);
    if (r == ERR_NOTFOUND) {
        random_bytes(ret, n);
        return file_create(file, slice_of(ret, n), 0600, fault);
    }
    if (r < 0)
        return r;
    if (got == n)
        memcpy(ret, text, n);
    explicit_bzero(text, got);
    free(text);
    return got == n ? 0 : fault_set(fault, ERR_PARSE, "%s must have %zu bytes", file, n);
}

static int keep_token(struct datadir *d, struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    int r = datadir_admin_token(d->path, d->admin_token, fault);
    if (r != ERR_NOTFOUND)
        return r;
    random_token(d->admin_token, ADMIN_TOKEN_BYTES);
    return file_create(datadir_file(d->path, "admin-token", file),
                       slice_of(d->admin_token, ADMIN_TOKEN_BYTES), 0600, fault);
}

int datadir_admin_token(const char *path, char ret[static ADMIN_TOKEN_BYTES + 1],
                        struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    char *text;
    size_t n;
    int r = file_read(datadir_file(path, "admin-token", file), ADMIN_TOKEN_BYTES + 1, true, &text,
                      &n, fault);
    if (r < 0)
        return r;
    if (n > ADMIN_TOKEN_BYTES && text[n - 1] == '\n')
        n--;
    if (n != ADMIN_TOKEN_BYTES) {
        free(text);
        return fault_set(fault, ERR_PARSE, "%s must have %d characters", file, ADMIN_TOKEN_BYTES);
    }
    memcpy(ret, text, ADMIN_TOKEN_BYTES);
    ret[ADMIN_TOKEN_BYTES] = 0;
    explicit_bzero(text, n);
    free(text);
    return 0;
}

/* ---- certificates ---- */

static int read_pair(const char *dir, const char *cert, const char *key, struct x509_pair *ret,
                     struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    struct x509_pair p = { 0 };
    size_t n;
    int r = file_read(datadir_file(dir, cert, file), PEM_BYTES_MAX, false, &p.cert_pem, &n, fault);
    if (r == 0)
        r = file_read(datadir_file(dir, key, file), PEM_BYTES_MAX, true, &p.key_pem, &n, fault);
    if (r < 0)
        x509_pair_free(&p);
    else
        *ret = p;
    return r;
}

static int write_pair(const char *dir, const char *cert, mode_t mode, const char *key,
                      const struct x509_pair *p, struct fault *fault)
{
    char file[DATADIR_PATH_BYTES];
    int r = file_write(datadir_file(dir, key, file), slice_str(p->key_pem), 0600, fault);
    return r < 0 ? r
                 : file_write(datadir_file(dir, cert, file), slice_str(p->cert_pem), mode, fault);
}

static int keep_ca(struct datadir *d, struct x509_pair *ret, struct fault *fault)
{
    int r = read_pair(d->path, "ca.pem", "ca.key", ret, fault);
    if (r != ERR_NOTFOUND)
        return r;
    /* The key is written first: a certificate without one is no first start that broke off. With a
     * new CA, every token and every --cacert out there would be worthless. */
    char file[DATADIR_PATH_BYTES];
    if (access(datadir_file(d->path, "ca.pem", file), F_OK) == 0)
        return fault_set(fault, r,
                         "%s/ca.key is missing though ca.pem is there; put it back, or move ca.pem "
                         "away for a new CA, which no connector of today will trust",
                         d->path);
    r = x509_make_ca("Adit edge", ret, fault);
    if (r == 0)
        r = write_pair(d->path, "ca.pem", 0644, "ca.key", ret, fault);
    return r;
}

static int keep_server(struct datadir *d, const struct x509_pair *ca, const char *const *names,
                       struct fault *fault)
{
    int64_t end;
    int r = read_pair(d->path, "server.pem", "server.key", &d->server, fault);
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    bool is_good = r == 0 && x509_not_after(slice_str(d->server.cert_pem), &end) == 0 &&
                   end - RENEW_SECONDS > (int64_t)time(NULL) &&
                   x509_names_are(slice_str(d->server.cert_pem), names);
    if (is_good)
        return 0;
    x509_pair_free(&d->server);
    r = x509_issue(ca, names, LEAF_DAYS, &d->server, fault);
    if (r == 0)
        r = write_pair(d->path, "server.pem", 0600, "server.key", &d->server, fault);
    return r;
}

int datadir_open(const char *path, const char *const *names, int lock_fd, struct datadir *ret,
                 struct fault *fault)
{
    struct datadir d = { .lock_fd = lock_fd };
    int r = 0;
    if (snprintf(d.path, sizeof d.path, "%s", path) >= (int)sizeof d.path - 32)
        r = fault_set(fault, ERR_TOOLARGE, "the data directory's path is too long");
    if (r == 0)
        r = make_dirs(d.path, fault);
    if (r == 0)
        r = check_dir(d.path, fault);
    if (r == 0)
        r = check_database(d.path, fault);
    if (r == 0 && lock_fd < 0)
        r = take_lock(&d, fault);
    if (r == 0)
        r = keep_ca(&d, &d.ca, fault);
    if (r == 0)
        r = keep_server(&d, &d.ca, names, fault);
    if (r == 0)
        r = keep_bytes(d.path, "seal.key", d.seal_key, sizeof d.seal_key, fault);
    if (r == 0)
        r = keep_bytes(d.path, "quic.secret", d.quic_secret, sizeof d.quic_secret, fault);
    if (r == 0)
        r = keep_token(&d, fault);
    if (r == 0 && x509_pin(slice_str(d.ca.cert_pem), d.pin) < 0)
        r = fault_set(fault, ERR_CERT, "%s/ca.pem is not a certificate", path);
    if (r == 0)
        *ret = d;
    else
        datadir_close(&d);
    return r;
}

void datadir_close(struct datadir *d)
{
    x509_pair_free(&d->server);
    x509_pair_free(&d->ca);
    explicit_bzero(d->seal_key, sizeof d->seal_key);
    explicit_bzero(d->quic_secret, sizeof d->quic_secret);
    explicit_bzero(d->admin_token, sizeof d->admin_token);
    if (d->lock_fd >= 0)
        (void)close(d->lock_fd);
    d->lock_fd = -1;
}
