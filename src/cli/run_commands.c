/* adit tunnel (quick), adit tunnel run. */
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/account.h"
#include "cli/edges.h"
#include "cli/http_call.h"
#include "net/resolve.h"

#define TOKEN_BYTES_MAX 65536
#define QUICK_TIMEOUT   (15 * NSEC_PER_SEC)

/* ---- quick tunnels ---- */

static int take_quick(struct cli *c, const json_t *result, struct credential *cred,
                      const char **ret_hostname, const char **ret_url)
{
    struct slice token = json_member_slice(result, "token"), id = json_member_slice(result, "id");
    const char *url = json_string_value(json_array_get(json_object_get(result, "urls"), 0));
    *ret_hostname = arena_str(&c->arena, json_member_slice(result, "hostname"));
    if (*ret_hostname == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    *ret_url = arena_fmt(&c->arena, "%s%s", url != NULL ? "" : "https://",
                         url != NULL ? url : *ret_hostname);
    if (token.n > 0) /* of our edge: it says where to connect to */
        return tunnel_token_read(token, &c->arena, cred, &c->fault);
    size_t n;
    struct slice secret = json_member_slice(result, "secret");
    uint8_t *bytes = arena_alloc(&c->arena, secret.n + 4);
    if (uuid_parse(id, &cred->tunnel) < 0 || bytes == NULL ||
        base64_decode(secret, BASE64_STD, true, false, bytes, &n) < 0)
        return fault_set(&c->fault, ERR_PROTO,
                         "the quick-tunnel service's answer cannot be understood");
    cred->account = arena_copy(&c->arena, json_member_slice(result, "account_tag"));
    cred->secret = slice_of(bytes, n);
    return 0;
}

static int no_edge(struct cli *c)
{
    if (c->o.data_dir[0] != 0)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "no edge runs with the data directory %s; start one with adit-edge serve "
                         "--data-dir %s",
                         c->o.data_dir, c->o.data_dir);
    return fault_set(&c->fault, ERR_NOTFOUND,
                     "no edge runs on this machine (looked in ./var and /var/lib/adit, and "
                     "at " ACCOUNT_DEFAULT_LOCAL "): start one with adit-edge serve, or name one "
                     "with --quick-service http://HOST:7845");
}

/* --quick-service; the edge of this machine; that of the saved login; whatever has the default
 * address, for who may not read an edge's data directory. */
