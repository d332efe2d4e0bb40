#include "connector/ingress_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "connector/access_policy.h"
#include "connector/client_identity.h"
#include "connector/rule_extras.h"
#include "crypto/keyfile.h"

#define CA_BYTES_MAX   (4 * 1024 * 1024)
#define CERT_BYTES_MAX (256 * 1024) /* one certificate with its chain, or its key */

/* A file that the kernel lets be read by its mode and does not let be opened is kept away by the
 * sandbox (Landlock), which access(2) does not ask. Whoever sent the rules cannot know; who started
 * the connector must. */
static bool is_behind_sandbox(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd < 0 && errno == EACCES && access(path, R_OK) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is;
}

#define SANDBOX_HINT                                                                               \
    "the sandbox keeps this connector from it: start it with --sandbox-read and the file's "       \
    "directory"

/* `what` names the key that has the path. An empty path gives nothing. */
static int load_file(struct slice path, const char *what, size_t bytes_max, bool is_secret,
                     char **ret, struct slice *ret_text, struct fault *f)
{
    char name[4096];
    size_t n = 0;
    if (path.n == 0)
        return 0;
    if (path.n >= sizeof name)
        return fault_set(f, ERR_TOOLARGE, "%s: the path is too long", what);
    memcpy(name, path.p, path.n);
    name[path.n] = 0;
    int e = file_read(name, bytes_max, is_secret, ret, &n, f);
    *ret_text = slice_of(*ret, n);
    if (e == ERR_DENIED && is_behind_sandbox(name))
        return fault_set(f, e, "%s: %s: %s", what, name, SANDBOX_HINT);
    return e;
}

/* In the reference's words, which name a flag whatever the path came from. */
static int load_ca(const struct rule *r, char **ret, struct slice *ret_text, struct fault *f)
{
    struct slice path = r->request.ca_pool;
    struct fault inner = { 0 };
    int e = load_file(path, "caPool", CA_BYTES_MAX, false, ret, ret_text, &inner);
    bool is_plain = e == ERR_NOTFOUND || e == ERR_DENIED;
    bool is_sandboxed = strstr(inner.text, SANDBOX_HINT) != NULL;
    if (e == 0)
        return 0;
    return fault_set(f, e,
                     "failed to start origin: Error starting local service %.*s: Error loading "
                     "cert pool: unable to read the file %.*s for --origin-ca-pool: %s%.*s%s%s",
                     SLICE_FMT(r->service.text), SLICE_FMT(path), is_plain ? "open " : "",
                     is_plain ? (int)path.n : (int)strlen(inner.text),
                     is_plain ? (const char *)path.p : inner.text,
                     e == ERR_NOTFOUND ? ": no such file or directory"
                     : is_plain        ? ": permission denied"
                                       : "",
                     is_sandboxed ? "; " SANDBOX_HINT : "");
}

/* Of services that never speak TLS too: whoever names a file means it to be there. */
static bool wants_ca(const struct rule *r)
{
    return r->service.kind == SERVICE_HTTP || r->service.kind == SERVICE_UNIX ||
           r->service.kind == SERVICE_HELLO;
}

static int check_ca(const struct rule *r, struct fault *f)
{
    struct slice text;
    char *ca = NULL;
    int e = load_ca(r, &ca, &text, f);
    free(ca);
    return e;
}

static struct slice extra_path(const struct rule *r, bool is_key)
{
    if (r->extras == NULL)
        return SLICE("");
    return is_key ? r->extras->key : r->extras->certificate;
}

/* The credentials of a rule before this one that would be the same: the system's roots alone are a
 * megabyte. */
