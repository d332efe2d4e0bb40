/* adit tunnel (quick), adit tunnel run, adit tunnel ingress. */
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/account.h"
#include "cli/http_call.h"
#include "codec/uri.h"

#define TOKEN_BYTES_MAX 65536
#define QUICK_TIMEOUT   (15 * NSEC_PER_SEC)

/* ---- quick tunnels ---- */

static int take_quick(struct cli *c, const json_t *result, struct credential *cred,
                      const char **ret_hostname)
{
    struct slice token = json_member_slice(result, "token"), id = json_member_slice(result, "id");
    *ret_hostname = arena_str(&c->arena, json_member_slice(result, "hostname"));
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

static int ask_quick(struct cli *c, struct credential *cred, const char **ret_hostname)
{
    struct local_edge local;
    struct http_answer answer;
    json_t *json = NULL;
    const char *base = c->o.quick_service;
    if (base[0] == 0) {
        if (cli_local_edge(c, &local) < 0)
            return fault_set(
                &c->fault, ERR_NOTFOUND,
                "no edge runs on this machine (looked in ./var and /var/lib/adit): start one with "
                "adit-edge serve, or name one with --quick-service http://HOST:7845");
        base = arena_fmt(&c->arena, "http://%.*s", SLICE_FMT(local.local));
    }
    struct slice url = slice_str(arena_fmt(&c->arena, "%s/tunnel", base));
    int r = http_call("POST", url, (struct slice){ 0 }, SLICE(""), QUICK_TIMEOUT, &c->arena,
                      &answer, &c->fault);
    if (r < 0)
        return r;
    if (json_parse(answer.body, &json, NULL) < 0)
        return fault_set(&c->fault, ERR_PROTO,
                         "the quick-tunnel service answered with status %u and no JSON",
                         answer.status);
    const json_t *error = json_array_get(json_object_get(json, "errors"), 0);
    if (error != NULL)
        r = fault_set(&c->fault, ERR_DENIED, "no quick tunnel: %s",
                      json_string_value(json_object_get(error, "message")));
    else
        r = take_quick(c, json_object_get(json, "result"), cred, ret_hostname);
    json_decref(json);
    return r;
}

int cmd_tunnel(struct cli *c)
{
    struct credential cred = { 0 };
    struct ingress *ingress = NULL;
    const char *hostname;
    if (c->o.url[0] == 0 && !c->o.hello_world && c->o.unix_socket[0] == 0) {
        (void)fault_set(&c->fault, ERR_INVALID,
                        "say what to expose, as in adit tunnel --url http://localhost:8000, or run "
                        "a named tunnel "
                        "with adit tunnel run NAME");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    if (cli_ingress(c, &ingress) < 0 || ask_quick(c, &cred, &hostname) < 0)
        return cli_complain(c);
    log_info("Your quick tunnel has been created", LSTR("hostname", hostname));
    int status = cli_connect(c, &cred, hostname, ingress);
    ingress_unref(ingress);
    return status;
}

/* ---- named tunnels ---- */

static int read_token_text(struct cli *c, struct slice *ret)
{
    if (opt_source_of(&c->table, "token") == OPT_FROM_FLAG || c->o.token_file[0] == 0) {
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

/* The id of the tunnel that is meant: an argument, or `tunnel` of the file; looked up by name at
 * the API when it is no id. */
static int tunnel_id(struct cli *c, const char *ref, char id[static UUID_TEXT_BYTES])
{
    struct account a;
    struct uuid uuid;
    json_t *tunnel;
    if (uuid_parse(slice_str(ref), &uuid) == 0) {
        (void)uuid_text(&uuid, id);
        return 0;
    }
    int r = account_open(c, &a);
    if (r == 0)
        r = account_find(c, &a, ref, &tunnel);
    if (r < 0)
        return r;
    (void)snprintf(id, UUID_TEXT_BYTES, "%s", json_string_value(json_object_get(tunnel, "id")));
    json_decref(tunnel);
    return 0;
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

static int credential_of_file(struct cli *c, const char *ref, struct credential *cred)
{
    char id[UUID_TEXT_BYTES];
    const char *path = "credentials-contents";
    struct slice json;
    bool has_id = false;
    int r = 0;
    if (c->o.credentials_contents[0] != 0) {
        json = slice_str(c->o.credentials_contents);
    } else {
        if (c->o.credentials_file[0] == 0 || ref != NULL)
            r = ref != NULL ? tunnel_id(c, ref, id)
                            : fault_set(&c->fault, ERR_INVALID,
                                        "say which tunnel to run: adit tunnel run NAME|ID, "
                                        "--token, or tunnel: in the "
                                        "configuration file");
        if (r == 0)
            r = find_credentials(c, ref != NULL ? id : "", &path);
        if (r == 0)
            r = cli_read_file(c, path, false, &json);
    }
    if (r == 0)
        r = credential_read(json, &c->arena, cred, &has_id, &c->fault);
    if (r == 0 && !has_id && (ref == NULL || uuid_parse(slice_str(id), &cred->tunnel) < 0))
        r = fault_set(&c->fault, ERR_INVALID, "%s names no tunnel", path);
    if (r < 0 && c->fault.where[0] == 0 && c->fault.code == ERR_PARSE)
        (void)fault_at(&c->fault, path, 0, 0);
    return r;
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
    if (r < 0)
        return cli_complain(c);
    int status = cli_connect(c, &cred, NULL, ingress);
    ingress_unref(ingress);
    return status;
}

/* ---- ingress ---- */

static int load_rules(struct cli *c, struct ingress **ret)
{
    if (c->file_path == NULL)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "there is no configuration file; name it with --config");
    return ingress_from_yaml(c->file, c->file_path, ret, &c->fault);
}

int cmd_ingress_validate(struct cli *c)
{
    struct ingress *i = NULL;
    if (c->file_path != NULL)
        (void)printf("Validating rules from %s\n", c->file_path);
    (void)fflush(stdout);
    if (load_rules(c, &i) < 0)
        return cli_complain(c);
    (void)printf("OK\n");
    ingress_unref(i);
    return 0;
}

int cmd_ingress_rule(struct cli *c, int argc, char **argv)
{
    struct ingress *i = NULL;
    struct uri u;
    size_t n;
    if (argc != 1 || uri_parse(slice_str(argv[0]), &u) < 0 || !u.has_authority) {
        (void)fault_set(
            &c->fault, ERR_INVALID,
            "ingress rule needs one URL: adit tunnel ingress rule https://HOSTNAME/PATH");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    if (c->file_path != NULL)
        (void)printf("Using rules from %s\n", c->file_path);
    (void)fflush(stdout);
    if (load_rules(c, &i) < 0)
        return cli_complain(c);
    struct slice path = arena_copy(&c->arena, u.path);
    if (path.p == NULL || uri_unescape(path, (uint8_t *)(uintptr_t)path.p, &n) < 0)
        n = path.n;
    size_t index = ingress_match(i, u.at.host, slice_of(path.p, n));
    const struct rule *rule = ingress_rule(i, index);
    (void)printf("Matched rule #%zu\n", index);
    if (rule->hostname.n > 0)
        (void)printf("\thostname: %.*s\n", SLICE_FMT(rule->hostname));
    if (rule->path.n > 0)
        (void)printf("\tpath: %.*s\n", SLICE_FMT(rule->path));
    (void)printf("\tservice: %.*s\n", SLICE_FMT(rule->service.text));
    ingress_unref(i);
    return 0;
}
