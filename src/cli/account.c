#include "cli/account.h"

#include <stdlib.h>

#include "base/err.h"
#include "cli/http_call.h"

#define API_TIMEOUT         (15 * NSEC_PER_SEC)
#define BODY_BYTES_MAX_HERE (1024 * 1024)

/* The admin token of the edge of this machine: who can read it needs no login. */
static int account_of_local_edge(struct cli *c, const struct local_edge *local, struct account *a)
{
    struct slice token;
    json_t *accounts, *zones;
    const char *path = arena_fmt(&c->arena, "%s/admin-token", local->dir);
    int r = cli_read_file(c, path, true, &token);
    if (r < 0)
        return r;
    a->cert.token = slice_trim(token);
    r = account_call(c, a, "list accounts", "GET", "/accounts", NULL, &accounts);
    if (r < 0)
        return r;
    a->cert.account = arena_copy(&c->arena, json_member_slice(json_array_get(accounts, 0), "id"));
    json_decref(accounts);
    r = account_call(c, a, "list zones", "GET", "/zones", NULL, &zones);
    if (r < 0)
        return r;
    a->cert.zone = arena_copy(&c->arena, json_member_slice(json_array_get(zones, 0), "id"));
    json_decref(zones);
    return 0;
}

static const char *directory_of(struct cli *c, const char *path)
{
    struct slice s = slice_str(path);
    size_t slash = slice_find_last(s, '/');
    return slash < s.n ? arena_str(&c->arena, slice_sub(s, 0, slash)) : ".";
}

static void take_api(struct cli *c, const struct local_edge *local, struct account *a)
{
    const char *url = c->o.api_url[0] != 0
                          ? c->o.api_url
                          : arena_fmt(&c->arena, "http://%.*s/client/v4", SLICE_FMT(local->local));
    a->api = slice_str(url);
    while (a->api.n > 0 && a->api.p[a->api.n - 1] == '/')
        a->api.n--;
}

int account_open(struct cli *c, struct account *ret)
{
    struct local_edge local = { 0 };
    struct account a = { 0 };
    struct slice pem;
    bool has_local = cli_local_edge(c, &local) == 0;
    const char *path = c->o.origincert[0] != 0 ? c->o.origincert : cli_find_file(c, "cert.pem");
    if (c->o.api_url[0] == 0 && !has_local)
        return fault_set(
            &c->fault, ERR_NOTFOUND,
            "no edge runs on this machine (looked in ./var and /var/lib/adit); name its API "
            "with --api-url http://HOST:7845/client/v4");
    take_api(c, &local, &a);
    int r = 0;
    if (path != NULL) {
        a.dir = directory_of(c, path);
        r = cli_read_file(c, path, false, &pem);
        if (r == 0)
            r = origin_cert_read(pem, &c->arena, &a.cert, &c->fault);
        if (r < 0 && c->fault.where[0] == 0)
            (void)fault_at(&c->fault, path, 0, 0);
    } else if (has_local) {
        const char *home = getenv("HOME");
        a.dir = home != NULL ? arena_fmt(&c->arena, "%s/.cloudflared", home) : ".";
        r = account_of_local_edge(c, &local, &a);
    } else {
        r = fault_set(
            &c->fault, ERR_NOTFOUND,
            "there is no cert.pem; make it on the edge's machine with adit-edge cert --data-dir "
            "DIR > cert.pem, and name it with --origincert");
    }
    if (r == 0)
        *ret = a;
    return r;
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
    if (r == 0)
        r = http_call(method, slice_str(url), a->cert.token,
                      body != NULL ? strb_slice(&text) : (struct slice){ 0 }, API_TIMEOUT,
                      &c->arena, &answer, &c->fault);
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

int account_find(struct cli *c, const struct account *a, const char *ref, json_t **ret)
{
    struct uuid id;
    json_t *list;
    bool is_id = uuid_parse(slice_str(ref), &id) == 0;
    for (const char *p = ref; *p != 0; p++)
        if (*p == '&' || *p == '#' || *p == '%' || *p == '+' || *p == ' ')
            return fault_set(&c->fault, ERR_INVALID, "%s: not the name of a tunnel", ref);
    const char *path = arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel?is_deleted=false&%s=%s",
                                 SLICE_FMT(a->cert.account), is_id ? "uuid" : "name", ref);
    int r = account_call(c, a, "find the tunnel", "GET", path, NULL, &list);
    if (r < 0)
        return r;
    *ret = json_incref(json_array_get(list, 0));
    json_decref(list);
    return *ret != NULL ? 0
                        : fault_set(&c->fault, ERR_NOTFOUND,
                                    "there is no tunnel %s; see adit tunnel list", ref);
}
