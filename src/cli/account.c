#include "cli/account.h"

#include <stdlib.h>

#include "base/err.h"
#include "cli/http_call.h"

#define API_TIMEOUT         (15 * NSEC_PER_SEC)
#define BODY_BYTES_MAX_HERE (1024 * 1024)

static struct slice api_of(struct cli *c, struct slice local)
{
    return slice_str(arena_fmt(&c->arena, "http://%.*s/client/v4", SLICE_FMT(local)));
}

static int take_first_id(struct cli *c, const struct account *a, const char *what, const char *path,
                         struct slice *ret)
{
    json_t *list;
    int r = account_call(c, a, what, "GET", path, NULL, &list);
    if (r < 0)
        return r;
    *ret = arena_copy(&c->arena, json_member_slice(json_array_get(list, 0), "id"));
    json_decref(list);
    return ret->n > 0 ? 0 : fault_set(&c->fault, ERR_PROTO, "failed to %s: there is none", what);
}

/* Who can read the admin token needs no login. */
int account_of_local_edge(struct cli *c, const struct local_edge *local, struct account *ret)
{
    struct slice token;
    const char *home = getenv("HOME");
    const char *path = arena_fmt(&c->arena, "%s/admin-token", local->dir);
    struct account a = {
        .api = c->o.api_url[0] != 0 ? slice_str(c->o.api_url) : api_of(c, local->local),
        .dir = home != NULL ? arena_fmt(&c->arena, "%s/.cloudflared", home) : ".",
    };
    int r = cli_read_file(c, path, true, &token);
    if (r < 0)
        return r;
    a.cert.token = slice_trim(token);
    a.cert.api = a.api;
    r = take_first_id(c, &a, "list accounts", "/accounts", &a.cert.account);
    if (r == 0)
        r = take_first_id(c, &a, "list zones", "/zones", &a.cert.zone);
    if (r == 0)
        *ret = a;
    return r;
}

static const char *directory_of(struct cli *c, const char *path)
{
    struct slice s = slice_str(path);
    size_t slash = slice_find_last(s, '/');
    return slash < s.n ? arena_str(&c->arena, slice_sub(s, 0, slash)) : ".";
}

/* A flag first; then a data directory that was named; then what the certificate says, which belongs
 * to its edge; then the edge whose data directory is here. Empty when there is none: a token is not
 * sent to whoever happens to listen. */
static struct slice choose_api(struct cli *c, const struct local_edge *local,
                               const struct origin_cert *cert)
{
    struct slice url = cert->api;
    if (c->o.api_url[0] != 0)
        url = slice_str(c->o.api_url);
    else if (local != NULL && (c->o.data_dir[0] != 0 || url.n == 0))
        url = api_of(c, local->local);
    while (url.n > 0 && url.p[url.n - 1] == '/')
        url.n--;
    return url;
}

static int read_cert(struct cli *c, const char *path, struct origin_cert *ret)
{
    struct slice pem;
    int r = cli_read_file(c, path, false, &pem);
    if (r < 0)
        return r;
    r = origin_cert_read(pem, &c->arena, ret, &c->fault);
    if (r < 0)
        (void)fault_at(&c->fault, path, 0, 0);
    return r;
}

int account_open(struct cli *c, struct account *ret)
{
    struct local_edge local = { 0 };
    struct account a = { 0 };
    bool has_local = cli_local_edge(c, &local) == 0;
    const char *path = c->o.origincert[0] != 0 ? c->o.origincert : cli_find_file(c, "cert.pem");
    if (path == NULL && has_local)
        return account_of_local_edge(c, &local, ret);
    if (path == NULL)
        return fault_set(
            &c->fault, ERR_NOTFOUND,
            "there is no cert.pem, and no edge runs on this machine (looked in %s); make cert.pem "
            "on the edge's machine with adit-edge cert --data-dir DIR > cert.pem, and name it with "
            "--origincert",
            c->o.data_dir[0] != 0 ? c->o.data_dir : "./var and /var/lib/adit");
    int r = read_cert(c, path, &a.cert);
    if (r < 0)
        return r;
    a.dir = directory_of(c, path);
    a.api = choose_api(c, has_local ? &local : NULL, &a.cert);
    if (a.api.n == 0)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "%s does not say whose it is, and no edge runs on this machine; name the "
                         "API with --api-url http://HOST:7845/client/v4",
                         path);
    *ret = a;
    return 0;
}

/* ---- calls ---- */

