/* adit tunnel create|delete|token|cleanup|route dns|login. Words and exit statuses are the
 * reference's where it has any. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/account.h"
#include "cli/table.h"
#include "crypto/keyfile.h"
#include "crypto/random.h"

#define SECRET_BYTES_MIN 32

static const char *tunnel_path(struct cli *c, const struct account *a, const char *id,
                               const char *rest)
{
    return arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel%s%s%s", SLICE_FMT(a->cert.account),
                     id[0] != 0 ? "/" : "", id, rest);
}

/* ---- credentials files ---- */

/* Never over a file that is there: it may be the only copy of another tunnel's secret. */
static int write_credentials(struct cli *c, const char *dir, const char *token, const char *path)
{
    struct credential cred;
    int r = tunnel_token_read(slice_str(token), &c->arena, &cred, &c->fault);
    if (r < 0)
        return r;
    if (c->o.credentials_file[0] == 0 && mkdir(dir, 0700) < 0 && access(dir, W_OK) < 0)
        return fault_set(&c->fault, ERR_IO,
                         "%s cannot be written; name a file with --credentials-file", dir);
    const char *text = credential_write(&cred, &c->arena);
    return text != NULL ? file_create(path, slice_str(text), 0400, &c->fault)
                        : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

/* ---- create ---- */

static int check_secret(struct cli *c, const char *text)
{
    size_t n = strlen(text), decoded;
    uint8_t *bytes = arena_alloc(&c->arena, n + 4);
    int r =
        bytes == NULL || base64_decode(slice_str(text), BASE64_STD, true, true, bytes, &decoded) < 0
            ? fault_set(&c->fault, ERR_INVALID,
                        "failed to create tunnel: Couldn't decode tunnel secret from base64")
        : decoded < SECRET_BYTES_MIN
            ? fault_set(&c->fault, ERR_INVALID,
                        "failed to create tunnel: Decoded tunnel secret must be at least %d "
                        "bytes long",
                        SECRET_BYTES_MIN)
            : 0;
    if (bytes != NULL)
        explicit_bzero(bytes, n);
    return r;
}

static int post_tunnel(struct cli *c, const struct account *a, const char *name, json_t **ret)
{
    struct uuid id;
    uint8_t secret[SECRET_BYTES_MIN];
    char secret_text[BASE64_BYTES(SECRET_BYTES_MIN)];
    if (uuid_parse(slice_str(name), &id) == 0)
        return fault_set(&c->fault, ERR_INVALID,
                         "failed to create tunnel: Create Tunnel API call failed: you cannot use "
                         "UUIDs as tunnel names");
    int r = c->o.secret[0] != 0 ? check_secret(c, c->o.secret) : 0;
    if (r < 0)
        return r;
    random_bytes(secret, sizeof secret);
    (void)base64_encode(slice_of(secret, sizeof secret), BASE64_STD, true, secret_text);
    json_t *body = json_pack("{s:s,s:s}", "name", name, "tunnel_secret",
                             c->o.secret[0] != 0 ? c->o.secret : secret_text);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(secret_text, sizeof secret_text);
    if (body == NULL)
        return fault_set(&c->fault, ERR_INVALID, "failed to create tunnel: its name is not UTF-8");
    r = account_call(c, a, "create tunnel", "POST", tunnel_path(c, a, "", ""), body, ret);
    json_decref(body);
    if (r == ERR_EXISTS)
        (void)fault_set(&c->fault, r,
                        "failed to create tunnel: Create Tunnel API call failed: tunnel with name "
                        "already exists");
    return r;
}

static int print_created(struct cli *c, const json_t *tunnel, const char *path, bool as_json)
{
    if (as_json) {
        json_t *shape = tunnel_shape(tunnel);
        (void)json_object_set(shape, "token", json_object_get(tunnel, "token"));
        return print_json(shape);
    }
    (void)printf("Tunnel credentials written to %s.%s Keep this file secret. To revoke these "
                 "credentials, delete the tunnel.\n\nCreated tunnel %s with id %s\n",
                 path,
                 c->o.credentials_file[0] == 0 ? " adit chose this file based on where your origin "
                                                 "certificate was found."
                                               : "",
                 member_text(tunnel, "name"), member_text(tunnel, "id"));
    return fflush(stdout) == 0 ? 0 : 1;
}

int cmd_create(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *tunnel = NULL;
    if (argc != 1)
        return cli_usage(c, "tunnel create", "exactly 1 argument, the name of tunnel to create.");
    int as_json = wants_json(c);
    if (as_json < 0)
        return 1;
    if (account_open(c, &a) < 0 || post_tunnel(c, &a, argv[0], &tunnel) < 0)
        return cli_complain(c);
    const char *path = c->o.credentials_file[0] != 0
                           ? c->o.credentials_file
                           : arena_fmt(&c->arena, "%s/%s.json", a.dir, member_text(tunnel, "id"));
    int status;
    if (write_credentials(c, a.dir, member_text(tunnel, "token"), path) < 0) {
        status = cli_complain(c);
        (void)fprintf(stderr,
                      "adit: the tunnel %s was made, but its credentials were not written; adit "
                      "tunnel token %s has them\n",
                      member_text(tunnel, "id"), member_text(tunnel, "id"));
    } else {
        status = print_created(c, tunnel, path, as_json == 1);
    }
    json_decref(tunnel);
    return status;
}

/* ---- delete, cleanup ---- */

/* Every name is resolved before anything is done: a mistyped second one must not be found out when
 * the first is gone. */
static int resolve_all(struct cli *c, const struct account *a, int argc, char **argv,
                       char (*ids)[UUID_TEXT_BYTES])
{
    for (int i = 0; i < argc; i++) {
        int r = account_id(c, a, argv[i], ids[i]);
        if (r == ERR_NOTFOUND)
            return fault_set(&c->fault, r, "there should only be 1 non-deleted Tunnel named %s",
                             argv[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int delete_one(struct cli *c, const struct account *a, const char *id)
{
    json_t *result;
    int r = account_call(c, a, "get tunnel information", "GET", tunnel_path(c, a, id, ""), NULL,
                         &result);
    if (r < 0)
        return r;
    bool is_deleted = json_is_string(json_object_get(result, "deleted_at"));
    json_decref(result);
    if (is_deleted)
        return fault_set(&c->fault, ERR_EXISTS, "Tunnel %s has already been deleted", id);
    r = account_call(c, a, "delete tunnel", "DELETE",
                     tunnel_path(c, a, id, c->o.force ? "?cascade=true" : ""), NULL, &result);
    if (r < 0)
        return r;
    json_decref(result);
    (void)fprintf(stderr, "Deleted tunnel %s\n", id);
    /* The credentials of a tunnel that is gone are of no use. */
    (void)unlink(arena_fmt(&c->arena, "%s/%s.json", a->dir, id));
    if (c->o.credentials_file[0] != 0)
        (void)unlink(c->o.credentials_file);
    return 0;
}

int cmd_delete(struct cli *c, int argc, char **argv)
{
    struct account a;
    char(*ids)[UUID_TEXT_BYTES] =
        arena_alloc(&c->arena, (size_t)(argc > 0 ? argc : 1) * sizeof *ids);
    if (argc < 1)
        return cli_usage(c, "tunnel delete",
                         "at least 1 argument, the ID or name of the tunnel to delete.");
    if (ids == NULL || account_open(c, &a) < 0 || resolve_all(c, &a, argc, argv, ids) < 0)
        return cli_complain(c);
    for (int i = 0; i < argc; i++)
        if (delete_one(c, &a, ids[i]) < 0) {
            char line[FAULT_LINE_BYTES];
            (void)fprintf(stderr, "adit: Error deleting tunnel %s: %s\n", ids[i],
                          fault_line(&c->fault, line));
            return 1;
        }
    return 0;
}

int cmd_cleanup(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *result;
    char(*ids)[UUID_TEXT_BYTES] =
        arena_alloc(&c->arena, (size_t)(argc > 0 ? argc : 1) * sizeof *ids);
    if (argc < 1)
        return cli_usage(c, "tunnel cleanup",
                         "at least 1 argument, the ID or name of the tunnel to cleanup.");
    if (ids == NULL || account_open(c, &a) < 0 || resolve_all(c, &a, argc, argv, ids) < 0)
        return cli_complain(c);
    const char *rest = c->o.connector_id[0] != 0 ? arena_fmt(&c->arena, "/connections?client_id=%s",
                                                             account_escape(c, c->o.connector_id))
                                                 : "/connections";
    for (int i = 0; i < argc; i++) {
        if (account_call(c, &a, "cleanup connections", "DELETE", tunnel_path(c, &a, ids[i], rest),
                         NULL, &result) < 0)
            return cli_complain(c);
        json_decref(result);
        (void)fprintf(stderr, "Cleanup connection for tunnel %s\n", ids[i]);
    }
    return 0;
}

/* ---- token ---- */

int cmd_token(struct cli *c, int argc, char **argv)
{
    struct account a;
    char id[UUID_TEXT_BYTES];
    json_t *result;
    if (argc != 1)
        return cli_usage(c, "tunnel token",
                         "exactly 1 argument, the name or UUID of tunnel to fetch the credentials "
                         "token for.");
    if (account_open(c, &a) < 0)
        return cli_complain(c);
    int r = account_id(c, &a, argv[0], id);
    if (r == ERR_NOTFOUND)
        (void)fault_set(&c->fault, r,
                        "error parsing tunnel ID: %s is neither the ID nor the name of any of your "
                        "tunnels",
                        argv[0]);
    if (r == 0)
        r = account_call(c, &a, "get tunnel token", "GET", tunnel_path(c, &a, id, "/token"), NULL,
                         &result);
    if (r < 0)
        return cli_complain(c);
    const char *token = json_string_value(result);
    if (token == NULL)
        r = fault_set(&c->fault, ERR_PROTO, "failed to get tunnel token: the answer is no text");
    else if (c->o.credentials_file[0] != 0)
        r = write_credentials(c, ".", token, c->o.credentials_file);
    else
        (void)printf("%s\n", token);
    json_decref(result);
    return r < 0 ? cli_complain(c) : fflush(stdout) == 0 ? 0 : 1;
}

/* ---- route dns ---- */

int cmd_route_dns(struct cli *c, int argc, char **argv)
{
    struct account a;
    char id[UUID_TEXT_BYTES];
    json_t *result;
    if (argc != 2) {
        (void)fprintf(stderr, "adit: This command expects the format \"adit tunnel route dns "
                              "<tunnel name/id> <hostname>\"\nSee 'adit tunnel route dns "
                              "--help'.\n");
        return EXIT_USAGE;
    }
    /* -f is written for this command; what the environment says of it is meant for delete. */
    bool overwrites =
        c->o.overwrite_dns || (c->o.force && opt_source_of(&c->table, "force") == OPT_FROM_FLAG);
    if (account_open(c, &a) < 0 || account_id(c, &a, argv[0], id) < 0)
        return cli_complain(c);
    const char *path =
        arena_fmt(&c->arena, "/zones/%s/tunnels/%s/routes", account_zone(c, &a, argv[1]), id);
    json_t *body = json_pack("{s:s,s:s,s:b}", "type", "dns", "user_hostname", argv[1],
                             "overwrite_existing", overwrites);
    int r = body != NULL ? account_call(c, &a, "add route", "PUT", path, body, &result)
                         : fault_set(&c->fault, ERR_INVALID, "the hostname is not UTF-8");
    json_decref(body);
    if (r < 0)
        return cli_complain(c);
    struct slice change = slice_str(member_text(result, "cname"));
    const char *name = member_text(result, "name");
    if (slice_eq(change, SLICE("unchanged")))
        (void)fprintf(stderr, "%s is already configured to route to your tunnel tunnelID=%s\n",
                      name, id);
    else if (slice_eq(change, SLICE("updated")))
        (void)fprintf(stderr, "%s updated to route to your tunnel tunnelID=%s\n", name, id);
    else
        (void)fprintf(stderr, "Added CNAME %s which will route to this tunnel tunnelID=%s\n", name,
                      id);
    json_decref(result);
    return 0;
}

/* ---- login ---- */

static int store_cert(struct cli *c, const struct account *a, const char *path)
{
    const char *text = origin_cert_write(&a->cert, &c->arena);
    if (text == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    if (c->o.origincert[0] == 0)
        (void)mkdir(a->dir, 0700);
    return file_create(path, slice_str(text), 0600, &c->fault);
}

int cmd_login(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct account a;
    struct local_edge local;
    const char *home = getenv("HOME"), *path = c->o.origincert;
    if (cli_local_edge(c, &local) < 0 || (home == NULL && path[0] == 0)) {
        (void)fault_set(&c->fault, ERR_NOTFOUND,
                        "no edge whose data directory you may read runs on this machine; on the "
                        "edge's machine, as its user, run adit-edge cert --data-dir DIR > cert.pem "
                        "and bring that file to ~/.cloudflared/cert.pem here");
        return cli_complain(c);
    }
    if (path[0] == 0)
        path = arena_fmt(&c->arena, "%s/.cloudflared/cert.pem", home);
    if (access(path, F_OK) == 0) {
        (void)fault_set(
            &c->fault, ERR_EXISTS,
            "You have an existing certificate at %s which login would overwrite. If this is "
            "intentional, please move or delete that file then run this command again.",
            path);
        return cli_complain(c);
    }
    if (account_of_local_edge(c, &local, &a) < 0 || store_cert(c, &a, path) < 0)
        return cli_complain(c);
    (void)printf("You have successfully logged in.\nThe certificate was stored at %s\n", path);
    return fflush(stdout) == 0 ? 0 : 1;
}