static bool share_creds(const struct ingress *i, size_t index)
{
    struct rule *r = &i->rules[index];
    for (size_t k = 0; k < index; k++) {
        const struct rule *o = &i->rules[k];
        if (o->tls != NULL && o->request.http2 == r->request.http2 &&
            o->request.no_tls_verify == r->request.no_tls_verify &&
            slice_eq(o->request.ca_pool, r->request.ca_pool) &&
            slice_eq(extra_path(o, false), extra_path(r, false)) &&
            slice_eq(extra_path(o, true), extra_path(r, true))) {
            r->tls = tls_creds_ref(o->tls);
            r->tls_h2 = o->tls_h2 != NULL ? tls_creds_ref(o->tls_h2) : NULL;
            r->identity = o->identity != NULL ? client_identity_ref(o->identity) : NULL;
            return true;
        }
    }
    return false;
}

int ingress_load_rule(struct rule *r, struct fault *f)
{
    static const char *const ALPN[] = { "http/1.1", NULL };
    static const char *const ALPN_H2[] = { "h2", "http/1.1", NULL };
    struct tls_client_opts opts = { .system_roots = true,
                                    .verify = !r->request.no_tls_verify,
                                    .alpn = ALPN };
    char *ca = NULL, *cert = NULL, *key = NULL;
    int e = load_ca(r, &ca, &opts.ca_pem, f);
    if (e == 0 && r->extras != NULL)
        e = load_file(r->extras->certificate, "clientCertificate.certificate", CERT_BYTES_MAX,
                      false, &cert, &opts.cert_pem, f);
    if (e == 0 && r->extras != NULL)
        e = load_file(r->extras->key, "clientCertificate.key", CERT_BYTES_MAX, true, &key,
                      &opts.key_pem, f);
    if (e == 0)
        e = tls_creds_client(&opts, &r->tls, f);
    opts.alpn = ALPN_H2;
    if (e == 0 && r->request.http2)
        e = tls_creds_client(&opts, &r->tls_h2, f);
    free(ca);
    free(cert);
    if (key != NULL)
        explicit_bzero(key, opts.key_pem.n);
    free(key);
    return e;
}

static int begin_rule(struct rule *r, struct fault *f)
{
    if (extra_path(r, false).n > 0) {
        r->identity = client_identity_new(r);
        if (r->identity == NULL)
            return fault_set(f, ERR_NOMEM, "out of memory");
    }
    return ingress_load_rule(r, f);
}

/* Rules with the same roots share them: the system's store alone is a megabyte. */
static int load_access(struct access_policy *p, const struct access_policy **last, struct fault *f)
{
    static const char *const ALPN[] = { "http/1.1", NULL };
    struct tls_client_opts opts = { .system_roots = true, .verify = true, .alpn = ALPN };
    char *ca = NULL;
    int e = 0;
    if (p == NULL || p->tls != NULL)
        return 0;
    if (*last != NULL && slice_eq((*last)->ca_pool, p->ca_pool)) {
        p->tls = tls_creds_ref((*last)->tls);
        return 0;
    }
    e = load_file(p->ca_pool, "access.caPool", CA_BYTES_MAX, false, &ca, &opts.ca_pem, f);
    if (e == 0)
        e = tls_creds_client(&opts, &p->tls, f);
    free(ca);
    *last = e == 0 ? p : *last;
    return e;
}

/* Where the reference would let everybody in, its users should hear that we do not. */
static void warn_of_global_access(const struct ingress *i)
{
    for (size_t k = 0; k < i->count; k++) {
        if (i->rules[k].access == NULL || !i->rules[k].request.access_is_global)
            continue;
        log_warn("access stands above the rules: a token is wanted at each rule without an access "
                 "of its own; cloudflared would ask for none",
                 LU64("first_rule", k));
        return;
    }
}

int ingress_load_tls(struct ingress *i, struct fault *f)
{
    const struct access_policy *last = NULL;
    for (size_t k = 0; k < i->count; k++) {
        struct rule *r = &i->rules[k];
        int e = 0;
        if (rule_has_tls(r) && r->tls == NULL && !share_creds(i, k))
            e = begin_rule(r, f);
        else if (!rule_has_tls(r) && wants_ca(r))
            e = check_ca(r, f);
        if (e == 0)
            e = load_access(i->rules[k].access, &last, f);
        if (e < 0)
            return e;
    }
    warn_of_global_access(i);
    return 0;
}