static int refusal(struct cli *c, const char *what, const struct http_answer *answer,
                   const json_t *body)
{
    const json_t *error = json_array_get(json_object_get(body, "errors"), 0);
    int code = answer->status == 404   ? ERR_NOTFOUND
               : answer->status == 409 ? ERR_EXISTS
                                       : ERR_DENIED;
    if (error != NULL)
        return fault_set(&c->fault, code, "failed to %s: code: %lld, reason: %s", what,
                         (long long)json_integer_value(json_object_get(error, "code")),
                         json_string_value(json_object_get(error, "message")) != NULL
                             ? json_string_value(json_object_get(error, "message"))
                             : "");
    return fault_set(&c->fault, code, "failed to %s: the API answered with status %u", what,
                     answer->status);
}

int account_call(struct cli *c, const struct account *a, const char *what, const char *method,
                 const char *path, const json_t *body, json_t **ret)
{
    struct http_answer answer;
    struct strb text;
    json_t *json = NULL;
    const char *url = arena_fmt(&c->arena, "%.*s%s", SLICE_FMT(a->api), path);
    strb_init(&text, BODY_BYTES_MAX_HERE);
    if (body != NULL)
        json_write(&text, body);
    int r = text.err;
    if (r == 0 && c->o.cacert[0] != 0 && c->ca_pem.n == 0)
        r = cli_read_file(c, c->o.cacert, false, &c->ca_pem);
    if (r == 0)
        r = http_call(method, slice_str(url), a->cert.token,
                      body != NULL ? strb_slice(&text) : (struct slice){ 0 }, c->ca_pem,
                      API_TIMEOUT, &c->arena, &answer, &c->fault);
    strb_done(&text);
    if (r < 0)
        return r;
    if (json_parse(answer.body, &json, NULL) < 0 && answer.status == 200)
        return fault_set(&c->fault, ERR_PROTO, "failed to %s: the API's answer is not JSON", what);
    if (answer.status != 200 || !json_is_true(json_object_get(json, "success"))) {
        r = refusal(c, what, &answer, json);
        json_decref(json);
        return r;
    }
    *ret = json_incref(json_object_get(json, "result"));
    json_decref(json);
    return 0;
}

const char *account_escape(struct cli *c, const char *text)
{
    static const char HEX[] = "0123456789ABCDEF";
    size_t n = strlen(text), at = 0;
    char *out = arena_alloc(&c->arena, 3 * n + 1);
    for (size_t i = 0; out != NULL && i < n; i++) {
        unsigned char b = (unsigned char)text[i];
        bool is_plain = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') ||
                        (b >= 'a' && b <= 'z') || b == '-' || b == '.' || b == '_' || b == '~';
        if (is_plain) {
            out[at++] = (char)b;
            continue;
        }
        out[at++] = '%';
        out[at++] = HEX[b >> 4];
        out[at++] = HEX[b & 15];
    }
    return out != NULL ? out : "";
}

int account_id(struct cli *c, const struct account *a, const char *ref,
               char ret[static UUID_TEXT_BYTES])
{
    struct uuid id;
    json_t *list;
    if (uuid_parse(slice_str(ref), &id) == 0) {
        (void)uuid_text(&id, ret);
        return 0;
    }
    const char *path = arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel?is_deleted=false&name=%s",
                                 SLICE_FMT(a->cert.account), account_escape(c, ref));
    int r = account_call(c, a, "find the tunnel", "GET", path, NULL, &list);
    if (r < 0)
        return r;
    bool is_found = uuid_parse(json_member_slice(json_array_get(list, 0), "id"), &id) == 0;
    json_decref(list);
    if (!is_found)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "%s is neither the ID nor the name of any of your tunnels", ref);
    (void)uuid_text(&id, ret);
    return 0;
}

const char *account_zone(struct cli *c, const struct account *a, const char *hostname)
{
    struct slice host = slice_str(hostname), best = { 0 };
    struct fault before = c->fault;
    const char *zone = arena_str(&c->arena, a->cert.zone);
    json_t *zones, *z;
    size_t i;
    if (account_call(c, a, "list zones", "GET", "/zones?per_page=1000", NULL, &zones) < 0) {
        c->fault = before; /* a token of this zone alone may not list them */
        return zone;
    }
    json_array_foreach(zones, i, z)
    {
        struct slice name = json_member_slice(z, "name");
        struct slice tail = slice_sub(host, host.n > name.n ? host.n - name.n : 0, SIZE_MAX);
        bool is_within =
            slice_eq_nocase(tail, name) && (host.n == name.n || host.p[host.n - name.n - 1] == '.');
        if (name.n > best.n && is_within) {
            best = name;
            zone = arena_str(&c->arena, json_member_slice(z, "id"));
        }
    }
    json_decref(zones);
    return zone;
}