static int quick_service(struct cli *c, const char **ret, bool *ret_guessed)
{
    struct local_edge local;
    struct account a;
    struct fault before = c->fault;
    *ret_guessed = false;
    if (c->o.quick_service[0] != 0) {
        *ret = c->o.quick_service;
    } else if (cli_local_edge(c, &local) == 0) {
        *ret = arena_fmt(&c->arena, "http://%.*s", SLICE_FMT(local.local));
    } else if (c->o.data_dir[0] != 0) {
        return no_edge(c);
    } else if (account_open(c, &a) == 0 && a.cert.api.n > 0) {
        if (slice_ends(a.api, SLICE("/client/v4")))
            a.api.n -= strlen("/client/v4");
        *ret = arena_str(&c->arena, a.api);
    } else {
        c->fault = before;
        *ret_guessed = true;
        *ret = "http://" ACCOUNT_DEFAULT_LOCAL;
    }
    return *ret != NULL ? 0 : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

static int ask_quick(struct cli *c, const char *service, bool is_guessed, struct credential *cred,
                     const char **ret_hostname, const char **ret_url)
{
    struct http_answer answer;
    json_t *json = NULL;
    struct slice base = slice_str(service);
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    struct slice url = slice_str(arena_fmt(&c->arena, "%.*s/tunnel", SLICE_FMT(base)));
    int r = http_call("POST", url, (struct slice){ 0 }, SLICE(""), c->ca_pem, QUICK_TIMEOUT,
                      &c->arena, &answer, &c->fault);
    if (r == ERR_REFUSED && is_guessed)
        return no_edge(c);
    if (r < 0)
        return r;
    if (json_parse(answer.body, &json, NULL) < 0)
        return fault_set(&c->fault, ERR_PROTO,
                         "the quick-tunnel service answered with status %u and no JSON",
                         answer.status);
    const json_t *error = json_array_get(json_object_get(json, "errors"), 0);
    if (error != NULL)
        r = fault_set(&c->fault, ERR_DENIED, "no quick tunnel: %s",
                      json_string_value(json_object_get(error, "message")) != NULL
                          ? json_string_value(json_object_get(error, "message"))
                          : "the service refuses");
    else
        r = take_quick(c, json_object_get(json, "result"), cred, ret_hostname, ret_url);
    json_decref(json);
    return r;
}

int cmd_tunnel(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct credential cred = { 0 };
    struct ingress *ingress = NULL;
    const char *hostname = NULL, *url = NULL, *service = NULL;
    bool is_guessed = false;
    if (c->o.url[0] == 0 && !c->o.hello_world && !c->o.bastion && c->o.unix_socket[0] == 0) {
        (void)fault_set(&c->fault, ERR_INVALID,
                        "say what to expose, as in adit tunnel --url http://localhost:8000, or run "
                        "a named tunnel "
                        "with adit tunnel run NAME");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    int r = cli_ingress(c, &ingress);
    if (r == 0)
        r = quick_service(c, &service, &is_guessed);
    if (r == 0)
        r = cli_confine(c, ingress);
    if (r == 0)
        r = ask_quick(c, service, is_guessed, &cred, &hostname, &url);
    if (r < 0) {
        ingress_unref(ingress);
        return cli_complain(c);
    }
    log_info("Your quick tunnel has been created", LSTR("hostname", hostname), LSTR("url", url));
    int status = cli_connect(c, &cred, hostname, ingress);
    ingress_unref(ingress);
    return status;
}

/* ---- named tunnels ---- */

static int read_token_text(struct cli *c, struct slice *ret)
{
    /* The token wins, as with the reference; but not one that is lying about in the environment
     * over a file that is named here and now. */
    if (c->o.token[0] != 0 &&
        opt_source_of(&c->table, "token") >= opt_source_of(&c->table, "token-file")) {
        *ret = slice_str(c->o.token);
        return 0;
    }
    if (c->o.token_file[0] == 0) {
        *ret = slice_str(c->o.token);
        return 0;
    }
    if (c->o.token_file[0] != '-' || c->o.token_file[1] != 0)
        return cli_read_file(c, c->o.token_file, false, ret);
    char *text = arena_alloc(&c->arena, TOKEN_BYTES_MAX);
    size_t n = text != NULL ? fread(text, 1, TOKEN_BYTES_MAX, stdin) : 0;
    *ret = slice_of(text, n);
    return n > 0 ? 0 : fault_set(&c->fault, ERR_IO, "no token came on standard input");
}

static struct slice strip(struct slice s)
{
    while (s.n > 0 && (s.p[0] <= ' '))
        s = slice_sub(s, 1, SIZE_MAX);
    while (s.n > 0 && s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

static int credential_of_token(struct cli *c, struct credential *cred)
{
    struct slice text;
    int r = read_token_text(c, &text);
    return r < 0 ? r : tunnel_token_read(strip(text), &c->arena, cred, &c->fault);
}

/* The id of the tunnel that is meant, looked up by name at the API when it is no id. */
static int tunnel_id(struct cli *c, const char *ref, char id[static UUID_TEXT_BYTES])
{
    struct account a;
    struct uuid uuid;
    if (uuid_parse(slice_str(ref), &uuid) == 0) {
        (void)uuid_text(&uuid, id);
        return 0;
    }
    int r = account_open(c, &a);
    /* A thread that looks up names must not be there before confinement. */
    resolve_in_place(true);
    if (r == 0)
        r = account_id(c, &a, ref, id);
    resolve_in_place(false);
    return r;
}

static int find_credentials(struct cli *c, const char *id, const char **ret)
{
    const char *name = arena_fmt(&c->arena, "%s.json", id);
    *ret = c->o.credentials_file[0] != 0 ? c->o.credentials_file : NULL;
    if (*ret == NULL && c->o.origincert[0] != 0) {
        struct slice path = slice_str(c->o.origincert);
        size_t slash = slice_find_last(path, '/');
        const char *beside =
            slash < path.n ? arena_fmt(&c->arena, "%.*s/%s", (int)slash, c->o.origincert, name)
                           : name;
        if (access(beside, R_OK) == 0)
            *ret = beside;
    }
    if (*ret == NULL)
        *ret = cli_find_file(c, name);
    return *ret != NULL
               ? 0
               : fault_set(&c->fault, ERR_NOTFOUND,
                           "the credentials of tunnel %s were not found; name their file with "
                           "--credentials-file, or use its token: adit tunnel token %s",
                           id, id);
}

/* The text of the credentials that were given by --credentials-contents or --credentials-file, or
 * of those that are found by the tunnel's id. *ret_path is for messages. */
static int read_credentials(struct cli *c, const char *ref, char id[static UUID_TEXT_BYTES],
                            struct slice *ret, const char **ret_path)
{
    int r = 0;
    *ret_path = "--credentials-contents";
    if (c->o.credentials_contents[0] != 0) {
        *ret = slice_str(c->o.credentials_contents);
        return 0;
    }
    if (c->o.credentials_file[0] == 0)
        r = ref != NULL ? tunnel_id(c, ref, id)
                        : fault_set(&c->fault, ERR_INVALID,
                                    "say which tunnel to run: adit tunnel run NAME|ID, --token, or "
                                    "tunnel: in the configuration file");
    if (r == 0)
        r = find_credentials(c, id, ret_path);
    return r == 0 ? cli_read_file(c, *ret_path, false, ret) : r;
}

/* Names are looked up at the API only when the credentials do not say whose they are. */
static int credential_of_file(struct cli *c, const char *ref, struct credential *cred)
{
    char id[UUID_TEXT_BYTES] = "";
    const char *path;
    struct slice json;
    struct uuid given;
    bool has_id = false;
    int r = read_credentials(c, ref, id, &json, &path);
    if (r < 0)
        return r;
    r = credential_read(json, &c->arena, cred, &has_id, &c->fault);
    if (r < 0) {
        (void)fault_at(&c->fault, path, 0, 0);
        return r;
    }
    if (ref != NULL && uuid_parse(slice_str(ref), &given) == 0) {
        cred->tunnel = given;
        return 0;
    }
    if (has_id)
        return 0;
    if (ref == NULL)
        return fault_set(&c->fault, ERR_INVALID,
                         "%s does not say of which tunnel it is: adit tunnel run ID", path);
    r = tunnel_id(c, ref, id);
    return r == 0 && uuid_parse(slice_str(id), &cred->tunnel) < 0 ? ERR_PROTO : r;
}

int cmd_run(struct cli *c, int argc, char **argv)
{
    struct credential cred = { 0 };
    struct ingress *ingress = NULL;
    const struct yaml_node *named = yaml_get(c->file, "tunnel");
    const char *ref = argc > 0 ? argv[0] : named != NULL ? arena_str(&c->arena, named->text) : NULL;
    if (argc > 1) {
        (void)fault_set(&c->fault, ERR_INVALID,
                        "one tunnel is run at a time: adit tunnel run NAME|ID");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    bool has_token = c->o.token[0] != 0 || c->o.token_file[0] != 0;
    int r = has_token ? credential_of_token(c, &cred) : credential_of_file(c, ref, &cred);
    if (r == 0)
        r = cli_ingress(c, &ingress);
    if (r == 0 && ingress == NULL) {
        log_warn("no ingress rules: every request will be answered with 503; use --url, or "
                 "ingress: in config.yml");
        /* It asks no origin: the edge is told of a request without values (§18.5). */
        r = ingress_single("http_status:503", &(struct origin_request){ 0 }, &ingress, &c->fault);
    }
    if (r == 0) {
        edges_keep(c, &cred);
        r = cli_confine(c, ingress);
    }
    if (r < 0) {
        ingress_unref(ingress);
        return cli_complain(c);
    }
    int status = cli_connect(c, &cred, NULL, ingress);
    ingress_unref(ingress);
    return status;
}
